"""The wing that learns: sampler, predictor, training and evaluation of the paper."""
