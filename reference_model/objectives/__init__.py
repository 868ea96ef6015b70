"""What the networks are trained towards: masks, losses and the sampler's supervision."""
