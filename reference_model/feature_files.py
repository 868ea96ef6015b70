"""The files of a feature cache: one array a kind of feature, memory-mapped, and a checksum of every scene.

A scene is in a cache when its checksum fits. So one that was cut off is told from a whole one, what a failing
disk has left of a scene is not taken for it, and no list of what is done can disagree with the arrays.
"""

import os
import shutil
import tokenize
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from isal import isal_zlib

from reference_model.json_file import read_json, write_json

DESCRIPTION = "features.json"
"""What a cache was made from; it stands beside the arrays."""

CHECKSUMS = "crc32"
"""The array of checksums, uint32 (scenes,); 0 where a scene is not there yet."""

Layout = Mapping[str, tuple[str, tuple[int, ...]]]
"""Type and shape of each array by name; the first dimension is the scene."""

_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,
    tokenize.TokenError,  # numpy's, over a header that breaks off
    TypeError,
    OverflowError,
    MemoryError,
)
"""What numpy raises over bytes that are no array."""


class FeatureCacheError(ValueError):
    """A feature cache is of another encoder or another data set, or what goes into one is no number."""


class FeatureFiles:
    """The arrays of one folder, mapped.

    Args:
        folder: where they are.
        layout: what they hold.
        writable: whether they are written to; a change otherwise stays in this process.

    Raises:
        FeatureCacheError: an array is missing, damaged or of another layout.
    """

    def __init__(self, folder: Path, layout: Layout, *, writable: bool) -> None:
        self.folder = folder
        self.arrays = {
            name: _mapped(folder / f"{name}.npy", kind, shape, writable=writable)
            for name, (kind, shape) in layout.items()
        }
        scenes = next(iter(self.arrays.values())).shape[:1]
        self._checksums = _mapped(folder / f"{CHECKSUMS}.npy", "uint32", scenes, writable=writable)

    def __len__(self) -> int:
        return len(self._checksums)

    def holds(self, scene: int) -> bool:
        """Whether a scene is there, as it was written."""
        written = int(self._checksums[scene])
        return written != 0 and written == self._checksum(scene)

    def keep(self, scenes: Iterable[int]) -> None:
        """Bring scenes that were written to the disk, and then the word that they are there."""
        for array in self.arrays.values():
            array.flush()
        for scene in scenes:
            self._checksums[scene] = self._checksum(scene)
        self._checksums.flush()

    def _checksum(self, scene: int) -> int:
        total = 0
        for _, array in sorted(self.arrays.items()):
            total = isal_zlib.crc32(array[scene], total)
        return total or 1  # 0 has a meaning of its own


def allocate(folder: Path, made_from: Mapping[str, object], layout: Layout) -> None:
    """Begin a cache that holds no scene yet, in place of whatever is there.

    Raises:
        OSError: the disk has no room for it.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    scenes = next(iter(layout.values()))[1][:1]
    for name, (kind, shape) in {**layout, CHECKSUMS: ("uint32", scenes)}.items():
        path = folder / f"{name}.npy"
        np.lib.format.open_memmap(path, "w+", np.dtype(kind), shape).flush()
        # Now, since a full disk under a mapping is a SIGBUS: the process would end without a word.
        size = path.stat().st_size
        with path.open("r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, size)
            except OSError as error:
                raise OSError(
                    error.errno,
                    f"{error.strerror}: {path.name} of the features of {scenes[0]:,} scenes takes {size:,} "
                    "bytes. Make room and run the same command again",
                    str(path),
                ) from error
    write_json(folder / DESCRIPTION, made_from)


def described(folder: Path) -> dict[str, object] | None:
    """What a cache is made from, finished or not; None where nothing tells."""
    try:
        return read_json(folder / DESCRIPTION)
    except (OSError, ValueError, RecursionError):
        return None


def _mapped(
    path: Path, kind: str, shape: tuple[int, ...], *, writable: bool
) -> np.memmap[Any, np.dtype[Any]]:
    try:
        # Copy-on-write where nothing is to be written, because PyTorch warns of read-only memory. By
        # open_memmap, since of a ZIP archive np.load would give another kind.
        array = np.lib.format.open_memmap(path, "r+" if writable else "c")
    except _UNREADABLE as error:
        raise FeatureCacheError(
            f"{path} is missing or damaged ({error}). Delete {path.parent}: it is made anew."
        ) from error
    if (array.dtype, array.shape) != (np.dtype(kind), shape) or not array.flags.c_contiguous:
        raise FeatureCacheError(
            f"{path} does not hold {shape} of {kind}, as it was written. Delete {path.parent}: it "
            "is made anew."
        )
    return array
