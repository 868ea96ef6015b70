"""Blobs of an .osm.pbf file: found by their framing, inflated one at a time, every claim of size checked."""

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pipelines.sources.osm_file import OsmFileError, damaged
from pipelines.sources.pbf_fields import MalformedError, delimited, encoded_one, fields

LARGEST_HEADER = 64 * 1024
"""Bytes of a blob's header: the limit of the format."""

LARGEST_BLOB = 32 * 1024 * 1024
"""Bytes of a blob, packed or not: the limit of the format."""

LARGEST_QUICK_BLOCK = 8 * 1024 * 1024
"""Bytes of a block that this reader takes; writers make blocks of one or two MiB, and arrays made of one take
some fifty times its size."""

MOST_BLOBS = 10_000_000
"""Enough for the whole planet at 1,000 objects a blob."""

KNOWN_FEATURES = frozenset({b"OsmSchema-V0.6", b"DenseNodes"})
"""What this reader knows of what a file may ask of its readers."""

NODES, WAYS, RELATIONS = 0, 1, 2
"""Kinds of objects in the order of a sorted file."""

_KIND_OF_GROUP = {1: NODES, 2: NODES, 3: WAYS, 4: RELATIONS}


class UnusualFileError(ValueError):
    """A file is not laid out as the quick reader expects; libosmium may well read it."""


@dataclass(frozen=True, slots=True)
class Block:
    """One inflated blob of objects."""

    content: bytes

    strings: tuple[int, int]
    """Start and end of its string table."""

    groups: tuple[tuple[int, int], ...]
    """Start and end of its groups of objects."""

    granularity: int
    """Units of its coordinates, 1e-9 degrees."""

    def kinds(self) -> list[int]:
        """Kinds of its groups, in order.

        Raises:
            UnusualFileError: a group is empty or holds something else, or the groups are out of order.
        """
        kinds = [
            _KIND_OF_GROUP.get(self.content[first] >> 3, -1) for first, last in self.groups if first < last
        ]
        if not kinds or kinds[0] < NODES or kinds != sorted(kinds):
            raise UnusualFileError("a block without nodes, ways or relations, or out of order")
        return kinds

    def only(self, kind: int) -> "Block":
        """The block with its groups of one kind."""
        groups = tuple(
            (first, last)
            for first, last in self.groups
            if first < last and _KIND_OF_GROUP[self.content[first] >> 3] == kind
        )
        return Block(self.content, self.strings, groups, self.granularity)


