"""Random observation budgets for the training of the predictor (stage I of 4.1).

Masks are bool (scenes, 100), True where a tile is observed; tile = 10 * row + column.
"""

import torch
from torch import Tensor

from gl10m.scene.grid import GRID, TILES

NOTHING_SHARE = 0.1
"""Share of scenes of which nothing is observed."""

SPARSE_SHARE = 0.7
"""Share of scenes of which at most half is observed; the rest see more than half."""

MOST_RECTANGLES = 6
"""A clustered mask is the union of one to this many rectangles."""


def random_budgets(scenes: int, generator: torch.Generator) -> Tensor:
    """Draw how many tiles each scene may observe.

    No tile with probability 0.1, up to half of them with 0.7, more than half with 0.2: the empty and the full
    observation lie inside what is trained on.

    Returns:
        int64 (scenes,), 0..100.
    """
    kind = torch.rand(scenes, generator=generator)
    share = torch.rand(scenes, generator=generator) / 2
    share = torch.where(kind < NOTHING_SHARE + SPARSE_SHARE, share, share + 0.5)
    share = torch.where(kind < NOTHING_SHARE, torch.zeros(()), share)
    return (share * TILES).round().long()


def scattered(budgets: Tensor, generator: torch.Generator) -> Tensor:
    """Masks of exactly `budgets` (scenes,) tiles, each tile as likely as the next; bool (scenes, 100)."""
    return _cheapest(torch.rand(len(budgets), TILES, generator=generator), budgets)


def clustered(budgets: Tensor, generator: torch.Generator) -> Tensor:
    """Masks of exactly `budgets` (scenes,) tiles in one to six rectangles; bool (scenes, 100).

    The sampler's choices cluster about objects; scattered masks alone would not prepare the predictor for
    that. Tiles of the union come first; where it is too small the rest is scattered.
    """
    scenes = len(budgets)
    count = torch.randint(1, MOST_RECTANGLES + 1, (scenes, 1), generator=generator)
    area = (budgets[:, None] / count).clamp(1, TILES)
    shape = (scenes, MOST_RECTANGLES)
    stretch = torch.exp2(2 * torch.rand(shape, generator=generator) - 1).sqrt()
    height = (area.sqrt() * stretch).round().clamp(1, GRID)
    width = (area / height).ceil().clamp(1, GRID)
    top = (torch.rand(shape, generator=generator) * (GRID + 1 - height)).floor()
    left = (torch.rand(shape, generator=generator) * (GRID + 1 - width)).floor()
    tile = torch.arange(TILES)
    row, column = tile // GRID, tile % GRID
    inside = (row >= top[..., None]) & (row < (top + height)[..., None])
    inside &= (column >= left[..., None]) & (column < (left + width)[..., None])
    inside &= (torch.arange(MOST_RECTANGLES) < count)[..., None]
    order = torch.rand(scenes, TILES, generator=generator) + (~inside.any(dim=1)).float()
    return _cheapest(order, budgets)


def random_masks(scenes: int, generator: torch.Generator) -> Tensor:
    """Masks for one training step: random budgets, half of them scattered and half clustered.

    Returns:
        bool (scenes, 100).
    """
    budgets = random_budgets(scenes, generator)
    together = torch.rand(scenes, 1, generator=generator) < 0.5  # noqa: PLR2004 - half of the scenes
    return torch.where(together, clustered(budgets, generator), scattered(budgets, generator))


def _cheapest(price: Tensor, budgets: Tensor) -> Tensor:
    rank = price.argsort(dim=1, stable=True).argsort(dim=1, stable=True)
    return rank < budgets[:, None]
