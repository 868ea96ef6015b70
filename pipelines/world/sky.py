"""What lies between a satellite and the ground: clouds, their shadows and the edge of the swath."""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pyproj import Transformer

from pipelines.world.grids import PixelFrame
from pipelines.world.ground import smooth_noise

SCL_NO_DATA, SCL_SHADOW, SCL_VEGETATION, SCL_BARE, SCL_WATER = 0, 3, 4, 5, 6
SCL_CLOUD_MEDIUM, SCL_CLOUD_HIGH, SCL_CIRRUS = 8, 9, 10

SHADOW_OFFSET_METRES = (-240.0, 320.0)
"""Where the shadow of a cloud falls from it: west and north, with the sun in the south-east."""

_CELL_METRES = 40
_CELLS = 1024
_MEDIUM_DEPTH, _HIGH_DEPTH = 0.12, 0.3


@dataclass(frozen=True, slots=True)
class Sky:
    """The sky of one acquisition over one world."""

    seed: int
    cloud_share: float
    """Share of a wide landscape that lies under clouds, 0..1."""
    standing: tuple[float, float, float]
    """Easting, northing (home zone) and radius of the cloud that never goes, metres; radius 0 for none."""
    edge: float | None
    """Easting in the home zone where the swath ends, everything east of it being unseen; None for no edge."""
    edge_north: float
    """Northing at which the edge has that easting; it leans as the orbit does."""

    def classify(self, frame: PixelFrame, home: int, ground: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Scene classification of a frame.

        Args:
            frame: pixels of the SCL band.
            home: EPSG code of the home zone.
            ground: shape (height, width), classification under a clear sky.

        Returns:
            Shape (height, width), classes of the SCL band.
        """
        x, y = self._places(frame, home)
        depth = self._depth(x, y)
        shadow = self._depth(x - SHADOW_OFFSET_METRES[0], y - SHADOW_OFFSET_METRES[1]) > _MEDIUM_DEPTH
        seen = np.where(shadow, SCL_SHADOW, ground)
        seen = np.where(depth > 0, SCL_CIRRUS, seen)
        seen = np.where(depth > _MEDIUM_DEPTH, SCL_CLOUD_MEDIUM, seen)
        seen = np.where(depth > _HIGH_DEPTH, SCL_CLOUD_HIGH, seen)
        if self.edge is not None:
            seen = np.where(x > self.edge + 0.2 * (y - self.edge_north), SCL_NO_DATA, seen)
        return seen.astype(np.uint8)

    def _depth(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Thickness of the cloud; 0 and less is none."""
        field = _cloud_field(self.seed)
        at = field[
            np.floor(y / _CELL_METRES).astype(int) % _CELLS, np.floor(x / _CELL_METRES).astype(int) % _CELLS
        ]
        limit = np.quantile(field, 1 - self.cloud_share) if self.cloud_share > 0 else np.inf
        depth: NDArray[np.float64] = at - limit
        east, north, radius = self.standing
        if radius > 0:
            distance = np.hypot((x - east) / radius, (y - north) / radius)
            depth = np.maximum(depth, 1 - distance)
        return depth

    def _places(self, frame: PixelFrame, home: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        columns = (np.arange(frame.column, frame.column + frame.width) + 0.5) * frame.step
        rows = -(np.arange(frame.row, frame.row + frame.height) + 0.5) * frame.step
        x, y = np.meshgrid(columns, rows)
        if frame.epsg == home:
            return x, y
        moved = Transformer.from_crs(frame.epsg, home, always_xy=True).transform(x, y)
        return moved[0], moved[1]


@functools.cache
def _cloud_field(seed: int) -> NDArray[np.float32]:
    return smooth_noise(_CELLS, 1.8, seed)


TRANSMISSION = {
    SCL_SHADOW: (0.45, 0.0),
    SCL_CIRRUS: (0.8, 0.06),
    SCL_CLOUD_MEDIUM: (0.3, 0.4),
    SCL_CLOUD_HIGH: (0.05, 0.72),
}
"""Class to (share of the ground's reflectance that comes through, reflectance added)."""


def seen_through(reflectance: NDArray[np.float32], classes: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Reflectance at the sensor, from that of the ground.

    Args:
        reflectance: shape (bands, height, width).
        classes: shape (height, width), SCL at the same pixels.

    Returns:
        Shape (bands, height, width).
    """
    through, added = np.ones(256, np.float32), np.zeros(256, np.float32)
    for number, (share, light) in TRANSMISSION.items():
        through[number], added[number] = share, light
    seen: NDArray[np.float32] = reflectance * through[classes] + added[classes]
    return seen
