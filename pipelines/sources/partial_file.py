"""A download that is not finished: its bytes, and what they are a part of, kept between runs."""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from io import FileIO
from pathlib import Path

from gl10m.manifest.parquet import replacing
from gl10m.storage.place import Place

LONGEST_RECORD = 8192
"""Bytes of the record beside a partial file at most."""


class CacheError(OSError):
    """A download cannot be kept: no room, no permission, or another run is at it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """What a server said of a whole file; bytes of two different wholes are never mixed."""

    address: str
    """Where it was read in the end, after redirects, without secrets."""

    etag: str | None
    """Strong ETag, or None."""

    modified: str | None
    """Last-Modified, as the server wrote it, or None."""

    size: int | None
    """Bytes, or None where the server did not say."""

    @property
    def validator(self) -> str | None:
        """What `If-Range` takes: the strong ETag, else Last-Modified, else None: no part can be trusted."""
        return self.etag or self.modified

    @classmethod
    def of(cls, record: dict[str, object]) -> "Whole | None":
        """What a record on disk says; None where it is none of ours."""
        address, etag, modified, size = (record.get(name) for name in ("address", "etag", "modified", "size"))
        if (
            isinstance(address, str)
            and isinstance(etag, str | None)
            and isinstance(modified, str | None)
            and isinstance(size, int | None)
        ):
            return cls(address=address, etag=etag, modified=modified, size=size)
        return None


class PartialFile:
    """Bytes from the start of a file, beside a record of which file they are the start of."""

    def __init__(self, target: Path, file: FileIO) -> None:
        self.target = target
        self.whole: Whole | None = None
        self._file = file
        self._record = target.with_name(f"{target.name}.part.json")
        self.whole = Whole.of(recall(self._record))

    @property
    def size(self) -> int:
        """Bytes so far."""
        return os.fstat(self._file.fileno()).st_size

    def begin(self, whole: Whole) -> None:
        """Forget what came and begin a file.

        Raises:
            CacheError: it cannot be written, or does not fit on the disk.
        """
        self.forget()
        with writing(self.target):
            self._record.write_text(json.dumps(asdict(whole)), encoding="utf-8")
        self.whole = whole
        room = os.statvfs(self.target.parent)
        free = room.f_bavail * room.f_frsize
        if whole.size is not None and whole.size > free:
            raise CacheError(
                f"{self.target.name} has {whole.size:,} bytes and {self.target.parent} has room for "
                f"{free:,}. Free some, or name a folder on another disk in XDG_CACHE_HOME."
            )

    def append(self, content: bytes) -> None:
        """Add bytes at the end; they are in the kernel's hands when this returns.

        Raises:
            CacheError: they cannot be written.
        """
        left = memoryview(content)
        with writing(self.target):
            while left:
                left = left[self._file.write(left) :]

    def forget(self) -> None:
        """Empty the file and delete the record of it; another can be begun."""
        with writing(self.target):
            self._file.truncate(0)
            self._record.unlink(missing_ok=True)
        self.whole = None

    def discard(self) -> None:
        """Delete what came; nothing can be begun any more."""
        self.forget()
        _part(self.target).unlink(missing_ok=True)

    def md5(self) -> str:
        """MD5 of what came, hexadecimal. It guards against cut downloads, not against an attacker."""
        with _part(self.target).open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()

    def finish(self) -> None:
        """Give the file its name; the bytes are on the disk before the name is.

        Raises:
            CacheError: it cannot be written.
        """
        with writing(self.target):
            os.fsync(self._file.fileno())
            _part(self.target).replace(self.target)
        self._record.unlink(missing_ok=True)


def _part(target: Path) -> Path:
    return target.with_name(f"{target.name}.part")


@contextlib.contextmanager
def partial_file(target: Path) -> Iterator[PartialFile]:
    """Open the partial file of `target`, which no other run holds; what is in it stays there.

    Raises:
        CacheError: it cannot be opened, or another run is downloading it.
    """
    with writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        file = _part(target).open("ab", buffering=0)
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CacheError(
                f"another run is downloading {target.name} into {target.parent}. Wait for it, then run the "
                "same command again."
            ) from None
        yield PartialFile(target, file)


@contextlib.contextmanager
def writing(target: Place) -> Iterator[None]:
    """Turn the errors of writing a download into one that names the folder and the remedy.

    Raises:
        CacheError: the system refused.
    """
    try:
        yield
    except CacheError:
        raise
    except OSError as error:
        raise CacheError(
            f"{target.name} cannot be written into {target.parent} ({error.strerror or error}). What came so "
            "far is kept. Make room and give permission there, or name another folder in XDG_CACHE_HOME."
        ) from error


def remember(path: Place, record: dict[str, object]) -> None:
    """Write a small record, whole or not at all.

    Raises:
        CacheError: it cannot be written.
    """
    with writing(path), replacing(path) as temporary:
        temporary.write_text(json.dumps(record, sort_keys=True), encoding="utf-8")


def recall(path: Place) -> dict[str, object]:
    """A small record; empty where there is none that can be read."""
    with contextlib.suppress(OSError, ValueError):
        if path.stat().st_size <= LONGEST_RECORD:
            found = json.loads(path.read_bytes())
            if isinstance(found, dict):
                return found
    return {}
