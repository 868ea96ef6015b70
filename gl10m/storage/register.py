"""`gl10m.json`: which objects of a bucket are a data set, and who writes into it.

The one object that is ever replaced, always by a conditional put. See docs/decisions/0012-object-stores.md.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Self

from isal import isal_zlib

from gl10m.storage import client
from gl10m.storage.client import Found, Version

REGISTER: Final = "gl10m.json"
"""Name of the register below the root."""

FOLDERS: Final = ("data", "index", "manifests")
"""Folders of a data set whose files are published together."""

RECEIPTS: Final = ".gl10m/receipts.parquet"
"""The one file of the journal that is published with them."""

_FORMAT = 1
_KEYS = frozenset({"gl10m", "files", "lease", "crc32"})
_PLAIN = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,150}"
_NAME = re.compile(rf"(?:data|index|manifests)/{_PLAIN}|{re.escape(RECEIPTS)}")
_KEY = re.compile(rf"(?:data|index|manifests|\.gl10m)/{_PLAIN}")
_TOKEN = re.compile(r"\.[0-9a-f]{12}(?=\.(?:parquet|arrow)$)")
"""What the key of a published object has more than the file's name."""

_OURS = re.compile(r"[A-Za-z0-9_-]+\.[0-9a-f]{12}\.(parquet|arrow)|clock-[0-9a-f]{12}")
"""Names of published objects, CA-00000-of-00003.0f5c1e2a9b3d.parquet, and of those that ask for the time."""


class RegisterError(ValueError):
    """The register of a data set is not what this gl10m writes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of the data set."""

    key: str
    """The object that holds it."""
    size: int
    """Bytes."""
    sha256: str | None
    """Hexadecimal; None where the object was not put by a build."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Who writes into the data set: `gl10m.storage.lease` tells what it means."""

    token: str
    """12 hexadecimal digits that stand in the keys of what this holder puts."""
    holder: str
    """Host and process, for people."""
    machine: str
    """Boot and process namespace of the holder's machine; empty where they cannot be told."""
    process: str
    """Number and beginning of the holder's process on that machine."""
    seconds: float
    """Without a sign of life for so long the holder is taken to be dead."""
    beat: int
    """Grows with every renewal, so that each gives other bytes."""


@dataclass(frozen=True, slots=True)
class Register:
    """What `gl10m.json` says."""

    files: Mapping[str, Entry]
    """By the name that the file has in a folder: data/CA-00000-of-00003.parquet."""
    claim: Claim | None = None

    def encode(self) -> bytes:
        """As it stands in the bucket, with a checksum of itself; the same register gives the same bytes."""
        claim = {} if self.claim is None else {"lease": asdict(self.claim)}
        files = {name: asdict(entry) for name, entry in sorted(self.files.items())}
        told = {"gl10m": _FORMAT, "files": files, **claim}
        checksum = f"{isal_zlib.crc32(json.dumps(told).encode()):08x}"
        return (json.dumps({**told, "crc32": checksum}, indent=1) + "\n").encode()

    @classmethod
    def decode(cls, content: bytes) -> Self:
        """Read a register; it may have been altered, so that no key of it leads out of the data set.

        Raises:
            RegisterError: it is none.
        """
        try:
            found = json.loads(content)
            if found["gl10m"] != _FORMAT:
                raise RegisterError(f"{REGISTER} has format {found['gl10m']}; this gl10m reads {_FORMAT}")
            files = {str(name): Entry(**entry) for name, entry in found["files"].items()}
            claim = Claim(**found["lease"]) if "lease" in found else None
            unknown = set(found) - _KEYS
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            if isinstance(error, RegisterError):
                raise
            raise RegisterError(f"{REGISTER} is no register of a data set: {error}. Restore it.") from error
        for name, entry in files.items():
            _check(name, entry)
        decoded = cls(files, claim)
        # One that was written by hand has no checksum.
        if unknown or ("crc32" in found and decoded.encode() != content):
            raise RegisterError(
                f"{REGISTER} is damaged: it does not have the checksum that it was written with. "
                "`gl10m repair` makes it anew from the objects."
            )
        return decoded

    def with_claim(self, claim: Claim | None) -> "Register":
        """The same files, another writer."""
        return replace(self, claim=claim)


