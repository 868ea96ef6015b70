"""Ways to choose tiles: our sampler, none, all, and two oracles that are diagnostics and no result."""

import torch
from torch import Tensor

from gl10m.scene.grid import TILES
from reference_model.baselines.errors import NotFittedError
from reference_model.baselines.planners import drawn, gumbel
from reference_model.face import Setting
from reference_model.methods.subruns import calibration, sampler_scores, worth


class NoTile:
    """LR alone."""

    def fit(self) -> None:
        """Nothing is learned."""

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:  # noqa: ARG002 - one face for all planners
        """Buy nothing."""
        return torch.zeros(len(rows), TILES, dtype=torch.bool)


class EveryTile:
    """A threshold of 0."""

    def fit(self) -> None:
        """Nothing is learned."""

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:  # noqa: ARG002 - one face for all planners
        """Buy everything."""
        return torch.ones(len(rows), TILES, dtype=torch.bool)


class BySampler:
    """The tiles whose score reaches the shared threshold."""

    def __init__(self, setting: Setting, fusion: str | None = None) -> None:
        """Make a planner.

        Args:
            setting: what it is trained on.
            fusion: supervision of the sampler, a key of `supervision.FUSIONS`; the preset's if None.
        """
        self.setting, self.fusion = setting, fusion or setting.job.preset.fusion
        self.scores: Tensor | None = None

    def fit(self) -> None:
        """Train the sampler, or read its scores back."""
        self.scores = sampler_scores(self.setting, self.fusion)

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:
        """Choose tiles by a threshold that validation scenes have set; LR alone is looked at.

        Raises:
            NotFittedError: `fit` has not been called.
        """
        return _best(self.setting, self.scores, rows, target_obr)


class ByWorth:
    """Oracle: the true G* of the scenes themselves. Reads HR that it did not pay for."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.worth: Tensor | None = None

    def fit(self) -> None:
        """Compute G*; nothing is learned."""
        self.worth = worth(self.setting, self.setting.job.preset.fusion)

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:
        """Choose the tiles of highest worth.

        Raises:
            NotFittedError: `fit` has not been called.
        """
        return _best(self.setting, self.worth, rows, target_obr)


class ByLabel:
    """Oracle: tiles that carry a label, then any others. Reads labels of the scenes themselves."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting

    def fit(self) -> None:
        """Nothing is learned."""

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:
        """Choose labelled tiles first, in a seeded order."""
        catalogue = self.setting.job.catalogue
        ids = [catalogue.scene_ids[int(row)] for row in rows]
        lot = gumbel(self.setting.job.seed, "oracle-label", ids)
        first = 1e3 * catalogue.tile_labels[rows].any(dim=-1)
        return drawn(lot + first, target_obr)


def _best(setting: Setting, scores: Tensor | None, rows: Tensor, target_obr: float) -> Tensor:
    if scores is None:
        raise NotFittedError("tiles are planned by scores, and there are none yet. Call fit() first.")
    return calibration(setting, scores, target_obr).select(scores[rows])
