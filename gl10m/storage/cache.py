"""What is kept on this machine between runs."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where downloads are kept: $XDG_CACHE_HOME/gl10m, else ~/.cache/gl10m."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "gl10m"