class BlobFile:
    """An .osm.pbf file as a row of blobs, the header first."""

    def __init__(self, name: str, file: int) -> None:
        """Find the blobs by their framing.

        Args:
            name: of the file, for messages.
            file: descriptor of the file, open for reading. It is read, not mapped: the pages of a map would
                count as memory of the process.

        Raises:
            OsmFileError: a frame is not one, or claims more than the format allows or the file holds.
            UnusualFileError: the file asks for what this reader does not know.
        """
        self._name, self._file, self._size = name, file, os.fstat(file).st_size
        self._frames: list[tuple[int, int, int]] = []
        place = 0
        while place < self._size:
            self._frames.append(self._frame(place))
            place = self._frames[-1][2]
            if len(self._frames) > MOST_BLOBS:
                raise self._damaged(f"more than {MOST_BLOBS} blobs")
        self._check_features()

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self._size

    def _damaged(self, what: object) -> OsmFileError:
        return damaged(self._name, what)

    def _bytes(self, first: int, last: int) -> bytes:
        content = os.pread(self._file, last - first, first)
        if len(content) != last - first:
            raise self._damaged(f"it ends at byte {first + len(content)} while it is read")
        return content

    def _frame(self, place: int) -> tuple[int, int, int]:
        """Places of a frame, its blob, and the frame after it."""
        size = int.from_bytes(self._bytes(place, min(place + 4, self._size)), "big")
        first = place + 4 + size
        if size > LARGEST_HEADER or first > self._size:
            raise self._damaged(f"a blob header of {size} bytes at byte {place}")
        header = self._bytes(place + 4, first)
        try:
            sizes = [value for number, value, end in fields(header, 0, size) if number == 3 and end < 0]  # noqa: PLR2004 - datasize
        except MalformedError as error:
            raise self._damaged(str(error)) from None
        if len(sizes) != 1 or sizes[0] > LARGEST_BLOB or first + sizes[0] > self._size:
            raise self._damaged(f"a blob of {sizes} bytes at byte {first} of {self._size}")
        return place, first, first + sizes[0]

    def inflated(self, number: int) -> bytes:
        """The content of one blob.

        Raises:
            OsmFileError: it is damaged or is not of the size that it claims.
            UnusualFileError: it is packed in another way than by zlib.
        """
        _, first, last = self._frames[number]
        blob = self._bytes(first, last)
        try:
            parts = {key: blob[a:b] if b >= 0 else a for key, a, b in fields(blob, 0, len(blob))}
        except MalformedError as error:
            raise self._damaged(str(error)) from None
        raw, size, packed = parts.get(1), parts.get(2), parts.get(3)
        if isinstance(raw, bytes) and packed is None:
            return raw
        if not isinstance(packed, bytes) or not isinstance(size, int):
            raise UnusualFileError("a blob that is not packed by zlib")
        if size > LARGEST_BLOB:
            raise self._damaged(f"a blob that claims {size} bytes")
        inflater = zlib.decompressobj()
        try:
            content = inflater.decompress(packed, size + 1)  # one byte more shows a claim that is too small
        except zlib.error as error:
            raise self._damaged(str(error)) from None
        if len(content) != size or not inflater.eof:
            raise self._damaged(f"a blob that claims {size} bytes and holds others")
        return content

    def block(self, number: int) -> Block:
        """One blob of objects.

        Raises:
            OsmFileError: it is damaged.
            UnusualFileError: it is packed in a way that this reader does not know.
        """
        content = self.inflated(number)
        if len(content) > LARGEST_QUICK_BLOCK:
            raise UnusualFileError(f"a block of {len(content)} bytes")
        strings: list[tuple[int, int]] = []
        groups: list[tuple[int, int]] = []
        numbers = {17: 100, 19: 0, 20: 0}  # granularity, latitude and longitude offset
        try:
            for key, first, last in fields(content, 0, len(content)):
                if last < 0:
                    numbers[key] = first
                elif key == 1:
                    strings.append((first, last))
                elif key == 2:  # noqa: PLR2004
                    groups.append((first, last))
        except MalformedError as error:
            raise self._damaged(str(error)) from None
        if len(strings) != 1 or not 0 < numbers[17] < 2**31 or numbers[19] or numbers[20]:
            raise UnusualFileError("no string table, or coordinates that begin elsewhere")
        return Block(content, strings[0], tuple(groups), numbers[17])

    def blocks(self, kind: int) -> Iterator[Block]:
        """The objects of one kind, block by block; a block at a border may hold other kinds as well.

        Drawn for every kind, this visits every blob: what is out of order anywhere is found.

        Raises:
            OsmFileError: a blob is damaged.
            UnusualFileError: the file is not sorted, or packed in a way that this reader does not know.
        """
        first, last = self._first_of(kind), self._first_of(kind + 1)
        before = self.block(first - 1).kinds() if first > 1 else [kind - 1]
        first -= before[-1] >= kind
        for number in range(first, last):
            block = self.block(number)
            kinds = block.kinds()
            early, late = kinds[0] < kind and number > first, kinds[-1] > kind and number < last - 1
            if kind not in kinds or early or late:
                raise UnusualFileError("objects out of order")
            yield block.only(kind)

    def _first_of(self, kind: int) -> int:
        """Number of the first blob whose objects are all of a kind or a later one, if the file is sorted."""
        low, high = 1, len(self)
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if self.block(middle).kinds()[0] < kind else (low, middle)
        return low

    def _check_features(self) -> None:
        if not self._frames:
            raise self._damaged("no blob")
        header = self.inflated(0)
        try:
            required = {header[a:b] for key, a, b in fields(header, 0, len(header)) if key == 4 and b >= 0}  # noqa: PLR2004
        except MalformedError as error:
            raise self._damaged(str(error)) from None
        if not required <= KNOWN_FEATURES:
            raise UnusualFileError(f"a file that asks for {sorted(required - KNOWN_FEATURES)}")

    @property
    def header(self) -> bytes:
        """The header's blob with its frame, as it stands in the file."""
        return self._bytes(0, self._frames[0][2])


@contextmanager
def blob_file(path: Path) -> Iterator[BlobFile]:
    """Open an .osm.pbf file.

    Raises:
        OsmFileError: its frames are damaged.
        UnusualFileError: it asks for what this reader does not know.
    """
    with path.open("rb") as file:
        yield BlobFile(path.name, file.fileno())


def frame(content: bytes) -> bytes:
    """One unpacked blob of objects with its frame, as it stands in a file."""
    blob = delimited(1, content)
    header = delimited(1, b"OSMData") + bytes([3 << 3]) + encoded_one(len(blob))
    return len(header).to_bytes(4, "big") + header + blob
