"""Folders for what is needed while a file is read or a cluster runs, and for no longer."""

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "gl10m-scratch-"
_LOCK = "in-use"


@contextlib.contextmanager
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
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    try:
        with (folder / "new").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / "new").rename(folder / _LOCK)  # named once it is held: nobody finds it free
            yield folder
    finally:
        with contextlib.suppress(OSError):
            _remove(folder)


def _sweep(temporary: Path) -> None:
    """Remove our own folders whose process is gone."""
    for folder in temporary.glob(f"{_PREFIX}*"):
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            with (folder / _LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(folder)
        except OSError:  # in use, still written into, removed meanwhile, or not begun yet: it has no lock
            continue


def _remove(folder: Path) -> None:
    """Remove a folder, its lock last: if something still writes into it, it is found again the next time.

    Raises:
        OSError: so it was.
    """
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != _LOCK:
            path.unlink()
    (folder / _LOCK).unlink(missing_ok=True)
    folder.rmdir()
