"""What every imagery source can do: find items and read pixels over a footprint."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

from gl10m.scene.acquisition import Window
from gl10m.scene.footprint import Footprint


class Sensor(StrEnum):
    """The two sensors of a scene."""

    NAIP = "naip"
    """HR: aerial RGB, 0.3 to 1 m."""

    SENTINEL2 = "sentinel-2"
    """LR: surface reflectance, 10 m."""


class SourceUnavailableError(ConnectionError):
    """A catalogue or a raster could not be reached or answered with an error; the row is tried again later.

    The message holds no query string, since a signed address is a credential.
    """


class DamagedRasterError(ValueError):
    """A raster answered with bytes that are not the image its item promises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LowResolution:
    """One Sentinel-2 acquisition over a footprint, warped to 268 x 268 pixels in EPSG:4326."""

    reflectance: NDArray[np.float32]
    """Shape (3, 268, 268), red, green, blue, north-west first; surface reflectance, harmonised, about 0..1;
    0 where not valid."""

    observed: NDArray[np.bool_]
    """Shape (268, 268); True where the sensor saw the ground or a cloud: inside the swath and not no-data."""

    classification: NDArray[np.uint8]
    """Shape (268, 268); class of the scene classification layer, nearest neighbour; 0 where not observed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HighResolution:
    """NAIP over a footprint, warped to 2680 x 2680 pixels in EPSG:4326."""

    pixels: NDArray[np.uint8]
    """Shape (3, 2680, 2680), red, green, blue, north-west first; 0 where not observed."""

    observed: NDArray[np.bool_]
    """Shape (2680, 2680); True where an item has data. Needed because 0 is also a real value."""


class Imagery(Protocol):
    """A source of both sensors. Instances are small and picklable: they travel to the workers."""

    def search(self, sensor: Sensor, area: shapely.Geometry, window: Window) -> pa.Table:
        """Find the items of one sensor.

        Args:
            sensor: which of the two.
            area: polygon or multipolygon that the items meet, degrees, EPSG:4326.
            window: days of acquisition, both ends included, UTC.

        Returns:
            Schema ITEMS, sorted by item id, each item once.

        Raises:
            SourceUnavailableError: the catalogue does not answer.
        """
        ...

    def read_sentinel2(self, item: pa.Table, footprint: Footprint) -> LowResolution:
        """Read one Sentinel-2 item over a footprint.

        Args:
            item: one row of schema ITEMS.
            footprint: the ground to show.

        Raises:
            SourceUnavailableError: the rasters cannot be reached.
            DamagedRasterError: the rasters are not what the item promises.
        """
        ...

    def read_naip(self, items: pa.Table, footprint: Footprint) -> HighResolution:
        """Mosaic NAIP items over a footprint; where they overlap, the earlier row wins.

        Args:
            items: rows of schema ITEMS by rank.
            footprint: the ground to show.

        Raises:
            SourceUnavailableError: the rasters cannot be reached.
            DamagedRasterError: the rasters are not what the items promise.
        """
        ...
