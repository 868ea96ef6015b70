"""Requests to object stores, and what their errors mean.

The client is obstore, whose puts are all or nothing. Its engine does not survive a fork: a process that was
forked after its parent had used it hands its requests to a process of its own, see `gl10m.storage.relay`.
"""

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import obstore
from obstore import exceptions
from obstore.store import ObjectStore, from_url

from gl10m.storage import relay
from gl10m.storage.address import shown

TOGETHER: Final = 10
"""Ranges of an object that obstore asks for at once; it keeps any more of one call waiting."""

AT_ONCE: Final = 16
"""Such calls under way at a time in one process, besides those that callers make in their own threads."""

_PART_BYTES = 16 << 20
"""Objects longer than this are put in parts of it; the store makes the object when it has all."""

PATIENCE: Final = timedelta(seconds=30)
"""An answer 429 or 5xx, or none, is asked for again with growing pauses for so long."""

RETRIES: Final = 1000
"""More than there is time for. obstore's pauses are random and grow slowly: 8 of them were over after 2 s."""

_FIRST_PAUSE: Final = timedelta(seconds=0.1)
_LONGEST_PAUSE: Final = timedelta(seconds=5)

_CONNECT, _TRANSFER = "5s", "120s"
"""Longest wait for a connection, and for one request with its body."""

_STATUS = re.compile(r"status code: (\d{3}[A-Za-z ]*)")
_CODE = re.compile(r"<Code>(\w{1,60})</Code>")


class StorageError(RuntimeError):
    """An object store did not do what it was asked.

    No OSError: what handles a damaged file by making it anew must not do so because a store does not answer.
    """


class StorageUnavailableError(StorageError):
    """An object store does not answer, or answers that it cannot."""


class StorageDeniedError(StorageError):
    """An object store refuses, or there are no credentials."""


class ObjectChangedError(StorageError):
    """A conditional put came second: the object is no longer what it was read as."""


class ObjectNotFoundError(FileNotFoundError):
    """A bucket or an object is not there."""


@dataclass(frozen=True, slots=True)
class Version:
    """What a conditional put compares: whatever a store tells its versions apart by."""

    e_tag: str | None
    version: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """An object as its store describes it."""

    key: str
    """Below the prefix of its address."""
    size: int
    """Bytes."""
    modified: datetime
    """By the store's clock."""
    version: Version


@dataclass(frozen=True, slots=True)
class KeyRange:
    """Bytes of one object."""

    key: str
    start: int
    """First byte."""
    end: int
    """One past the last byte."""


def read(address: str, key: str) -> tuple[bytes, Found]:
    """A whole object.

    Raises:
        ObjectNotFoundError: there is none.
        StorageError: the store refuses, or does not answer.
    """
    result: tuple[bytes, Found] = _perform(_read, address, key)
    return result


def read_ranges(address: str, ranges: list[KeyRange]) -> list[bytes]:
    """Ranges of objects, asked for together; one that reaches beyond the end comes back short.

    Raises:
        ObjectNotFoundError: an object is not there.
        StorageError: the store refuses, or does not answer.
    """
    result: list[bytes] = _perform(_read_ranges, address, ranges)
    return result


def describe(address: str, key: str) -> Found | None:
    """What the store says of an object; None where there is none.

    Raises:
        StorageError: the store refuses, or does not answer.
    """
    result: Found | None = _perform(_describe, address, key)
    return result


def listed(address: str, folder: str) -> tuple[list[str], list[Found]]:
    """Folders and objects directly in a folder of keys.

    Raises:
        ObjectNotFoundError: there is no such bucket.
        StorageError: the store refuses, or does not answer.
    """
    result: tuple[list[str], list[Found]] = _perform(_listed, address, folder)
    return result


def put(address: str, key: str, content: bytes | Path) -> None:
    """Write an object, whole or not at all.

    Raises:
        ObjectNotFoundError: there is no such bucket.
        StorageError: the store refuses, or does not answer.
    """
    _perform(_put, address, key, content)


