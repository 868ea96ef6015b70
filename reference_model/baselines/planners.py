"""Ways to choose HR tiles that are not learned from what tiles are worth."""

import hashlib
from typing import Protocol

import torch
from torch import Tensor

from gl10m.scene.grid import TILES
from reference_model.baselines.covariates import Covariate
from reference_model.face import Setting

FAINTEST = 1e-6
"""Weight of a tile that holds nothing of the covariate, as a share of the brightest: it is taken last."""


class Planner(Protocol):
    """Chooses tiles from LR, or from less."""

    def fit(self) -> None:
        """Train what it needs, or read it back."""

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:
        """Choose tiles; see `Method.plan`."""


def drawn(keys: Tensor, target_obr: float) -> Tensor:
    """Take the tiles with the highest keys of all scenes together.

    Args:
        keys: (N, 100), finite.
        target_obr: share of tiles to take, in [0, 1]; met exactly, up to half a tile in all scenes together.

    Returns:
        bool (N, 100).

    Raises:
        ValueError: a key is not finite.
    """
    if not bool(torch.isfinite(keys).all()):
        raise ValueError(
            f"tiles are taken in the order of finite keys; {int((~torch.isfinite(keys)).sum())} of "
            f"{keys.numel()} are not. Look at the covariate that they come from."
        )
    selected = torch.zeros(keys.numel(), dtype=torch.bool)
    order = keys.flatten().argsort(descending=True, stable=True)
    selected[order[: round(target_obr * keys.numel())]] = True
    return selected.view(keys.shape)


def gumbel(seed: int, purpose: str, scene_ids: list[str]) -> Tensor:
    """Gumbel noise of each tile, float64 (N, 100), that depends on the scene's name and not on its place."""
    parts = []
    for scene_id in scene_ids:
        digest = hashlib.sha256(f"{seed}:{purpose}:{scene_id}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:4], "big"))
        uniform = torch.rand(TILES, dtype=torch.float64, generator=generator)
        parts.append(-(-uniform.clamp_min(1e-12).log()).log())
    return torch.stack(parts)


class RandomPlanner:
    """Every tile as likely as the next, without replacement."""

    def __init__(self, setting: Setting, draw: int) -> None:
        self.job, self.draw = setting.job, draw

    def fit(self) -> None:
        """Nothing is learned."""

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:
        """Draw tiles; see `Method.plan`."""
        return drawn(_noise(self, rows, "random"), target_obr)


class CovariatePlanner:
    """Tiles in proportion to a covariate, without replacement, over all scenes together.

    Adding Gumbel noise to the logarithm of the weights and taking the highest sums is a draw without
    replacement with these weights.
    """

    def __init__(self, setting: Setting, covariate: Covariate, draw: int) -> None:
        self.job, self.covariate, self.draw = setting.job, covariate, draw

    def fit(self) -> None:
        """Nothing is learned."""

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:
        """Draw tiles; see `Method.plan`. Neither LR nor HR is looked at."""
        bounds = [tuple(self.job.catalogue.bounds[int(row)].tolist()) for row in rows]
        weights = torch.stack([self.covariate.of_scene(one) for one in bounds])
        brightest = float(weights.max())
        weights = weights.clamp_min(FAINTEST * brightest) if brightest > 0 else torch.ones_like(weights)
        return drawn(weights.log() + _noise(self, rows, "covariate"), target_obr)


def _noise(planner: RandomPlanner | CovariatePlanner, rows: Tensor, purpose: str) -> Tensor:
    ids = [planner.job.catalogue.scene_ids[int(row)] for row in rows]
    return gumbel(planner.job.seed, f"{purpose}-{planner.draw}", ids)
