"""Flies a landscape as NAIP does: four bands of bytes in quarter quads that overlap their neighbours."""

import functools
import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rasterio.enums import ColorInterp

from pipelines.world.cogs import Part, unpacked, write_cog
from pipelines.world.grids import PixelFrame, QuarterQuad
from pipelines.world.landscape import BLOCK_PIXELS, Landscape, blocks

NOISY_SHARE = 0.06
"""Share of pixels that the sensor's noise lifts by one grey level."""


@dataclass(frozen=True, slots=True)
class Vintage:
    """One flight over the quads of a region."""

    day: date
    gsd: float
    """Metres a pixel: 0.6 or 1.0."""
    share: float = 1.0
    """Share of the quads flown, from the north-west on."""
    hole_metres: float = 0.0
    """Side of a black square, the sign of a damaged delivery, in the last quad flown; 0 for none."""

    infrared_called_alpha: bool = False
    """Whether the files call their fourth band alpha, as some real ones do: a trap for naive warps."""

    def flown(self, quads: list[QuarterQuad]) -> list[QuarterQuad]:
        """The quads of this flight, from the north-west on."""
        ordered = sorted(quads, key=lambda quad: (-quad.row, quad.column))
        return ordered[: math.ceil(len(ordered) * self.share)]

    def name(self, quad: QuarterQuad, region: str) -> str:
        """Item id and file name as the Planetary Computer's: ca_m_3611960_ne_11_060_20230612."""
        steps = f"{round(self.gsd * 100):03d}"
        return f"{region.lower()}_m_{quad.name}_{quad.zone}_{steps}_{self.day:%Y%m%d}"


def season(day: date) -> float:
    """0 in mid-July, 1 in mid-January."""
    return 0.5 + 0.5 * math.cos(2 * math.pi * (day.timetuple().tm_yday - 15) / 365)


def fly(landscape: Landscape, quad: QuarterQuad, vintage: Vintage, path: Path, *, hole: bool) -> None:
    """Write one quarter quad.

    Args:
        landscape: what lies below.
        quad: where.
        vintage: when, and how fine.
        path: the COG to write; a file that is there is left alone.
        hole: whether this is the quad with the black square.

    Raises:
        OSError: the folder cannot be written.
    """
    if path.exists():
        return
    frame = quad.frame(vintage.gsd)
    parts = _strips(landscape, frame, vintage, path.stem, hole=hole)
    infrared = ColorInterp.alpha if vintage.infrared_called_alpha else ColorInterp.undefined
    colours = (ColorInterp.red, ColorInterp.green, ColorInterp.blue, infrared)
    write_cog(path, frame, parts, bands=4, dtype="uint8", colours=colours)


def _strips(
    landscape: Landscape, frame: PixelFrame, vintage: Vintage, name: str, *, hole: bool
) -> Iterator[Part]:
    look = landscape.atlas(season(vintage.day))
    generator = np.random.default_rng(int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little"))
    for block in blocks(frame):
        (seen,) = landscape.pixels(block.frame, [look])
        top, left = generator.integers(0, BLOCK_PIXELS, 2)
        height, width = seen.shape
        seen += _noise_table()[top : top + height, left : left + width]
        if hole:
            seen[_in_hole(frame, block.frame, vintage.hole_metres)] = 0
        yield block.rows, block.columns, unpacked(seen)


def _in_hole(frame: PixelFrame, block: PixelFrame, metres: float) -> tuple[slice, slice]:
    """Rows and columns of a block that lie in the black square about the middle of the frame."""
    half = round(metres / frame.step / 2)
    row, column = frame.row + frame.height // 2 - block.row, frame.column + frame.width // 2 - block.column
    return (
        slice(max(0, row - half), max(0, row + half)),
        slice(max(0, column - half), max(0, column + half)),
    )


@functools.cache
def _noise_table() -> NDArray[np.uint32]:
    draws = np.random.default_rng(13).random((2 * BLOCK_PIXELS, 2 * BLOCK_PIXELS), dtype=np.float32)
    return (draws < NOISY_SHARE).astype(np.uint32) * np.uint32(0x01010101)
