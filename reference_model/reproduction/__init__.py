"""The tables and figures of the paper, made for any data set and any encoder, each number with its origin."""
