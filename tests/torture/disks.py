"""Disks that are too small: file systems in memory, which only root can mount."""

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ENOUGH = "200m"
"""Room for any build of the arena."""


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """A file system in memory on a folder, which only root can mount."""
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "gl10m-test", folder], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


def remount(folder: Path, options: str) -> None:
    """Give a disk other options, as more room."""
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


SIZES: dict[str, Callable[[Path], int]] = {
    "for the log": lambda _: 4 << 10,
    "for the mark": lambda _: 8 << 10,
    "for the first stage": lambda _: 16 << 10,
    "for the catalogue": lambda root: room(root / ".gl10m") * 2 // 3,
    "for the first fragment": lambda root: room(root / ".gl10m") + room(root / "data") // 3,
    "for the second fragment": lambda root: room(root / ".gl10m") + room(root / "data") - (64 << 10),
    "for the shard": lambda root: room(root / ".gl10m") + room(root / "data") * 3 // 2,
    "for the manifests": lambda root: room(root / ".gl10m") + 2 * room(root / "data") + (96 << 10),
}
"""What there is no room for: bytes of the disk, where an undisturbed data set lies in a folder."""


def room(folder: Path) -> int:
    """Bytes that the files of a folder take in pages."""
    return sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())
