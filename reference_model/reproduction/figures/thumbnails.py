"""Scenes in small: the HR mosaic, the LR image, and which tiles of it were bought."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gl10m.scene.grid import GRID, TILES, join
from reference_model.scenes import SceneReader

TILE_SIDE = 32
"""Pixels on a side that a tile has in a thumbnail."""


def hr_thumbnail(scene: SceneReader) -> NDArray[np.uint8]:
    """The HR mosaic by area means: uint8 (320, 320, 3)."""
    tiles = scene.hr(range(TILES)).float()
    small = torch.nn.functional.adaptive_avg_pool2d(tiles, TILE_SIDE).round().byte().numpy()
    mosaic: NDArray[np.uint8] = np.ascontiguousarray(join(small).transpose(1, 2, 0))
    return mosaic


def lr_picture(scene: SceneReader) -> NDArray[np.uint8]:
    """The LR image, uint8 (268, 268, 3)."""
    picture: NDArray[np.uint8] = scene.lr().permute(1, 2, 0).contiguous().numpy()
    return picture


def outline_tiles(axis: Any, selected: Tensor, side: float, colour: str) -> None:  # noqa: ANN401 - matplotlib
    """Draw the outline of bought tiles over a picture.

    Args:
        axis: of matplotlib, showing a scene.
        selected: bool (100,).
        side: pixels of the picture on a side of a tile.
        colour: of the outline.
    """
    chosen = selected.view(GRID, GRID).numpy()
    padded = np.pad(chosen, 1)
    lines = []
    for row, column in np.argwhere(chosen):
        west, north = column * side - 0.5, row * side - 0.5
        east, south = west + side, north + side
        edges = (
            (padded[row, column + 1], ((west, north), (east, north))),
            (padded[row + 2, column + 1], ((west, south), (east, south))),
            (padded[row + 1, column], ((west, north), (west, south))),
            (padded[row + 1, column + 2], ((east, north), (east, south))),
        )
        lines += [edge for neighbour, edge in edges if not neighbour]
    for (x1, y1), (x2, y2) in lines:
        axis.plot([x1, x2], [y1, y2], color=colour, linewidth=1.4, solid_capstyle="projecting")


def as_map(values: Tensor) -> NDArray[np.float32]:
    """Values of the tiles (100,) as a map (10, 10), north up, west left."""
    grid: NDArray[np.float32] = values.float().view(GRID, GRID).numpy()
    return grid
