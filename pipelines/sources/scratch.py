"""Folders for what is needed while a file is read, and for no longer."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "gl10m-scratch-"
_LOCK = "in-use"


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder of our own among the temporary files, removed at the end.

    A process that is killed leaves its folder; the next one that wants one removes it. The kernel's lock,
    which is free the moment its holder dies, tells a folder that was left from one in use.

    Yields:
        The folder.

    Raises:
        OSError: there is no room for it.
    """
    _sweep(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=_PREFIX) as name, Path(name, "new").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        Path(name, "new").rename(Path(name, _LOCK))  # named once it is held: nobody finds it free
        yield Path(name)


def _sweep(temporary: Path) -> None:
    """Remove our own folders whose process is gone."""
    for folder in temporary.glob(f"{_PREFIX}*"):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            with (folder / _LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # in use, or removed meanwhile, or not begun yet: it has no lock
            continue
