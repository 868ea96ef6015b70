"""A checksum of a whole file that stands inside the file, so that any changed byte is noticed on opening.

The metadata of a manifest and of an index hold the text `gl10m-crc32:00000000` when the file is written; then
the CRC32 of the file as it stands takes the place of the eight zeros. Whoever checks puts the zeros back. The
last such text of a file counts: in Parquet as in Arrow files, metadata stand at the end.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from isal import isal_zlib

KEY: Final = "gl10m.seal"
"""Metadata key of the seal."""

_MARK = b"gl10m-crc32:"
_ZEROS = b"00000000"
_CHUNK = 1 << 20

BLANK: Final = (_MARK + _ZEROS).decode()
"""Metadata value of a file that is to be sealed."""


class SealError(ValueError):
    """A file is not, byte for byte, what was written."""


def seal(path: Path) -> None:
    """Write the checksum of a file into it.

    Args:
        path: a file whose metadata hold BLANK.

    Raises:
        SealError: they do not.
        OSError: the file cannot be written.
    """
    place = _place(path)
    if place is None:
        raise SealError(f"{path} has no place for its checksum: no {BLANK} in its metadata")
    text = f"{_checksum(path, place):08x}".encode()
    with path.open("r+b") as file:
        file.seek(place)
        file.write(text)


def check_seal(path: Path) -> str:
    """Compare the checksum of a file with the one written into it; reads the file, a megabyte at a time.

    Returns:
        The checksum, 8 hexadecimal digits.

    Raises:
        SealError: it is another, or there is none.
        OSError: the file cannot be read.
    """
    place = _place(path)
    if place is None:
        raise SealError("it does not carry the checksum with which it was written")
    with path.open("rb") as file:
        file.seek(place)
        written = file.read(len(_ZEROS))
    found = f"{_checksum(path, place):08x}"
    if written != found.encode():
        raise SealError(f"its bytes have the checksum {found}, not the one that it was written with")
    return found


def _place(path: Path) -> int | None:
    """Where the checksum stands in a file; None where there is none."""
    if path.stat().st_size == 0:
        return None
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = content.rfind(_MARK)
        inside = 0 <= found <= len(content) - len(_MARK) - len(_ZEROS)
        return found + len(_MARK) if inside else None


def _checksum(path: Path, place: int) -> int:
    """CRC32 of a file, zeros taken for its checksum."""
    total = 0
    for part in _parts(path, place):
        total = isal_zlib.crc32(part, total)
    return total


def _parts(path: Path, place: int) -> Iterator[bytes]:
    # Read, not mapped: pages of a mapping would count as memory of this process.
    with path.open("rb", buffering=0) as file:
        left = place
        while left and (part := file.read(min(_CHUNK, left))):
            left -= len(part)
            yield part
        file.read(len(_ZEROS))
        yield _ZEROS
        while part := file.read(_CHUNK):
            yield part
