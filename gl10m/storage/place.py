"""A place in a folder or in a bucket: what `root / "manifests" / "scenes.parquet"` is."""

import contextlib
import fnmatch
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Self, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

from gl10m.storage import client, lease, register
from gl10m.storage.address import BucketAddress, StorageAddressError, is_address, shown
from gl10m.storage.checksum import sha256_of
from gl10m.storage.client import Found, ObjectNotFoundError
from gl10m.storage.lease import Lease
from gl10m.storage.register import FOLDERS, RECEIPTS, Entry


class BucketRoot:
    """A data set in a bucket: its address, its files as they were when first asked for, and our lease."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.lease: Lease | None = None
        self._files: Mapping[str, Entry] | None = None

    @property
    def files(self) -> Mapping[str, Entry]:
        """Files of the data set by name, those that stood when they were first asked for."""
        if self.lease is not None:
            return self.lease.files
        if self._files is None:
            found = register.read(self.address)
            self._files = found.register.files if found else register.present(self.address)
        return self._files

    @contextlib.contextmanager
    def held(self) -> Iterator[Lease]:
        """Hold the data set; one who holds it already goes on."""
        if self.lease is not None:
            yield self.lease
            return
        with lease.held(self.address) as taken:
            self.lease = taken
            try:
                yield taken
            finally:
                self.lease, self._files = None, None

    def upload(self, name: str, file: Path) -> Entry:
        """Put a file where its publication by the present holder will name it; the same again is not put.

        Args:
            name: in the data set: data/CA-00000-of-00003.parquet.
            file: on this machine.

        Raises:
            LeaseLostError: nobody holds the data set.
            StorageError: the store refuses, or does not answer.
        """
        if self.lease is None:
            raise lease.LeaseLostError(f"nobody holds {self.address}; nothing is put there")
        digest = sha256_of(file)
        known = self.lease.files.get(name)
        if known is not None and known.sha256 == digest:
            return known
        key = register.key_for(name, self.lease.token)
        client.put(self.address, key, file)
        return Entry(key, file.stat().st_size, digest)

    def commit(self, changed: Mapping[str, Entry], gone: set[str]) -> None:
        """Publish: from now on the data set has the changed files and not those that are gone.

        Raises:
            LeaseLostError: somebody else took over; nothing is changed.
            StorageError: the store refuses, or does not answer.
        """
        if self.lease is None:
            raise lease.LeaseLostError(f"nobody holds {self.address}; nothing is published")
        before = self.lease.files
        after = {name: entry for name, entry in before.items() if name not in gone} | dict(changed)
        self.lease.commit(after)
        keys = {entry.key for entry in after.values()}
        for entry in before.values():
            if entry.key not in keys:
                client.delete(self.address, entry.key)

    def clear(self) -> None:
        """Delete what publications that were cut short have put.

        Raises:
            LeaseLostError: somebody else took over; nothing is deleted.
            StorageError: the store refuses, or does not answer.
        """
        if self.lease is None:
            raise lease.LeaseLostError(f"nobody holds {self.address}; nothing is deleted there")
        strays = register.strays(self.address, self.lease.files)
        if strays:
            # Held after the listing means held while it was made: none of these is a successor's.
            self.lease.renew()
        for key in strays:
            client.delete(self.address, key)

    def __reduce__(self) -> tuple[type["BucketRoot"], tuple[str]]:
        # A worker never holds the lease, and looks at the files itself if it must.
        return BucketRoot, (self.address,)


@dataclass(frozen=True, slots=True)
class Size:
    """What is asked of a file's state."""

    st_size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class BucketPath:
    """A file of a data set in a bucket, or a folder of such; speaks as `pathlib.Path` does.

    Files of data/, index/ and manifests/ are found through the register, under whatever key they lie. Others,
    of the journal, lie under their own name.
    """

    root: BucketRoot = field(compare=False)
    place: str
    """Below the root; empty for the root."""
    found: Found | None = field(default=None, compare=False)
    """Where it was listed, what the store said of it."""

    @property
    def name(self) -> str:
        """Last part of the place."""
        return self.place.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its last suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The last suffix of the name, with its dot."""
        return PurePosixPath(self.name).suffix

    @property
    def parent(self) -> "BucketPath":
        """The folder that it is in."""
        return BucketPath(self.root, self.place.rpartition("/")[0])

    def resolve(self) -> Self:
        """The same: an address is absolute."""
        return self

    def exists(self) -> bool:
        """Whether there is such a file."""
        return self._size() is not None

    def is_file(self) -> bool:
        """Whether there is such a file."""
        return self.exists()

    def is_dir(self) -> bool:
        """Whether there is any file below."""
        folders, files = client.listed(self.root.address, self.place)
        return bool(folders or files)

    def stat(self) -> Size:
        """Its size.

        Raises:
            ObjectNotFoundError: there is no such file.
        """
        size = self._size()
        if size is None:
            raise ObjectNotFoundError(f"there is no {self}")
        return Size(size)

    def read_bytes(self) -> bytes:
        """All of it.

        Raises:
            ObjectNotFoundError: there is no such file.
        """
        return client.read(self.root.address, self.key)[0]

    def read_text(self, encoding: str = "utf-8") -> str:
        """All of it, decoded.

        Raises:
            ObjectNotFoundError: there is no such file.
        """
        return self.read_bytes().decode(encoding)

    def glob(self, pattern: str) -> Iterator["BucketPath"]:
        """Files and folders directly below whose name fits."""
        if self.place in FOLDERS:
            inside = (name for name in self.root.files if name.startswith(f"{self.place}/"))
            below = [BucketPath(self.root, name) for name in sorted(inside)]
        else:
            folders, files = client.listed(self.root.address, self.place)
            below = [BucketPath(self.root, name) for name in folders]
            below += [BucketPath(self.root, found.key, found) for found in files]
        return (path for path in below if fnmatch.fnmatchcase(path.name, pattern))

    def unlink(self, *, missing_ok: bool = False) -> None:
        """Delete a file of the journal; those of the data set go with a publication."""
        if not missing_ok and not self.exists():
            raise ObjectNotFoundError(f"there is no {self}")
        client.delete(self.root.address, self.place)

    def put(self, file: Path) -> None:
        """Write it, whole or not at all; a file of the data set is published by itself.

        Raises:
            LeaseHeldError: somebody else is writing into the data set.
            StorageError: the store refuses, or does not answer.
        """
        if not self._is_published:
            client.put(self.root.address, self.place, file)
            return
        with self.root.held():
            self.root.commit({self.place: self.root.upload(self.place, file)}, set())

    @property
    def key(self) -> str:
        """Where its bytes lie in the bucket."""
        if not self._is_published:
            return self.place
        entry = self.root.files.get(self.place)
        if entry is None:
            raise ObjectNotFoundError(f"there is no {self}")
        return entry.key

    @property
    def mark(self) -> str:
        """What changes when its bytes do."""
        entry = self.root.files.get(self.place) if self._is_published else None
        if entry is not None and entry.sha256 is not None:
            return entry.sha256
        found = self.found or client.describe(self.root.address, self.key)
        if found is None:
            raise ObjectNotFoundError(f"there is no {self}")
        return f"{found.version.e_tag} {found.version.version} {found.size} {found.modified.isoformat()}"

    @property
    def _is_published(self) -> bool:
        return self.place.partition("/")[0] in FOLDERS or self.place == RECEIPTS

    def _size(self) -> int | None:
        if self._is_published:
            entry = self.root.files.get(self.place)
            return None if entry is None else entry.size
        found = self.found or client.describe(self.root.address, self.place)
        return None if found is None else found.size

    def __truediv__(self, part: str) -> "BucketPath":
        return BucketPath(self.root, f"{self.place}/{part}" if self.place else part)

    def __lt__(self, other: "BucketPath") -> bool:
        return (self.root.address, self.place) < (other.root.address, other.place)

    def __str__(self) -> str:
        return f"{self.root.address}/{self.place}" if self.place else self.root.address


Place = Path | BucketPath
"""Where a data set, or a file of it, lies."""

AnyPlace = TypeVar("AnyPlace", Path, BucketPath, Place)
"""A place of one kind, where what is made of it is of the same kind."""


def place_of(given: "str | os.PathLike[str] | BucketPath") -> Place:
    """The place that a user named: a folder, file://FOLDER, s3://BUCKET/PREFIX, gs:// or az://.

    Raises:
        StorageAddressError: an address of another kind, or one with credentials.
    """
    if isinstance(given, BucketPath):
        return given
    text = os.fspath(given)
    if is_address(text):
        return BucketPath(BucketRoot(str(BucketAddress.parse(text))), "")
    scheme, mark, _ = text.partition("://")
    if mark and scheme == "file":
        parts = urlsplit(text)
        if parts.netloc not in {"", "localhost"}:
            raise StorageAddressError(
                f"a file:// address has no host: file:///some/folder; got {shown(text)!r}"
            )
        return Path(url2pathname(parts.path))
    if mark and scheme.isalnum():
        raise StorageAddressError(f"a place is a folder, file://, s3://, gs:// or az://; got {shown(text)!r}")
    return Path(text)


def object_at(address: str) -> BucketPath:
    """One object by its address, s3://BUCKET/SOME/FILE: an input, no file of a data set.

    Raises:
        StorageAddressError: it names no object.
    """
    parsed = BucketAddress.parse(address)
    folder, _, name = parsed.prefix.rpartition("/")
    if not name:
        raise StorageAddressError(f"an object is s3://BUCKET/FILE; got {shown(address)!r}")
    return BucketPath(BucketRoot(str(BucketAddress(parsed.scheme, parsed.bucket, folder))), name)


def below(folder: Place, pattern: str) -> list[Place]:
    """Files and folders directly in a folder whose name fits, sorted; none where there is no folder."""
    # Both branches say the same: the type checker knows an order among paths of one kind alone.
    if isinstance(folder, Path):
        return [*sorted(folder.glob(pattern))]
    return [*sorted(folder.glob(pattern))]
