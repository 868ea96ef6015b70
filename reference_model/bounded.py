"""JSON files that may come from a stranger: read only where they are no longer than such a file is."""

import json
from pathlib import Path

MOST_BYTES = 1 << 24
"""Of a JSON file of a run; results of 66 classes have some ten thousand."""


def read_bounded(path: Path, most: int = MOST_BYTES) -> object:
    """The value that a JSON file in UTF-8 holds.

    Args:
        path: the file.
        most: bytes that it may have; a longer one is not read.

    Raises:
        OSError: it cannot be read.
        ValueError: it is longer, is no JSON, or holds NaN or Infinity, which JSON does not know.
        RecursionError: it is nested too deeply.
    """
    if (size := path.stat().st_size) > most:
        raise ValueError(f"it has {size} bytes, and at most {most} are read")
    value: object = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    return value


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")
