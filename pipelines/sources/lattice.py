"""Pixel grids of rasters, and rectangles on them."""

import math
from dataclasses import dataclass

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.warp import transform, transform_bounds

from gl10m.scene.footprint import FOOTPRINT_DEGREES, Footprint
from pipelines.sources.imagery import DamagedRasterError

DEGREES = "EPSG:4326"
"""CRS of footprints. NAD 83 and WGS 84 are taken as one datum, as EPSG:1188 does; they differ by 1 to 2 m."""

SAME_PIXEL = 1e-3
"""Pixels of two rasters coincide if they are nearer than this share of a pixel."""


@dataclass(frozen=True, slots=True)
class Lattice:
    """The pixel grid of a raster, thought endless."""

    crs: str
    """CRS by its number, as "EPSG:26910"; as WKT if it has none."""

    x: float
    """Western edge of column 0, in units of the CRS."""

    y: float
    """Northern edge of row 0, in units of the CRS."""

    width: float
    """Of a pixel, positive, in units of the CRS."""

    height: float
    """Of a pixel, positive, in units of the CRS."""

    def offset(self, other: "Lattice") -> tuple[int, int] | None:
        """Columns and rows from our origin to the other's; None where pixels do not coincide."""
        same_size = math.isclose(self.width, other.width, rel_tol=1e-9)
        if (
            self.crs != other.crs
            or not same_size
            or not math.isclose(self.height, other.height, rel_tol=1e-9)
        ):
            return None
        columns, rows = (other.x - self.x) / self.width, (self.y - other.y) / self.height
        error = max(abs(columns - round(columns)), abs(rows - round(rows)))
        return (round(columns), round(rows)) if error < SAME_PIXEL else None

    def step(self, footprint: Footprint, pixels: int) -> tuple[float, float]:
        """East-west and north-south size of an output pixel at the footprint's centre, in pixels of ours."""
        half = FOOTPRINT_DEGREES / pixels / 2
        longitude, latitude = footprint.longitude, footprint.latitude
        x, y = transform(
            DEGREES,
            self.crs,
            [longitude - half, longitude + half, longitude, longitude],
            [latitude, latitude, latitude - half, latitude + half],
        )
        east = math.hypot((x[1] - x[0]) / self.width, (y[1] - y[0]) / self.height)
        north = math.hypot((x[3] - x[2]) / self.width, (y[3] - y[2]) / self.height)
        return east, north


@dataclass(frozen=True, slots=True)
class Frame:
    """A rectangle of whole pixels on a lattice; may be empty."""

    lattice: Lattice
    left: int
    top: int
    right: int
    bottom: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return max(self.bottom - self.top, 0), max(self.right - self.left, 0)

    def clipped(self, other: "Frame") -> "Frame":
        """What both frames, on one lattice, share."""
        return Frame(
            self.lattice,
            max(self.left, other.left),
            max(self.top, other.top),
            min(self.right, other.right),
            min(self.bottom, other.bottom),
        )

    def narrowed(self, needed: NDArray[np.bool_]) -> tuple["Frame", NDArray[np.bool_]]:
        """The smallest frame that holds all pixels that are needed, and which of its pixels are.

        Args:
            needed: shape (rows, columns) of this frame.
        """
        rows, columns = np.flatnonzero(needed.any(axis=1)), np.flatnonzero(needed.any(axis=0))
        if rows.size == 0:
            return Frame(self.lattice, self.left, self.top, self.left, self.top), needed[:0, :0]
        top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
        frame = Frame(self.lattice, self.left + left, self.top + top, self.left + right, self.top + bottom)
        return frame, needed[top:bottom, left:right]

    def affine(self) -> rasterio.Affine:
        """Affine of the frame's pixels."""
        grid = self.lattice
        west, north = grid.x + self.left * grid.width, grid.y - self.top * grid.height
        return rasterio.Affine(grid.width, 0.0, west, 0.0, -grid.height, north)

    @classmethod
    def under(cls, footprint: Footprint, lattice: Lattice, pixels: int) -> "Frame":
        """The pixels that a footprint of `pixels` x `pixels` is interpolated from, margin included."""
        west, south, east, north = transform_bounds(DEGREES, lattice.crs, *footprint.bounds, densify_pts=21)
        step = max(*lattice.step(footprint, pixels), 1.0)
        edges = (
            (west - lattice.x) / lattice.width,
            (lattice.y - north) / lattice.height,
            (east - lattice.x) / lattice.width,
            (lattice.y - south) / lattice.height,
        )
        if not all(math.isfinite(edge) and abs(edge) < 2**31 for edge in (*edges, step)):
            raise DamagedRasterError(
                f"a footprint does not lie on a raster of {lattice.width} x {lattice.height}"
            )
        left, top, right, bottom = edges
        margin = math.ceil(step) + 2
        return cls(
            lattice,
            math.floor(left) - margin,
            math.floor(top) - margin,
            math.ceil(right) + margin,
            math.ceil(bottom) + margin,
        )