def put_if(address: str, key: str, content: bytes, known: Version | None) -> Version:
    """Write an object only where it still is what it was, or is not there at all.

    Args:
        address: of the place.
        key: below it.
        content: all of the object.
        known: what it was read as; None where it was not there.

    Raises:
        ObjectChangedError: somebody else was first.
        ObjectNotFoundError: there is no such bucket.
        StorageError: the store refuses, or does not answer.
    """
    result: Version = _perform(_put_if, address, key, content, known)
    return result


def delete(address: str, key: str) -> None:
    """Delete an object; one that is not there is deleted.

    Raises:
        StorageError: the store refuses, or does not answer.
    """
    _perform(_delete, address, key)


_used_by: int | None = None
"""The process that started the engine of obstore."""


def _perform(operation: Callable[..., Any], address: str, *arguments: Any) -> Any:  # noqa: ANN401 - any operation
    global _used_by  # noqa: PLW0603 - the engine is one a process, and so is this
    if _used_by not in {None, os.getpid()}:
        return relay.perform(operation, address, *arguments)
    _used_by = os.getpid()
    return operation(address, *arguments)


@functools.cache
def _store(address: str) -> ObjectStore:
    """The client of one place; credentials, endpoint and region come from the environment."""
    return from_url(
        address,
        # Plain HTTP is used where the environment names such an endpoint; the stores' own are HTTPS.
        client_options={"allow_http": True, "connect_timeout": _CONNECT, "timeout": _TRANSFER},
        retry_config={
            "max_retries": RETRIES,
            "retry_timeout": PATIENCE,
            "backoff": {"init_backoff": _FIRST_PAUSE, "max_backoff": _LONGEST_PAUSE, "base": 3},
        },
    )


def forget() -> None:
    """Make the clients anew, from an environment that has changed."""
    _store.cache_clear()


@functools.cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(AT_ONCE, thread_name_prefix="gl10m-ranges")


def _read(address: str, key: str) -> tuple[bytes, Found]:
    with _told(address, key):
        answer = obstore.get(_store(address), key)
        return bytes(answer.bytes()), _found(answer.meta)


def _read_ranges(address: str, ranges: list[KeyRange]) -> list[bytes]:
    if len(ranges) <= 1:
        return [_read_range(address, wanted) for wanted in ranges]
    groups = _grouped(ranges)
    contents: list[bytes] = [b""] * len(ranges)
    parts = [[ranges[place] for place in group] for group in groups]
    # The first call is made in this thread: a scene's images often need no other.
    others = [_threads().submit(_read_group, address, part) for part in parts[1:]]
    answers = [_read_group(address, parts[0]), *(other.result() for other in others)]
    for group, found in zip(groups, answers, strict=True):
        for place, content in zip(group, found, strict=True):
            contents[place] = content
    return contents


def _grouped(ranges: list[KeyRange]) -> list[list[int]]:
    """Places of ranges of one object each, so many that the store's client sends them all at once."""
    groups: list[list[int]] = []
    open_group: dict[str, list[int]] = {}
    for place, wanted in enumerate(ranges):
        group = open_group.get(wanted.key)
        if group is None or len(group) == TOGETHER:
            group = open_group[wanted.key] = []
            groups.append(group)
        group.append(place)
    return groups


def _read_group(address: str, wanted: list[KeyRange]) -> list[bytes]:
    starts, ends = [span.start for span in wanted], [span.end for span in wanted]
    with _told(address, wanted[0].key):
        found = obstore.get_ranges(_store(address), wanted[0].key, starts=starts, ends=ends, coalesce=0)
        return [bytes(content) for content in found]


def _read_range(address: str, wanted: KeyRange) -> bytes:
    with _told(address, wanted.key):
        return bytes(obstore.get_range(_store(address), wanted.key, start=wanted.start, end=wanted.end))


