"""Where the bytes of shards come from: files now, and whatever else can answer ranges."""

import contextlib
import os
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

OPEN_FILES: Final = 128
"""Shards kept open by one source; more are opened for each read, which costs some 10 microseconds."""


@dataclass(frozen=True, slots=True)
class ByteRange:
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

    def read(self, ranges: Sequence[ByteRange]) -> list[bytes]:
        """Read ranges. A range that reaches beyond the end of its shard comes back short.

        Raises:
            FileNotFoundError: a shard is missing.
            OSError: it cannot be read.
        """
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
        self._opening = threading.Lock()
        self._closing = weakref.finalize(self, _close_all, self._open)

    def size(self, shard: str) -> int | None:
        """Bytes of a shard, None where it is missing."""
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return (self.folder / shard).stat().st_size
        return None

    def read(self, ranges: Sequence[ByteRange]) -> list[bytes]:
        """Read ranges; see `ByteSource.read`."""
        return [self._read(wanted) for wanted in ranges]

    def close(self) -> None:
        """Close the files; a later read opens them again."""
        _close_all(self._open)

    def _read(self, wanted: ByteRange) -> bytes:
        file = self._open.get(wanted.shard)
        if file is None:
            with self._opening:
                if wanted.shard not in self._open and len(self._open) < OPEN_FILES:
                    self._open[wanted.shard] = os.open(self.folder / wanted.shard, os.O_RDONLY)
                file = self._open.get(wanted.shard)
        if file is None:
            with (self.folder / wanted.shard).open("rb", buffering=0) as extra:
                content = os.pread(extra.fileno(), wanted.end - wanted.start, wanted.start)
        else:
            content = os.pread(file, wanted.end - wanted.start, wanted.start)
        self.bytes_read += len(content)
        return content

    def __reduce__(self) -> tuple[type["LocalFiles"], tuple[Path]]:
        return LocalFiles, (self.folder,)


def _close_all(files: dict[str, int]) -> None:
    while files:
        os.close(files.popitem()[1])
