"""The networks: a frozen encoder, the sampler that reads LR alone, the predictor that completes the scene."""
