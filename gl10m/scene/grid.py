"""The 10 x 10 tiles that exactly tessellate a footprint (paper section 3 and A.2)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gl10m.scene.footprint import ENLARGEMENT, LR_PIXELS, Footprint

GRID = ENLARGEMENT
"""Tiles on a side."""

TILES = GRID * GRID
"""Tiles in a scene: 100. tile = 10 * row + column, row 0 in the north, column 0 in the west."""

TILE_PIXELS = LR_PIXELS
"""Pixels on a side of one HR tile: 268."""


def tile_at(row: int, column: int) -> int:
    """Number of the tile in `row` (0 = north) and `column` (0 = west).

    Raises:
        IndexError: row or column is not in 0..9.
    """
    if not (0 <= row < GRID and 0 <= column < GRID):
        raise IndexError(f"a tile has row and column in 0..{GRID - 1}; asked for ({row}, {column})")
    return GRID * row + column


def row_and_column(tile: int) -> tuple[int, int]:
    """Row (0 = north) and column (0 = west) of a tile.

    Raises:
        IndexError: `tile` is not in 0..99.
    """
    if not 0 <= tile < TILES:
        raise IndexError(f"a scene has tiles 0..{TILES - 1}; asked for tile {tile}")
    return divmod(tile, GRID)


def tile_bounds(footprint: Footprint) -> NDArray[np.float64]:
    """Bounds of all tiles.

    Returns:
        Shape (100, 4): west, south, east, north in degrees, EPSG:4326, in tile order. Neighbours share
        their edges bit for bit.
    """
    longitudes, latitudes = footprint.edges(GRID)
    west, north = np.meshgrid(longitudes[:-1], latitudes[:-1])
    east, south = np.meshgrid(longitudes[1:], latitudes[1:])
    return np.stack([west, south, east, north], axis=-1).reshape(TILES, 4)


def cut(mosaic: NDArray[Any]) -> NDArray[Any]:
    """Cut an HR mosaic into its tiles.

    Args:
        mosaic: shape (bands, 10 n, 10 n), north-west corner first.

    Returns:
        Shape (100, bands, n, n), in tile order; a view where numpy can give one.

    Raises:
        ValueError: the mosaic is not square or its side is not a multiple of 10.
    """
    bands, height, width = mosaic.shape
    if height != width or height % GRID:
        raise ValueError(
            f"a mosaic is square with a side that is a multiple of {GRID} pixels; got {height} x {width}"
        )
    side = height // GRID
    grid = mosaic.reshape(bands, GRID, side, GRID, side)
    return grid.transpose(1, 3, 0, 2, 4).reshape(TILES, bands, side, side)


def join(tiles: NDArray[Any]) -> NDArray[Any]:
    """Lay tiles out as the mosaic they were cut from; the inverse of `cut`.

    Args:
        tiles: shape (100, bands, n, n), in tile order.

    Returns:
        Shape (bands, 10 n, 10 n).

    Raises:
        ValueError: there are not exactly 100 tiles.
    """
    count, bands, side, _ = tiles.shape
    if count != TILES:
        raise ValueError(f"a mosaic is made of {TILES} tiles; got {count}")
    grid = tiles.reshape(GRID, GRID, bands, side, side)
    return grid.transpose(2, 0, 3, 1, 4).reshape(bands, GRID * side, GRID * side)
