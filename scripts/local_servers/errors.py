"""What can be wrong with servers, the programs they are made of, and the world that they serve."""


class MissingProgramError(FileNotFoundError):
    """A program or package that the servers are made of is not installed."""


class ServerError(RuntimeError):
    """A server did not start, or is in the way of one that should."""


class WorldError(ValueError):
    """A folder is not a world that can be served."""