def _describe(address: str, key: str) -> Found | None:
    try:
        with _told(address, key):
            return _found(obstore.head(_store(address), key))
    except ObjectNotFoundError:
        return None


def _listed(address: str, folder: str) -> tuple[list[str], list[Found]]:
    with _told(address, folder):
        answer = obstore.list_with_delimiter(_store(address), folder or None)
        return list(answer["common_prefixes"]), [_found(meta) for meta in answer["objects"]]


def _put(address: str, key: str, content: bytes | Path) -> None:
    with _told(address, key):
        obstore.put(_store(address), key, content, chunk_size=_PART_BYTES, max_concurrency=4)


def _put_if(address: str, key: str, content: bytes, known: Version | None) -> Version:
    with _told(address, key):
        if known is None:
            answer = obstore.put(_store(address), key, content, mode="create")
        else:
            named = {"e_tag": known.e_tag, "version": known.version}
            mode: Any = {name: value for name, value in named.items() if value is not None}
            answer = obstore.put(_store(address), key, content, mode=mode)
        return Version(answer["e_tag"], answer["version"])


def _delete(address: str, key: str) -> None:
    # Some stores report a missing object, others do not.
    with contextlib.suppress(ObjectNotFoundError), _told(address, key):
        obstore.delete(_store(address), key)


def _found(meta: Any) -> Found:  # noqa: ANN401 - a TypedDict that has no name at run time
    version = Version(meta["e_tag"], meta["version"])
    return Found(meta["path"], meta["size"], meta["last_modified"], version)


@contextlib.contextmanager
def _told(address: str, key: str) -> Iterator[None]:
    """Turn errors of obstore, which tell all of a request, into ours."""
    try:
        yield
    except (exceptions.AlreadyExistsError, exceptions.PreconditionError):
        raise ObjectChangedError(f"{address}/{key} was written by somebody else meanwhile") from None
    except FileNotFoundError as error:
        raise _missing(address, key, str(error)) from None
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as error:
        raise StorageDeniedError(
            f"{address} may not be read or written with the credentials of the environment "
            f"({_reason(str(error))}). Check AWS_*, GOOGLE_APPLICATION_CREDENTIALS or AZURE_*, and the "
            "rights on the bucket; then run the same command again."
        ) from None
    except (exceptions.BaseError, OSError, ValueError) as error:
        raise _unavailable(address, key, str(error)) from None


def _missing(address: str, key: str, text: str) -> ObjectNotFoundError:
    if any(sign in text for sign in ("NoSuchBucket", "ContainerNotFound", "bucket does not exist")):
        bucket = "/".join(address.split("/")[:3])
        return ObjectNotFoundError(
            f"there is no bucket {bucket}. Make it first, or check its name and endpoint."
        )
    return ObjectNotFoundError(f"there is no object {address}/{key}")


def _unavailable(address: str, key: str, text: str) -> StorageError | ObjectNotFoundError:
    if "NoSuchBucket" in text or "ContainerNotFound" in text:
        return _missing(address, key, text)
    if any(
        sign in text
        for sign in ("169.254.169.254", "/latest/api/token", "metadata.google", "metadata.gce", "Missing")
    ):
        return StorageDeniedError(
            f"no credentials for {address} in the environment ({_reason(text)}). Set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY (or AWS_SKIP_SIGNATURE=true for a public bucket), "
            "GOOGLE_APPLICATION_CREDENTIALS, or AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY."
        )
    return StorageUnavailableError(
        f"{address} does not answer as it should ({_reason(text)}). What was written is whole and stays; run "
        "the same command again when it does."
    )


def _reason(text: str) -> str:
    """What a person needs of an error of obstore: status and code, without addresses' queries."""
    status, code = _STATUS.search(text), _CODE.search(text)
    if status:
        return status[1].strip() + (f", {code[1]}" if code else "")
    first = text.partition("\n")[0][:300]
    return re.sub(r"https?://\S+", lambda found: shown(found[0]), first)
