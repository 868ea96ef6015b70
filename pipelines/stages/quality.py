"""What makes an image unfit: black, missing and cloudy pixels (paper A.3)."""

import numpy as np
from numpy.typing import NDArray

from gl10m.scene.grid import GRID, TILES
from pipelines.sources.imagery import LowResolution

MOST_BLACK = 0.25
"""Share of black or missing pixels above which an LR image or an HR tile is refused (A.3)."""

INVALID = (0, 1, 3, 8, 9, 10)
"""Classes of the scene classification layer that do not show the ground: no data, saturated or defective,
cloud shadow, clouds of medium and of high probability, thin cirrus. Snow (11) is ground."""

NO_DATA = (0, 1)
"""Those of them without a measurement; the others hide the ground."""

CLASSES = 12
"""The classes are 0 to 11."""


def black_share(black: NDArray[np.bool_]) -> float:
    """Share of True pixels, 0..1."""
    return float(np.count_nonzero(black) / black.size)


def black_tiles(black: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Share of True pixels in each tile.

    Args:
        black: shape (10 n, 10 n), north-west first.

    Returns:
        Shape (100,), in tile order, 0..1.
    """
    side = black.shape[0] // GRID
    columns = np.add.reduceat(black.astype(np.uint8), np.arange(GRID) * side, axis=1, dtype=np.uint16)
    counts = np.add.reduceat(columns, np.arange(GRID) * side, axis=0, dtype=np.int64)
    shares: NDArray[np.float32] = (counts.reshape(TILES) / side**2).astype(np.float32)
    return shares


def hidden(read: LowResolution, invalid: tuple[int, ...]) -> NDArray[np.bool_]:
    """Pixels that were observed and show no ground: cloud, shadow or cirrus, by the classes asked for."""
    hiding = [number for number in invalid if number not in NO_DATA]
    return read.observed & np.isin(read.classification, hiding)


def unusable(read: LowResolution, invalid: tuple[int, ...]) -> NDArray[np.bool_]:
    """Pixels that do not show the ground: not observed, or of a class that does not count."""
    return ~read.observed | np.isin(read.classification, invalid)
