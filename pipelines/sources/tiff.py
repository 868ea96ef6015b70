"""The directories of a TIFF file, classic or big, of either byte order: hostile bytes in, bounded tables out.

Only what a header holds is read: no pixel. TIFF 6.0 (Adobe, 1992), BigTIFF (libtiff, 2007).
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_DIRECTORIES = 32
"""Images in a file at most; a quad of NAIP has 6, with its overviews."""

MOST_TAGS = 512
"""Tags of a directory at most; a COG has some 20."""

MOST_VALUES = 1 << 20
"""Values of a tag at most; a raster of 131,072 pixels a side has 65,536 blocks of 512."""

_TYPES = {1: "u1", 2: "S1", 3: "u2", 4: "u4", 12: "f8", 13: "u4", 16: "u8", 18: "u8"}
"""NumPy names of the field types that are read; a tag of another type is left out."""

Fetch = Callable[[int, int], bytes]
"""Gives so many bytes from an offset of the file, or fewer where the file ends."""


class MalformedTiffError(ValueError):
    """Bytes that are no TIFF, or one whose directories contradict themselves."""


@dataclass(frozen=True, slots=True)
class Directory:
    """One image of a file: its tags."""

    tags: dict[int, NDArray[Any]]

    def number(self, tag: int, default: int | None = None) -> int:
        """The first value of an integer tag.

        Raises:
            MalformedTiffError: it is not there and has no default.
        """
        values = self.tags.get(tag)
        if values is None or values.size == 0 or values.dtype.kind != "u":
            if default is None:
                raise MalformedTiffError(f"tag {tag} is not there")
            return default
        return int(values[0])

    def numbers(self, tag: int) -> NDArray[Any]:
        """All values of a tag; none if it is not there."""
        return self.tags.get(tag, np.empty(0, np.uint16))

    def text(self, tag: int) -> str | None:
        """An ASCII tag without its closing zero."""
        values = self.tags.get(tag)
        if values is None or values.dtype.kind != "S":
            return None
        return values.tobytes().split(b"\0")[0].decode("ascii", "replace").strip()


@dataclass(slots=True)
class _File:
    """What is known of a file: its start, and pieces that were fetched on demand."""

    fetch: Fetch
    pieces: list[tuple[int, bytes]] = field(default_factory=list)

    def at(self, start: int, length: int) -> bytes:
        """Bytes of the file.

        Raises:
            MalformedTiffError: the file ends before.
        """
        for first, body in self.pieces:
            if first <= start and start + length <= first + len(body):
                return body[start - first : start - first + length]
        body = self.fetch(start, length)
        if len(body) < length:
            raise MalformedTiffError(f"the file ends before byte {start + length}, where its header leads")
        self.pieces.append((start, body))
        return body[:length]


def read_directories(head: bytes, fetch: Fetch, wanted: frozenset[int]) -> tuple[str, list[Directory]]:
    """Read the directories of a file.

    Args:
        head: the first bytes of the file.
        fetch: gives what lies beyond; how often and how much is its own to bound.
        wanted: tags to read.

    Returns:
        Byte order, "<" or ">", and the directories in their order.

    Raises:
        MalformedTiffError: no TIFF, or one that contradicts itself or passes the limits.
    """
    order = {b"II": "<", b"MM": ">"}.get(head[:2])
    version = struct.unpack(f"{order}H", head[2:4])[0] if order and len(head) >= 16 else 0  # noqa: PLR2004 - header of a BigTIFF
    if order is None or version not in {42, 43}:
        raise MalformedTiffError(f"no TIFF: begins with {head[:8]!r}")
    form = _Form(order, big=version == 43)  # noqa: PLR2004 - BigTIFF
    file = _File(fetch, [(0, head)])
    (place,) = struct.unpack_from(form.pointer, head, 8 if form.big else 4)
    directories: list[Directory] = []
    seen: set[int] = set()
    while place:
        if place in seen or len(directories) == MOST_DIRECTORIES:
            raise MalformedTiffError(f"over {MOST_DIRECTORIES} directories, or one that leads back")
        seen.add(place)
        directory, place = _directory(file, form, place, wanted)
        directories.append(directory)
    if not directories:
        raise MalformedTiffError("a TIFF without an image")
    return order, directories


@dataclass(frozen=True, slots=True)
class _Form:
    """How a classic and a big TIFF write numbers."""

    order: str
    big: bool

    @property
    def pointer(self) -> str:
        return f"{self.order}{'Q' if self.big else 'I'}"

    @property
    def entry(self) -> struct.Struct:
        """Tag, type, count; the value follows."""
        return struct.Struct(f"{self.order}HH{'Q' if self.big else 'I'}")

    @property
    def inline(self) -> int:
        """Bytes of a value that stands in its entry."""
        return 8 if self.big else 4


def _directory(file: _File, form: _Form, place: int, wanted: frozenset[int]) -> tuple[Directory, int]:
    """The directory at an offset, and the offset of the next one."""
    head = struct.Struct(f"{form.order}{'Q' if form.big else 'H'}")
    (count,) = head.unpack(file.at(place, head.size))
    if not 0 < count <= MOST_TAGS:
        raise MalformedTiffError(f"a directory has 1 to {MOST_TAGS} tags; found {count}")
    size = form.entry.size + form.inline
    body = file.at(place + head.size, count * size + form.inline)
    tags: dict[int, NDArray[Any]] = {}
    for number in range(count):
        tag, kind, length = form.entry.unpack_from(body, number * size)
        if tag in wanted and kind in _TYPES:
            start = number * size + form.entry.size
            tags[tag] = _values(file, form, body[start : start + form.inline], kind, length)
    (following,) = struct.unpack_from(form.pointer, body, count * size)
    return Directory(tags), following


def _values(file: _File, form: _Form, inline: bytes, kind: int, length: int) -> NDArray[Any]:
    dtype = np.dtype(form.order + _TYPES[kind])
    if length > MOST_VALUES:
        raise MalformedTiffError(f"a tag has at most {MOST_VALUES} values; found {length}")
    size = dtype.itemsize * length
    if size > len(inline):
        inline = file.at(struct.unpack(form.pointer, inline)[0], size)
    return np.frombuffer(inline, dtype, length)