@dataclass(frozen=True, slots=True)
class Read:
    """A register as it stood in the bucket."""

    register: Register
    found: Found

    @property
    def version(self) -> Version:
        """What the next conditional put compares."""
        return self.found.version


def read(address: str) -> Read | None:
    """The register of the data set at an address; None where there is none.

    Raises:
        RegisterError: it is damaged.
        StorageError: the store refuses, or does not answer.
    """
    try:
        content, found = client.read(address, REGISTER)
    except client.ObjectNotFoundError:
        return None
    return Read(Register.decode(content), found)


def write(address: str, register: Register, known: Version | None) -> Version:
    """Replace the register, if it still is what it was.

    A store may have done so although its answer was lost; then the put that is sent again finds its own.

    Raises:
        ObjectChangedError: somebody else was first.
        StorageError: the store refuses, or does not answer.
    """
    content = register.encode()
    try:
        return client.put_if(address, REGISTER, content, known)
    except client.ObjectChangedError:
        stands, found = client.read(address, REGISTER)
        if stands != content:
            raise
        return found.version


def present(address: str) -> dict[str, Entry]:
    """The files of a data set that has no register: copied into the bucket by another program.

    Raises:
        ObjectNotFoundError: there is no such bucket.
        StorageError: the store refuses, or does not answer.
    """
    files = {}
    for folder in (*FOLDERS, ".gl10m"):
        for found in client.listed(address, folder)[1]:
            if _NAME.fullmatch(found.key):
                files[found.key] = Entry(found.key, found.size, None)
    return files


def unnamed(address: str, files: Mapping[str, Entry]) -> list[str]:
    """Keys in the folders of a data set that no file of it is at."""
    keys = {entry.key for entry in files.values()}
    return sorted(
        found.key
        for folder in FOLDERS
        for found in client.listed(address, folder)[1]
        if found.key not in keys
    )


def strays(address: str, files: Mapping[str, Entry]) -> list[str]:
    """Objects that a publication put and did not live to name; whoever holds the lease may delete them."""
    keys = {entry.key for entry in files.values()}
    found = [found.key for folder in (*FOLDERS, ".gl10m") for found in client.listed(address, folder)[1]]
    return sorted(key for key in found if key not in keys and _OURS.fullmatch(key.rpartition("/")[2]))


def is_damaged(address: str) -> bool:
    """Whether there is a register that cannot be read.

    Raises:
        StorageError: the store refuses, or does not answer.
    """
    try:
        read(address)
    except RegisterError:
        return True
    return False


def restore(address: str) -> Register:
    """Make a damaged register anew from the objects of a data set; the lease in it is free.

    Raises:
        RegisterError: a file has several objects, left by a publication that was cut short: which of them the
            register named, nobody knows.
        ObjectChangedError: somebody else has written one meanwhile.
        StorageError: the store refuses, or does not answer.
    """
    _, damaged = client.read(address, REGISTER)
    files: dict[str, Entry] = {}
    for folder in (*FOLDERS, ".gl10m"):
        for found in client.listed(address, folder)[1]:
            name = _TOKEN.sub("", found.key)
            if not _NAME.fullmatch(name):
                continue
            if name in files:
                raise RegisterError(
                    f"{name} has two objects, {files[name].key} and {found.key}, and the damaged {REGISTER} "
                    "does not tell which is the data set's. Delete that of the unfinished build, then repair."
                )
            digest = hashlib.sha256(client.read(address, found.key)[0]).hexdigest()
            files[name] = Entry(found.key, found.size, digest)
    restored = Register(files)
    client.put_if(address, REGISTER, restored.encode(), damaged.version)
    return restored


def key_for(name: str, token: str) -> str:
    """The key of a file that the holder of a lease publishes; nobody else ever puts or deletes it."""
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}.{token}{dot}{suffix}"


def _check(name: str, entry: Any) -> None:  # noqa: ANN401 - what a JSON file holds
    plain = (
        isinstance(entry.key, str) and isinstance(entry.size, int) and isinstance(entry.sha256, str | None)
    )
    if not (plain and _NAME.fullmatch(name) and _KEY.fullmatch(entry.key) and entry.size >= 0):
        raise RegisterError(f"{REGISTER} names {name!r}, which is no file of a data set. Restore it.")
