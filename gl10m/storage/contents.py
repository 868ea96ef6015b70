"""What a place holds, wherever it lies: read by ranges, copied to this machine for a while, or kept here."""

import contextlib
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from gl10m.storage import client
from gl10m.storage.cache import cache_folder
from gl10m.storage.client import KeyRange
from gl10m.storage.place import BucketPath, Place

WHOLE_BYTES: Final = 4 << 20
"""Objects up to this size are read with one request, whatever of them is asked for."""

CACHED_BYTES: Final = 2 << 30
"""Files of buckets kept on this machine; the ones not used for longest go first."""

_BLOCK = 1 << 20


def readable(place: Place) -> Any:  # noqa: ANN401 - a path or a file, as pyarrow takes either
    """What pyarrow reads a file from: its path, or its bytes and ranges in the bucket.

    Raises:
        ObjectNotFoundError: there is no such object.
    """
    if isinstance(place, Path):
        return place
    size = place.stat().st_size
    if size <= WHOLE_BYTES:
        return io.BytesIO(place.read_bytes())
    return io.BufferedReader(_ObjectFile(place.root.address, place.key, size), _BLOCK)


class _ObjectFile(io.RawIOBase):
    """An object as a file, read by ranges."""

    def __init__(self, address: str, key: str, size: int) -> None:
        self._address, self._key, self._size = address, key, size
        self._position = 0

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - any buffer
        wanted = min(len(buffer), self._size - self._position)
        if wanted <= 0:
            return 0
        span = KeyRange(self._key, self._position, self._position + wanted)
        (content,) = client.read_ranges(self._address, [span])
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True


@contextlib.contextmanager
def at_hand(place: Place) -> Iterator[Path]:
    """The file on this machine while the block runs: itself, or a copy under the same name.

    Raises:
        ObjectNotFoundError: there is no such object.
    """
    if isinstance(place, Path):
        yield place
        return
    with tempfile.TemporaryDirectory(prefix="gl10m-") as folder:
        copy = Path(folder) / place.name
        _download(place, copy)
        yield copy


def cached(place: Place) -> Path:
    """The file on this machine: itself, or a copy that is kept, and fetched anew when the object changed.

    Raises:
        ObjectNotFoundError: there is no such object.
        OSError: the cache cannot be written.
    """
    if isinstance(place, Path):
        return place
    folder = cache_folder() / "buckets"
    mark = hashlib.sha256(f"{place} {place.mark}".encode()).hexdigest()[:32]
    target = folder / mark / place.name
    if target.is_file() and target.stat().st_size == place.stat().st_size:
        os.utime(target)
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".tmp-{os.getpid()}-{place.name}")
    try:
        _download(place, temporary)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    _bound(folder, target)
    return target


def _download(place: BucketPath, target: Path) -> None:
    size, block = place.stat().st_size, client.AT_ONCE << 20
    with target.open("wb") as file:
        for start in range(0, size, block):
            end = min(size, start + block)
            steps = range(start, end, _BLOCK)
            spans = [KeyRange(place.key, first, min(end, first + _BLOCK)) for first in steps]
            for content in client.read_ranges(place.root.address, spans):
                file.write(content)


def _bound(folder: Path, newest: Path) -> None:
    """Forget what was not used for longest, until the rest is small enough."""
    files = sorted(folder.glob("*/*"), key=lambda path: path.stat().st_mtime)
    total = sum(path.stat().st_size for path in files)
    for path in files:
        if total <= CACHED_BYTES or path == newest:
            return
        total -= path.stat().st_size
        shutil.rmtree(path.parent, ignore_errors=True)
