"""One build at a time in one data set."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from gl10m.storage.lease import LeaseHeldError, holder_of, refuse_if_held
from gl10m.storage.place import Place

WORK = ".gl10m"
"""Folder inside a data set that holds the journal; safe to delete when nothing is to be resumed."""


_GLANCES, _GLANCE_SECONDS = 5, 0.02


class BuildLockedError(RuntimeError):
    """Another build is writing into the same data set."""


class UnwritableRootError(PermissionError):
    """The folder of a data set cannot be made or written."""


def check_free(root: Place) -> None:
    """Look whether another process holds the data set, before an engine is imported and anything is made.

    A command begins with it: what `locked` would refuse after seconds of imports is refused at once. Whoever
    passes may still be refused by `locked`.

    Raises:
        BuildLockedError: another process holds it.
        StorageError: the store of a bucket refuses, or does not answer.
    """
    if not isinstance(root, Path):
        with _lease_told():
            refuse_if_held(root.root.address)
        return
    # What cannot be opened is told by `locked`, if at all.
    with contextlib.suppress(OSError), (root / WORK / "lock").open() as file:
        _take(file, fcntl.LOCK_SH, root)


@contextlib.contextmanager
def locked(root: Place) -> Iterator[None]:
    """Hold the data set at `root` for this process.

    The lock is the kernel's (flock), so it is free the moment its holder dies, however it dies. It does not
    hold over NFS. In a bucket it is a lease, see `gl10m.storage.lease`.

    Raises:
        BuildLockedError: another process holds it.
        UnwritableRootError: the folder cannot be made or written.
    """
    if not isinstance(root, Path):
        with contextlib.ExitStack() as stack:
            with _lease_told():
                stack.enter_context(root.root.held())
            yield
        return
    with _lock_file(root) as file:
        _take(file, fcntl.LOCK_EX, root)
        # Who holds it is only told to others: a full disk must say so where something is lost.
        with contextlib.suppress(OSError):
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), str(os.getpid()).encode())
        yield


@contextlib.contextmanager
def _lease_told() -> Iterator[None]:
    """Tell of a lease as of a lock."""
    try:
        yield
    except LeaseHeldError as error:
        raise BuildLockedError(str(error)) from None


def _take(file: TextIO, how: int, root: Path) -> None:
    """Take the lock; who only looks whether it is held, as `is_locked` does, holds it for an instant.

    Raises:
        BuildLockedError: another process holds it.
    """
    for _ in range(_GLANCES):
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, how | fcntl.LOCK_NB)
            return
        time.sleep(_GLANCE_SECONDS)
    file.seek(0)
    holder = file.read(32).strip() or "unknown"
    raise BuildLockedError(
        f"another build (process {holder}) is writing into {root}. Wait for it, or give this build another "
        "folder with --root."
    )


def _lock_file(root: Path) -> TextIO:
    folder = root / WORK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return (folder / "lock").open("a+")
    except OSError as error:
        raise UnwritableRootError(
            f"{root} cannot be made or written ({error.strerror or error}). Choose another folder with "
            "--root, or make this one writable."
        ) from error


def is_locked(root: Place) -> bool:
    """Whether a build is writing into the data set at `root` at this moment."""
    if not isinstance(root, Path):
        return holder_of(root.root.address) is not None
    try:
        with (root / WORK / "lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
