"""Writes the viewer as a folder that any browser opens, from a file or from any web server."""

import shutil
import uuid
from pathlib import Path

from gl10m.manifest.parquet import TEMPORARY
from gl10m.view.site import Site


class FolderTakenError(FileExistsError):
    """A folder that shall hold the viewer holds something else."""


def write_static(site: Site, folder: Path) -> int:
    """Write all files of a site, whole or not at all.

    Args:
        site: what to write.
        folder: made here; may exist if it is empty.

    Returns:
        Bytes written.

    Raises:
        FolderTakenError: the folder holds something.
        StoreError: an image is damaged.
        OSError: the folder cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FolderTakenError(
            f"the viewer is written into a new or an empty folder; {folder} is neither. Name another, or "
            "empty it."
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f"{TEMPORARY}{uuid.uuid4().hex}-{folder.name}")
    written = 0
    try:
        for name in site.names():
            answer = site.answer(name)
            if answer is None:
                continue  # a scene without images: its about.js says why
            target = temporary / name  # a name of ours, see Site.names
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(answer.content)
            written += len(answer.content)
        if folder.exists():
            folder.rmdir()
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return written
