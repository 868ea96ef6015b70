"""What can be wrong with a row."""


class NotFittedError(RuntimeError):
    """A method was asked before it was fitted."""
