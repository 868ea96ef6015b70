"""The rows of SAR (scale-aware recognition) on the setting's encoder, without a label of their own.

Scenes are ranked by cosines of class names with LR, with HR tiles, or with both. Re-implemented: SAR's public
code prepares data and evaluates nothing.
"""

from pathlib import Path

import torch
from torch import Tensor

from gl10m.scene.grid import TILES
from reference_model.baselines.distillation import trained_student
from reference_model.baselines.errors import NotFittedError
from reference_model.baselines.planners import Planner
from reference_model.baselines.scales import Scaled, guessed_scores, lr_scores, scaled
from reference_model.baselines.space import SharedEncoder
from reference_model.baselines.tile_scores import Pool, observed_scores
from reference_model.face import Setting


class OnlyHR:
    """Every tile bought; a scene is its tiles' scores, pooled class by class. LR is not looked at."""

    def __init__(self, setting: Setting, name: str, pool: Pool) -> None:
        self.setting, self.name, self.pool = setting, name, pool

    def fit(self) -> None:
        """Nothing is learned."""

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:  # noqa: ARG002 - it buys all
        """Buy everything; see `Method.plan`."""
        return torch.ones(len(rows), TILES, dtype=torch.bool)

    def embed(self, rows: Tensor, selected: Tensor) -> Tensor:
        """Scores of the observed tiles, pooled: (N, classes); see `Method.embed`."""
        return observed_scores(
            self.setting.features, rows, selected, self.setting.texts.embeddings, self.pool
        )

    def rank(self, embedded: Tensor) -> Tensor:
        """The embedding is the scores; see `Method.rank`."""
        return embedded


class BothScales:
    """Everything bought; each class is looked for at the scale where it is seen best."""

    def __init__(self, setting: Setting, name: str, answers: Path | None = None) -> None:
        self.setting, self.name, self.answers = setting, name, answers
        self.scaled: Scaled | None = None

    def fit(self) -> None:
        """Choose the scale of each class on the training scenes, or read that back."""
        self.scaled = scaled(self.setting, self.answers)

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:  # noqa: ARG002 - it buys all
        """Buy everything; see `Method.plan`."""
        return torch.ones(len(rows), TILES, dtype=torch.bool)

    def embed(self, rows: Tensor, selected: Tensor) -> Tensor:
        """Class scores, (N, classes), of LR where nothing was observed; see `Method.embed`."""
        if self.scaled is None:
            raise NotFittedError(f"{self.name} knows no scale yet. Call fit() first.")
        lr = self.scaled.lr(lr_scores(self.setting, rows))
        hr = self.scaled.hr(
            observed_scores(self.setting.features, rows, selected, self.setting.texts.embeddings)
        )
        return torch.where(self.scaled.at_hr & ~hr.isnan(), hr, lr)

    def rank(self, embedded: Tensor) -> Tensor:
        """The embedding is the scores; see `Method.rank`."""
        return embedded


class Sparse:
    """Some tiles bought. A class of HR is the mean of what was observed and of what LR says of HR.

    The latter is the student of the row SAR (KD), or LR itself where a row has no student. SAR's own blend is
    not public: ours weighs both the same, and takes LR alone where nothing was observed.
    """

    def __init__(
        self,
        setting: Setting,
        name: str,
        planner: Planner,
        *,
        answers: Path | None = None,
        with_student: bool = False,
    ) -> None:
        self.setting, self.name, self.planner = setting, name, planner
        self.answers, self.with_student = answers, with_student
        self.scaled: Scaled | None = None
        self.student: SharedEncoder | None = None

    def fit(self) -> None:
        """Fit the planner and choose the scale of each class, or read both back."""
        self.planner.fit()
        self.student = trained_student(self.setting) if self.with_student else None
        self.scaled = scaled(self.setting, self.answers, self.student)

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:
        """Leave it to the planner; see `Method.plan`."""
        return self.planner.plan(rows, target_obr)

    def embed(self, rows: Tensor, selected: Tensor) -> Tensor:
        """Class scores, (N, classes); see `Method.embed`."""
        if self.scaled is None:
            raise NotFittedError(f"{self.name} knows no scale yet. Call fit() first.")
        words = self.setting.texts.embeddings
        lr = self.scaled.lr(lr_scores(self.setting, rows))
        hr = self.scaled.hr(observed_scores(self.setting.features, rows, selected, words))
        guess = lr
        if self.student is not None:
            guess = self.scaled.guess(guessed_scores(self.setting, self.student, rows))
        fine = torch.where(hr.isnan(), guess, (hr + guess) / 2)
        return torch.where(self.scaled.at_hr, fine, lr)

    def rank(self, embedded: Tensor) -> Tensor:
        """The embedding is the scores; see `Method.rank`."""
        return embedded
