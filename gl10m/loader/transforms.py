"""Turns and flips that move the LR image, the HR tiles and the tiles' numbers alike."""

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor

from gl10m.scene.grid import GRID, TILES

SYMMETRIES: Final = 8
"""Ways to lay a square on itself."""


def turned(sample: Mapping[str, Any], symmetry: int) -> dict[str, Any]:
    """A sample seen from another side. Labels stay true; `bounds` stay those of the ground.

    Args:
        sample: an item of `GL10MDataset`.
        symmetry: 0..7: symmetry % 4 quarter turns counter-clockwise, for 4..7 after a flip from west to east.

    Returns:
        A new sample. Tile t of it is where tile t of the turned scene lies; the order of the tiles stays.

    Raises:
        ValueError: symmetry is not in 0..7.
    """
    if not 0 <= symmetry < SYMMETRIES:
        raise ValueError(f"a square has symmetries 0..{SYMMETRIES - 1}; asked for {symmetry}")
    # Where each tile goes: turn the grid of numbers, then read off which old tile lies at each new place.
    grid = _turn(torch.arange(TILES).reshape(GRID, GRID), symmetry).flatten()
    place = torch.empty_like(grid)
    place[grid] = torch.arange(TILES)
    return {
        **sample,
        "image": _turn(sample["image"], symmetry),
        "hr": _turn(sample["hr"], symmetry),
        "tiles": place[sample["tiles"]],
    }


class RandomSymmetry:
    """Turns each sample at random, all 8 symmetries equally likely.

    The draw comes from PyTorch's generator, which a DataLoader seeds in each worker from its own: set
    `torch.manual_seed` or the loader's `generator` to repeat a run.
    """

    def __call__(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Turn one sample; see `turned`."""
        return turned(sample, int(torch.randint(SYMMETRIES, ())))


def _turn(pixels: Tensor, symmetry: int) -> Tensor:
    flipped = pixels.flip(-1) if symmetry >= SYMMETRIES // 2 else pixels
    return torch.rot90(flipped, symmetry % 4, (-2, -1))
