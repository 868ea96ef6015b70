"""Where: the square of 0.024 degrees about one OSM anchor (paper A.2)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SEED_HALF_WIDTH_DEGREES = 0.0012
"""Half the side of the seed box about an anchor, degrees (A.2)."""

ENLARGEMENT = 10
"""How many times the seed box is enlarged to the footprint; also the tiles on a side (A.2)."""

FOOTPRINT_DEGREES = 0.024
"""Side of a footprint, degrees of longitude and of latitude: the seed box enlarged (A.2). Written out, since
2 * 0.0012 * 10 is 0.023999999999999997 in binary."""

LR_PIXELS = 268
"""Pixels on a side of the LR image, and of one HR tile (A.1)."""

HR_PIXELS = LR_PIXELS * ENLARGEMENT
"""Pixels on a side of the HR mosaic: 2680 (A.1)."""

LARGEST_LATITUDE = 85.0
"""A footprint nearer to a pole than this is refused: 0.024 degrees of longitude mean nothing there."""


@dataclass(frozen=True, slots=True)
class Footprint:
    """The ground of one scene: a square in EPSG:4326 whose sides follow the meridians and parallels.

    A square in degrees is no square on the ground: at 40 degrees north it is about 2.05 km wide and
    2.66 km high, as in the paper.
    """

    longitude: float
    """Centre, degrees east, EPSG:4326, within [-180, 180]."""

    latitude: float
    """Centre, degrees north, EPSG:4326, within [-85, 85]."""

    def __post_init__(self) -> None:
        """Refuse a centre whose square would leave the map.

        Raises:
            ValueError: the square crosses the antimeridian or comes too near to a pole.
        """
        half = FOOTPRINT_DEGREES / 2
        fits = abs(self.longitude) <= 180 - half and abs(self.latitude) <= LARGEST_LATITUDE
        if not fits:  # NaN fails every comparison, so it lands here as well
            raise ValueError(
                f"a footprint must lie within longitude ±{180 - half} and latitude ±{LARGEST_LATITUDE}; "
                f"asked for the centre ({self.longitude}, {self.latitude})"
            )

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """(west, south, east, north), degrees, EPSG:4326."""
        half = FOOTPRINT_DEGREES / 2
        return (
            self.longitude - half,
            self.latitude - half,
            self.longitude + half,
            self.latitude + half,
        )

    def edges(self, parts: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Borders of `parts` equal columns and rows.

        Returns:
            Longitudes west to east and latitudes north to south, each of shape (parts + 1,), degrees.
            Neighbours share an edge bit for bit because both read it here.
        """
        west, south, east, north = self.bounds
        share = np.arange(parts + 1) / parts
        longitudes = west + (east - west) * share
        latitudes = north - (north - south) * share
        longitudes[-1], latitudes[-1] = east, south
        return longitudes, latitudes

    def affine(self, pixels: int) -> tuple[float, float, float, float, float, float]:
        """GDAL-free affine of a raster of `pixels` x `pixels` over the footprint.

        Returns:
            (a, b, c, d, e, f) with longitude = a*column + b*row + c and latitude = d*column + e*row + f;
            pixel (0, 0) is the north-west corner. The order is that of `affine.Affine`.
        """
        west, south, east, north = self.bounds
        return ((east - west) / pixels, 0.0, west, 0.0, -(north - south) / pixels, north)
