"""What is compared: the paper's own model with its variants, and the baselines, behind one face."""
