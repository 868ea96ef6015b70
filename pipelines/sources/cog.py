"""Images of both sensors from cloud-optimised GeoTIFFs over HTTP ranges.

Only the window under the footprint is read, at the finest level that is not twice too fine. A failed read
never ends in silent no-data: the pixels come, or an error does.
"""

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gl10m.scene.footprint import HR_PIXELS, LR_PIXELS, Footprint
from pipelines.sources.imagery import DamagedRasterError, HighResolution, LowResolution
from pipelines.sources.lattice import Frame, Lattice
from pipelines.sources.raster import Expected, Patch, Reader
from pipelines.sources.warp import warp_bytes, warp_classes, warp_reflectance

NAIP_IMAGE = Expected(dtype="uint8", counts=(3, 4), wanted=(1, 2, 3), pixels=HR_PIXELS)
"""Red, green, blue and perhaps near infrared, which some files call alpha."""

REFLECTANCE_BAND = Expected(dtype="uint16", counts=(1,), wanted=(1,), pixels=LR_PIXELS)
"""One band of surface reflectance in counts; 0 is no-data whether the file says so or not."""

CLASSES_BAND = Expected(dtype="uint8", counts=(1,), wanted=(1,), pixels=LR_PIXELS)
"""The scene classification layer."""

COLOURS = ("red", "green", "blue")
"""Bands of an image, in order."""


def read_sentinel2(item: pa.Table, footprint: Footprint, reader: Reader) -> LowResolution:
    """Read one Sentinel-2 item over a footprint.

    Counts of 0 are masked first, then counts become reflectance, then they are interpolated: no value of no-
    data reaches a valid pixel. Classes are taken from the nearest pixel.

    Args:
        item: one row of schema ITEMS.
        footprint: the ground to show.
        reader: who signs, and how often a raster is asked for.

    Raises:
        SourceUnavailableError: a raster cannot be reached.
        DamagedRasterError: a raster is not what the item promises.
    """
    (row,) = item.to_pylist()
    assets = dict(row["assets"])
    bands = [reader.read(assets[colour], REFLECTANCE_BAND, footprint) for colour in COLOURS]
    classes = reader.read(assets["scl"], CLASSES_BAND, footprint)
    frame = bands[0].frame
    if any(band.frame != frame for band in bands):
        raise DamagedRasterError(f"item {row['item_id']}: red, green and blue do not share one grid")
    counts = np.concatenate([band.pixels for band in bands])
    valid = np.logical_and.reduce([*(counts != 0), *(band.valid for band in bands)])
    reflectance = counts * np.float32(row["scale"]) + np.float32(row["offset"])
    warped, observed = warp_reflectance(reflectance, valid, frame, footprint, LR_PIXELS)
    return LowResolution(
        reflectance=warped,
        observed=observed,
        classification=warp_classes(classes, footprint, LR_PIXELS) * observed,
    )


def read_naip(items: pa.Table, footprint: Footprint, reader: Reader) -> HighResolution:
    """Mosaic NAIP items over a footprint; where they overlap, the earlier row wins.

    Neighbouring rows on one grid are laid on one native sheet, so that the warp knows no border between them;
    only what a sheet still lacks is read. A sheet that does not reach a pixel with its whole kernel leaves it
    to the next one, so no pixel mixes ground with nothing.

    Args:
        items: rows of schema ITEMS by rank.
        footprint: the ground to show.
        reader: who signs, and how often a raster is asked for.

    Raises:
        SourceUnavailableError: a raster cannot be reached.
        DamagedRasterError: a raster is not what its item promises.
    """
    pixels = np.zeros((3, HR_PIXELS, HR_PIXELS), np.uint8)
    observed = np.zeros((HR_PIXELS, HR_PIXELS), np.bool_)
    for sheet in _sheets(items, footprint, reader):
        warped, reached = warp_bytes(sheet.pixels, sheet.valid, sheet.frame, footprint, HR_PIXELS)
        fresh = reached & ~observed
        np.copyto(pixels, warped, where=fresh)
        observed |= fresh
    return HighResolution(pixels=pixels, observed=observed)


def _sheets(items: pa.Table, footprint: Footprint, reader: Reader) -> list["_Sheet"]:
    """Lay the items on sheets, in order."""
    sheets: list[_Sheet] = []
    for row in items.to_pylist():
        if sheets and sheets[-1].valid.all():
            break
        narrow = sheets[-1].lacking if sheets else lambda frame: frame
        patch = reader.read(dict(row["assets"])["image"], NAIP_IMAGE, footprint, narrow)
        if not sheets or sheets[-1].offset(patch.frame.lattice) is None:
            sheets.append(_Sheet(patch.frame.lattice, footprint))
        sheets[-1].lay(patch)
    return sheets


class _Sheet:
    """A native mosaic over the whole footprint and its margin; the patch laid first wins."""

    def __init__(self, lattice: Lattice, footprint: Footprint) -> None:
        self.frame = Frame.under(footprint, lattice, HR_PIXELS)
        self.pixels: NDArray[np.uint8] = np.zeros((3, *self.frame.shape), np.uint8)
        self.valid: NDArray[np.bool_] = np.zeros(self.frame.shape, np.bool_)

    def offset(self, lattice: Lattice) -> tuple[int, int] | None:
        """Columns and rows from the sheet's corner to a raster's; None where pixels do not coincide."""
        origin = self.frame.lattice.offset(lattice)
        return None if origin is None else (origin[0] - self.frame.left, origin[1] - self.frame.top)

    def lacking(self, frame: Frame) -> Frame:
        """The smallest part of a raster's frame that holds all that the sheet lacks there."""
        offset = self.offset(frame.lattice)
        if offset is None or 0 in frame.shape:
            return frame
        gaps = ~self.valid[self._slices(frame, offset)]
        rows, columns = np.flatnonzero(gaps.any(axis=1)), np.flatnonzero(gaps.any(axis=0))
        if rows.size == 0:
            return Frame(frame.lattice, frame.left, frame.top, frame.left, frame.top)
        return Frame(
            frame.lattice,
            frame.left + int(columns[0]),
            frame.top + int(rows[0]),
            frame.left + int(columns[-1]) + 1,
            frame.top + int(rows[-1]) + 1,
        )

    def lay(self, patch: Patch) -> None:
        """Put a patch under what lies there already."""
        offset = self.offset(patch.frame.lattice)
        if offset is None:
            raise ValueError("a patch is laid on a sheet of its own grid")
        place = self._slices(patch.frame, offset)
        fresh = patch.valid & ~self.valid[place]
        np.copyto(self.pixels[(slice(None), *place)], patch.pixels, where=fresh)
        self.valid[place] |= fresh

    @staticmethod
    def _slices(frame: Frame, offset: tuple[int, int]) -> tuple[slice, slice]:
        columns, rows = offset
        height, width = frame.shape
        top, left = frame.top + rows, frame.left + columns
        return slice(top, top + height), slice(left, left + width)
