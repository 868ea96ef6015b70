"""A small world of real tensors: what `GL10MDataset` gives, without a file."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

NAMES = ("Golf course", "Solar farm", "Marina", "Forest", "Farmland")
"""Three objects, each on a few tiles, and two kinds of ground, each over half a scene."""

OBJECTS = 3
PIXELS = 268


@dataclass
class WorldScene:
    """One scene; every request for HR tiles is noted."""

    scene_id: str
    bounds: tuple[float, float, float, float]
    overview: Tensor
    mosaic: Tensor
    labels: Tensor
    asked: list[int]

    @property
    def label(self) -> Tensor:
        return self.labels.any(dim=0)

    def lr(self) -> Tensor:
        return self.overview

    def hr(self, tiles: Sequence[int]) -> Tensor:
        self.asked += list(tiles)
        return self.mosaic[list(tiles)]

    def tile_labels(self) -> Tensor:
        return self.labels


class World:
    """Scenes side by side from west to east; neighbours touch and do not overlap.

    Ground is green or brown and shows at both scales. Objects are grey tiles at LR; only HR shows which of
    three stripe patterns they carry.
    """

    class_names: tuple[str, ...] = NAMES

    def __init__(self, scenes: int, seed: int = 0) -> None:
        self.drawn = [_scene(number, np.random.default_rng([seed, number])) for number in range(scenes)]

    def __len__(self) -> int:
        return len(self.drawn)

    def scene(self, index: int) -> WorldScene:
        return self.drawn[index]


def _scene(number: int, rng: np.random.Generator) -> WorldScene:
    ground = np.full((10, 10), 3)
    ground[:, int(rng.integers(0, 11)) :] = 4
    kind = np.full((10, 10), -1)
    for _ in range(int(rng.integers(1, 4))):
        row, column = rng.integers(0, 9, 2)
        kind[row : row + 2, column : column + 2] = rng.integers(0, OBJECTS)
    labels = np.zeros((100, len(NAMES)), dtype=bool)
    flat_kind, flat_ground = kind.ravel(), ground.ravel()
    labels[flat_kind >= 0, flat_kind[flat_kind >= 0]] = True
    labels[flat_kind < 0, flat_ground[flat_kind < 0]] = True
    small = np.stack([_tile(rng, int(k), int(g)) for k, g in zip(flat_kind, flat_ground, strict=True)])
    mosaic = torch.from_numpy(small).repeat_interleave(4, 2).repeat_interleave(4, 3)[..., :PIXELS, :PIXELS]
    cells = torch.from_numpy(small).float().mean(dim=(2, 3)).view(10, 10, 3).permute(2, 0, 1)[None]
    overview = torch.nn.functional.interpolate(cells, (PIXELS, PIXELS))[0]
    overview = overview + torch.from_numpy(rng.normal(0, 3, (3, PIXELS, PIXELS))).float()
    west = -120 + 0.024 * number
    bounds = (west, 37.0, west + 0.024, 37.024)
    return WorldScene(
        f"CA-w{number}", bounds, overview.clamp(0, 255).byte(), mosaic, torch.from_numpy(labels), []
    )


def _tile(rng: np.random.Generator, kind: int, ground: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """One tile at a quarter of the resolution, uint8 (3, 67, 67); stripes do not change its mean."""
    base = np.array([(60, 110, 60), (150, 120, 70)][ground - 3] if kind < 0 else (130, 130, 130))
    row, column = np.mgrid[:67, :67]
    phase = (row, column, row + column)[kind] if kind >= 0 else np.zeros((67, 67))
    stripes = 70 * np.sin(2 * np.pi * phase / 6 + rng.uniform(0, 6)) if kind >= 0 else phase
    pixels = base[:, None, None] + stripes + rng.normal(0, 8, (3, 67, 67))
    return pixels.clip(0, 255).astype(np.uint8)
