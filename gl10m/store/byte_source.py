"""Where the bytes of shards come from: files, or objects of a bucket."""

import contextlib
import os
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from gl10m.storage import client
from gl10m.storage.client import KeyRange
from gl10m.storage.place import BucketPath, Place
from gl10m.store.blocks import Blocks
from gl10m.store.layout import SHARDS

OPEN_FILES: Final = 128
"""Shards kept open by one source; more are opened for each read, which costs some 10 microseconds."""

GAP_BYTES: Final = 40_000
"""Gap over which two ranges of an object are read as one: little more than one tile of 33.7 KB, so that 12 of
100 tiles cost 1.1 times their own bytes and a tenth fewer requests."""

JOINED_BYTES: Final = 4 << 20
"""Ranges are joined up to so many bytes: all tiles of a scene come with one read, those of two with two."""

KEPT_BYTES: Final = 16 << 20
"""Memory that a source in a folder keeps for later reads: four scenes, or two batches of 16 with 12 tiles."""

Content = bytes | memoryview
"""What was read. A memoryview keeps its memory as long as any slice of it lives."""


class ByteRange(NamedTuple):
    """Bytes of one shard."""

    shard: str
    """File name in data/."""
    start: int
    """First byte."""
    end: int
    """One past the last byte."""


class ByteSource(Protocol):
    """Reads ranges of shards. Picklable, and safe to use from many threads and after a fork."""

    gap: int
    """Ranges of a shard that are at most so many bytes apart are read as one."""

    def size(self, shard: str) -> int | None:
        """Bytes of a shard, None where it is missing."""
        ...

    def read(self, ranges: Sequence[ByteRange]) -> Sequence[Content]:
        """Read ranges. A range that reaches beyond the end of its shard comes back short.

        Raises:
            FileNotFoundError: a shard is missing.
            OSError: it cannot be read.
            StorageError: the object store refuses, or does not answer.
        """
        ...

    def close(self) -> None:
        """Let go of what is open; a later read opens it again."""
        ...


class LocalFiles:
    """Shards in a folder, read with pread: no shared position, so that threads and forks need no lock."""

    gap = 16
    """Only tiles that are neighbours in the shard, 4 bytes apart, are read together."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bytes_read = 0
        """Bytes read by this process so far."""
        self._open: dict[str, int] = {}
        self._blocks = Blocks(KEPT_BYTES)
        self._closing = weakref.finalize(self, _close_all, self._open)

    def size(self, shard: str) -> int | None:
        """Bytes of a shard, None where it is missing."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return (self.folder / shard).stat().st_size
        return None

    def read(self, ranges: Sequence[ByteRange]) -> list[memoryview]:
        """Read ranges into one piece of memory; see `ByteSource.read`."""
        block = self._blocks.take(sum(end - start for _, start, end in ranges)).data
        contents, first = [], 0
        for shard, start, end in ranges:
            space = block[first : first + end - start]
            count = self._read(shard, space, start)
            contents.append(space if count == len(space) else space[:count])
            first += end - start
            self.bytes_read += count
        return contents

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        _close_all(self._open)

    def _read(self, shard: str, space: memoryview, start: int) -> int:
        file = self._open.get(shard)
        if file is None and len(self._open) < OPEN_FILES:
            # No lock: a fork could copy it while it is held. Of two that open the same shard one keeps it.
            opened = os.open(self.folder / shard, os.O_RDONLY)
            file = self._open.setdefault(shard, opened)
            if file != opened:
                os.close(opened)
        if file is None:
            with (self.folder / shard).open("rb", buffering=0) as extra:
                return os.preadv(extra.fileno(), [space], start)
        return os.preadv(file, [space], start)

    def __reduce__(self) -> tuple[type["LocalFiles"], tuple[Path]]:
        return LocalFiles, (self.folder,)


class BucketObjects:
    """Shards in a bucket, as they were when the source was made: a later build does not mix in.

    The ranges of one call are asked for together.
    """

    def __init__(self, address: str, objects: Mapping[str, tuple[str, int]], gap: int) -> None:
        """Remember where shards lie.

        Args:
            address: of the data set.
            objects: shard to the key of its object and its size, bytes.
            gap: ranges of a shard that are at most so many bytes apart are read as one.
        """
        self.address, self.objects, self.gap = address, objects, gap
        self.requests = 0
        """Requests sent by this process so far."""
        self.bytes_read = 0
        """Bytes read by this process so far."""

    def size(self, shard: str) -> int | None:
        """Bytes of a shard, None where it is missing."""
        return self.objects[shard][1] if shard in self.objects else None

    def read(self, ranges: Sequence[ByteRange]) -> list[bytes]:
        """Read ranges; see `ByteSource.read`."""
        spans = [KeyRange(self._key(wanted.shard), wanted.start, wanted.end) for wanted in ranges]
        contents = client.read_ranges(self.address, spans)
        self.requests += len(contents)
        self.bytes_read += sum(map(len, contents))
        return contents

    def close(self) -> None:
        """Nothing is open."""

    def _key(self, shard: str) -> str:
        if shard not in self.objects:
            raise client.ObjectNotFoundError(f"there is no shard {shard} in {self.address}")
        return self.objects[shard][0]

    def __reduce__(self) -> tuple[type["BucketObjects"], tuple[str, Mapping[str, tuple[str, int]], int]]:
        return BucketObjects, (self.address, dict(self.objects), self.gap)


def byte_source(root: Place, gap: int | None = None) -> LocalFiles | BucketObjects:
    """The shards of a data set.

    Args:
        root: the data set.
        gap: ranges of a shard that are at most so many bytes apart are read as one; if None, 16 in a folder
            and GAP_BYTES in a bucket.
    """
    if isinstance(root, BucketPath):
        inside = root.root.files.items()
        objects = {
            name.removeprefix(f"{SHARDS}/"): (entry.key, entry.size)
            for name, entry in inside
            if name.startswith(f"{SHARDS}/")
        }
        return BucketObjects(root.root.address, objects, GAP_BYTES if gap is None else gap)
    files = LocalFiles(root / SHARDS)
    files.gap = files.gap if gap is None else gap
    return files


def joined(ranges: Sequence[ByteRange], gap: int) -> list[tuple[ByteRange, list[int]]]:
    """Join ranges that lie close together, of whatever scenes they are.

    Args:
        ranges: in any order; they may overlap.
        gap: ranges of a shard that are at most so many bytes apart are joined, up to JOINED_BYTES.

    Returns:
        What to read, and the places in `ranges` of those that are inside.
    """
    groups: list[tuple[ByteRange, list[int]]] = []
    shard, start, end = "", 0, 0
    members: list[int] = []
    for place in sorted(range(len(ranges)), key=ranges.__getitem__):
        own, first, last = ranges[place]
        if members and own == shard and first - end <= gap and max(end, last) - start <= JOINED_BYTES:
            end = max(end, last)
            members.append(place)
            continue
        if members:
            groups.append((ByteRange(shard, start, end), members))
        shard, start, end, members = own, first, last, [place]
    if members:
        groups.append((ByteRange(shard, start, end), members))
    return groups


def _close_all(files: dict[str, int]) -> None:
    while files:
        os.close(files.popitem()[1])
