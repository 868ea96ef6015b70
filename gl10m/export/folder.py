"""The folder of an export: there as a whole or not at all.

Files are made one by one in OUT.partial, each under a temporary name first; when all are there the folder
takes its name. A run that was stopped, or killed, goes on where it stopped: what is made is a function of the
plan, so that a file that stands is the file that would be made.
"""

import contextlib
import fcntl
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import gl10m
from gl10m.manifest.parquet import TEMPORARY, replacing
from gl10m.manifest.provenance import digest

RECORD: Final = "gl10m-export.json"
"""File of an export that says what it was asked to hold."""

_MAX_RECORD_BYTES = 1 << 20
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,200}")


class ExportExistsError(FileExistsError):
    """Something else stands where an export shall stand."""


class ExportLockedError(RuntimeError):
    """Another process makes the same export."""


class ExportFolder:
    """An export while it is made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, make: Callable[[Path], None]) -> None:
        """Make a file, unless a run before made it.

        Args:
            name: below the folder, parts of letters, digits and `_.-`, divided by slashes.
            make: writes the file at the path it is given.

        Raises:
            ValueError: the name leads elsewhere.
            OSError: the folder cannot be written.
        """
        if not all(_PART.fullmatch(part) for part in name.split("/")):
            raise ValueError(f"a file of an export is named with letters, digits and '_.-'; got {name!r}")
        path = self.folder / name
        if not path.exists():
            with replacing(path) as temporary:
                make(temporary)

    def write_text(self, name: str, text: str) -> None:
        """Make a file of text, UTF-8; see `write`."""

        def make(path: Path) -> None:
            path.write_text(text, encoding="utf-8")

        self.write(name, make)


@contextlib.contextmanager
def exporting(out: Path, plan: Mapping[str, Any]) -> Iterator[ExportFolder | None]:
    """Make an export, or go on with it.

    Args:
        out: where the folder shall stand.
        plan: all that its bytes depend on; JSON can hold it.

    Yields:
        The folder to fill; None where this very export already stands, whole.

    Raises:
        ExportExistsError: something else stands there.
        ExportLockedError: another process makes it.
        OSError: the folder cannot be written.
    """
    record = {"gl10m_export": 1, "gl10m": gl10m.__version__, "plan": digest(plan), **plan}
    if _holds_anything(out):
        if _record(out) != record:
            raise ExportExistsError(
                f"an export makes its folder anew, and {out} stands already, with something else in it. Name "
                "another with --out, or delete it."
            )
        yield None
        return
    work = out.with_name(f"{out.name}.partial")
    work.mkdir(parents=True, exist_ok=True)
    with _locked(work):
        _prepare(work, record)
        yield ExportFolder(work)
        _publish(work, out)


def _holds_anything(out: Path) -> bool:
    return out.is_symlink() or (out.exists() and not (out.is_dir() and not any(out.iterdir())))


def _record(folder: Path) -> Any:  # noqa: ANN401 - what a JSON file holds
    """The record of an export; None where there is none."""
    path = folder / RECORD
    with contextlib.suppress(OSError, ValueError):
        if path.is_file() and path.stat().st_size <= _MAX_RECORD_BYTES:
            return json.loads(path.read_text(encoding="utf-8"))
    return None


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process, by the kernel's lock: free the moment the holder dies."""
    opened = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ExportLockedError(f"another process is exporting into {folder}. Wait for it.") from None
        yield
    finally:
        os.close(opened)


def _prepare(work: Path, record: Mapping[str, Any]) -> None:
    """Forget what another plan or an unfinished writer has left; files of strangers stay."""
    found = _record(work)
    if found != record:
        strange = not isinstance(found, dict) or "gl10m_export" not in found
        if strange and any(not path.name.startswith(TEMPORARY) for path in work.iterdir()):
            raise ExportExistsError(f"{work} holds what no export has made. Move it elsewhere.")
        # The record last: by it a run that was killed here knows the folder for its own.
        for path in sorted(work.iterdir(), key=lambda path: path.name == RECORD):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        with replacing(work / RECORD) as temporary:
            temporary.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    for path in work.rglob(f"{TEMPORARY}*"):
        path.unlink()


def _publish(work: Path, out: Path) -> None:
    """The folder takes its name; an empty one that stands there gives way."""
    work.replace(out)
    folder = os.open(out.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
