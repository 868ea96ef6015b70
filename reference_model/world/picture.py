"""Scenes of a world one can look at: HR mosaic beside the overview that is made from it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from gl10m.scene.grid import GRID
from reference_model.world.render import AREA, Bytes
from reference_model.world.scenes import World


def contact_sheet(world: World, scenes: Sequence[int]) -> Bytes:
    """Scenes from top to bottom, HR on the left, LR enlarged on the right: uint8 (height, width, 3)."""
    return np.concatenate([np.concatenate([_mosaic(world, one), _overview(world, one)], 1) for one in scenes])


def draw(path: Path, seed: int = 0) -> None:
    """Write a PNG of two training scenes and a test scene."""
    world = World(seed, {"train": 2, "test": 1})
    Image.fromarray(contact_sheet(world, range(len(world)))).save(path, optimize=True)


def _mosaic(world: World, scene: int) -> Bytes:
    tile = world.knobs.tile_px
    grid = world.mosaic(scene).reshape(GRID, GRID, 3, tile, tile)
    return grid.transpose(0, 3, 1, 4, 2).reshape(GRID * tile, GRID * tile, 3)


def _overview(world: World, scene: int) -> Bytes:
    return world.overview(scene).transpose(1, 2, 0).repeat(AREA, 0).repeat(AREA, 1)
