"""Our own files of JSON: objects that carry the digest of what they say, read only where they are short.

A threshold with one digit changed buys other tiles, and a record with one digit changed is another number in
a table. So a file that does not say what was written is an error, as in `weights_file`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gl10m.manifest.parquet import replacing
from gl10m.manifest.provenance import digest

SEAL = "sha256"
"""The key of the digest, beside those of the object."""

MOST_BYTES = 1 << 24
"""Of a JSON file of a run; results of 66 classes have some ten thousand."""


class JsonFileError(ValueError):
    """A file of JSON is none that `write_json` wrote, or no longer says what was written."""


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write an object with its digest, whole or not at all; the same object gives the same bytes.

    Args:
        path: the file.
        value: by key, none of which is SEAL; what JSON can hold.

    Raises:
        ValueError: it holds NaN or Infinity, which JSON does not know.
        OSError: the file cannot be written.
    """
    plain = json.loads(json.dumps(value, allow_nan=False))
    text = json.dumps({**plain, SEAL: digest(plain)}, indent=1, sort_keys=True)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def read_json(path: Path, most: int = MOST_BYTES) -> dict[str, Any]:
    """Read an object that `write_json` wrote; it may come from a stranger.

    Args:
        path: the file, JSON in UTF-8.
        most: bytes that it may have; a longer one is not read.

    Raises:
        OSError: it cannot be read.
        JsonFileError: it is longer, or does not say what was written.
        ValueError: it is no JSON, or holds NaN or Infinity, which JSON does not know.
        RecursionError: it is nested too deeply.
    """
    if (size := path.stat().st_size) > most:
        raise JsonFileError(f"it has {size} bytes, and at most {most} are read")
    value = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    if not isinstance(value, dict):
        raise JsonFileError("it holds no JSON object")
    if SEAL not in value:
        raise JsonFileError(f"it has no `{SEAL}`, by which a change would be seen")
    if value.pop(SEAL) != digest(value):
        raise JsonFileError(f"it does not say what was written: its `{SEAL}` is of something else")
    return value


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")
