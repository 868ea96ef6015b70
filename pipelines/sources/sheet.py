"""A native mosaic under one footprint: rasters on one grid, the earlier one on top."""

import itertools

import numpy as np
from numpy.typing import NDArray

from gl10m.scene.footprint import Footprint
from pipelines.sources.lattice import Frame, Lattice
from pipelines.sources.patch import Expected, Patch
from pipelines.sources.raster import Layer, Reader


class Sheet:
    """Layers over the whole footprint and its margin. Validity is known first, pixels are read at the end."""

    def __init__(self, lattice: Lattice, footprint: Footprint, side: int) -> None:
        self.frame = Frame.under(footprint, lattice, side)
        self.valid: NDArray[np.bool_] = np.zeros(self.frame.shape, np.bool_)
        self.layers: list[Layer | Patch] = []
        """The topmost first."""

    def offset(self, lattice: Lattice) -> tuple[int, int] | None:
        """Columns and rows from the sheet's corner to a raster's; None where pixels do not coincide."""
        origin = self.frame.lattice.offset(lattice)
        return None if origin is None else (origin[0] - self.frame.left, origin[1] - self.frame.top)

    def lacking(self, frame: Frame) -> NDArray[np.bool_]:
        """Which pixels of a raster's frame the sheet has not yet; all, where the grids differ."""
        if self.offset(frame.lattice) is None:
            return np.ones(frame.shape, np.bool_)
        return ~self.valid[self._place(frame)]

    def put_under(self, plan: Layer | Patch, reader: Reader, expected: Expected) -> None:
        """Add what is planned of a raster under what lies there already.

        Raises:
            SourceUnavailableError: pixels that must be read, to know which are valid, cannot be.
            DamagedRasterError: likewise, they are damaged.
        """
        layer = plan
        if isinstance(layer, Layer) and not layer.whole:
            (layer,) = reader.load_patches([(layer, expected)])
        place = self._place(layer.frame)
        if isinstance(layer, Patch):
            self.valid[place] |= layer.valid
        else:
            self.valid[place] = True
        self.layers.append(layer)

    def paint(self, reader: Reader) -> NDArray[np.uint8]:
        """Read what is planned; the lowest layer first, so that the earliest ends on top.

        Returns:
            Shape (rows, columns, 4) of the frame; the fourth band means nothing.

        Raises:
            SourceUnavailableError: a raster cannot be reached.
            DamagedRasterError: a raster is not what it should be.
        """
        pixels: NDArray[np.uint8] = np.zeros((*self.frame.shape, 4), np.uint8)
        for planned, group in itertools.groupby(reversed(self.layers), lambda one: isinstance(one, Layer)):
            layers = list(group)
            if planned:
                reader.load([(one, self.origin(one), pixels) for one in layers if isinstance(one, Layer)])
            for one in layers:
                if isinstance(one, Patch):
                    part = pixels[self._place(one.frame)][..., : len(one.pixels)]
                    np.copyto(part, np.moveaxis(one.pixels, 0, -1), where=one.valid[..., None])
        return pixels

    def _place(self, frame: Frame) -> tuple[slice, slice]:
        columns, rows = self._offset(frame.lattice)
        height, width = frame.shape
        top, left = frame.top + rows, frame.left + columns
        return slice(top, top + height), slice(left, left + width)

    def origin(self, layer: Layer) -> tuple[int, int]:
        """Row and column of the sheet's first pixel on a layer's level."""
        columns, rows = self._offset(layer.lattice)
        return -rows, -columns

    def _offset(self, lattice: Lattice) -> tuple[int, int]:
        offset = self.offset(lattice)
        if offset is None:
            raise ValueError("a raster is laid on a sheet of its own grid")
        return offset
