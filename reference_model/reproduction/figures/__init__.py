"""The figures of the paper, each with the numbers behind it as CSV."""
