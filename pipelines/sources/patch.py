"""What a raster must be, which window of it an image needs, and what comes of reading it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gl10m.scene.footprint import Footprint
from pipelines.sources.imagery import DamagedRasterError
from pipelines.sources.lattice import Frame, Lattice

LONGEST_SIDE = 1 << 17
"""Pixels on a side of a raster at most; a NAIP quad at 0.3 m has 25,000."""

MOST_PIXELS = 1 << 27
"""Pixels under a footprint at most; at 0.3 m it has some 60 million."""


@dataclass(frozen=True, slots=True)
class Patch:
    """Pixels read from one raster."""

    frame: Frame
    """Where they lie."""

    pixels: NDArray[Any]
    """Shape (bands, rows, columns) of the frame, in the raster's own dtype."""

    valid: NDArray[np.bool_]
    """Shape (rows, columns); True = the raster has data, by its mask or no-data value, never by its being
    0."""

    def same_as(self, other: "Patch") -> bool:
        """Whether the other shows the same pixels in the same place."""
        return (
            self.frame == other.frame
            and np.array_equal(self.pixels, other.pixels)
            and np.array_equal(self.valid, other.valid)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a raster must be; checked before a pixel is read."""

    dtype: str
    counts: tuple[int, ...]
    """Numbers of bands that are allowed."""
    wanted: tuple[int, ...]
    """Bands to give, from 1: the first ones."""
    pixels: int
    """Pixels on a side of the image that is made of it; decides the overview."""


Lacking = Callable[[Frame], NDArray[np.bool_]]
"""Tells which pixels of a frame are needed; shape (rows, columns)."""


def all_of(frame: Frame) -> NDArray[np.bool_]:
    """Every pixel is needed."""
    return np.broadcast_to(np.True_, frame.shape)


def check_kind(name: str, expected: Expected, dtype: str, bands: int, size: tuple[int, int]) -> None:
    """Refuse a raster that is not the one expected.

    Args:
        name: of the raster, without its query.
        expected: what it must be.
        dtype: what it is; likewise the others.
        bands: number of them.
        size: rows and columns.

    Raises:
        DamagedRasterError: it is another one.
    """
    possible = bands in expected.counts and dtype == expected.dtype and max(size) <= LONGEST_SIDE
    if not possible:
        raise DamagedRasterError(
            f"{name}: expected {expected.counts} bands of {expected.dtype}, at most {LONGEST_SIDE} pixels a "
            f"side; found {bands} x {dtype}, {size[1]} x {size[0]}"
        )


def usable_level(factors: list[int], step: float) -> int | None:
    """Number of the coarsest overview that is not coarser than the output; None for the full raster.

    An overview may lie up to half a full pixel off, by the way GDAL writes those of odd-sized rasters: 0.15 m
    for NAIP of 0.3 m, the only one so fine that an overview is read.
    """
    usable = [level for level, factor in enumerate(factors) if 2 <= factor <= step]  # noqa: PLR2004 - twice
    return max(usable, key=lambda level: factors[level], default=None)


def needed_frame(
    name: str,
    lattice: Lattice,
    size: tuple[int, int],
    *,
    expected: Expected,
    footprint: Footprint,
    lacking: Lacking,
) -> tuple[Frame, NDArray[np.bool_]]:
    """The smallest frame of a raster that holds all that is lacking under a footprint.

    Args:
        name: of the raster, without its query.
        lattice: of the level that is read.
        size: rows and columns of that level.
        expected: what is made of it.
        footprint: the ground to show.
        lacking: tells what is needed.

    Returns:
        The frame, perhaps empty, and which of its pixels are needed.

    Raises:
        DamagedRasterError: pixels so small that they cannot be real.
    """
    under = Frame.under(footprint, lattice, expected.pixels)
    rows, columns = under.shape
    if rows * columns > MOST_PIXELS:
        raise DamagedRasterError(
            f"{name}: a footprint would take {columns} x {rows} pixels of {lattice.width} x "
            f"{lattice.height}; at most {MOST_PIXELS} pixels are read"
        )
    frame = under.clipped(Frame(lattice, 0, 0, size[1], size[0]))
    return frame.narrowed(lacking(frame))
