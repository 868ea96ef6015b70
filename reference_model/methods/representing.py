"""Ways to turn LR and the bought tiles into one embedding a scene: our model and its ablations."""

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from reference_model import stages
from reference_model.alignment import trained_head
from reference_model.baselines.errors import NotFittedError
from reference_model.determinism import seeded
from reference_model.evaluate import in_batches
from reference_model.face import Setting
from reference_model.methods.evidence import CompletedScene
from reference_model.methods.stage_two import Row, embedded, trained_row
from reference_model.methods.subruns import calibration, part_of, sampler_scores, with_block


class Representation(Protocol):
    """See `Method.embed`."""

    def fit(self) -> None:
        """Train, or read back."""

    def embed(self, rows: Tensor, selected: Tensor) -> Tensor:
        """Embeddings of length 1, float32 (N, embedding)."""


class _OfRow:
    """What all have in common: a trained row."""

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.trained: Row | None = None

    @property
    def row(self) -> Row:
        """View and head.

        Raises:
            NotFittedError: `fit` has not been called.
        """
        if self.trained is None:
            raise NotFittedError(
                "scenes are embedded by a trained head, and there is none. Call fit() first."
            )
        return self.trained

    def embed(self, rows: Tensor, selected: Tensor) -> Tensor:
        """See `Representation`."""
        return embedded(self.row, self.setting.features, rows, selected)

    def normalised(self) -> Tensor:
        """Scores of the preset's own sampler on their common scale, for half of stage II's masks."""
        scores = sampler_scores(self.setting, self.setting.job.preset.fusion)
        return calibration(self.setting, scores, self.setting.job.target_obr).normalised(scores)


class Ours(_OfRow):
    """The model as `gl10m train-reference` trains it, in the run folder itself."""

    def fit(self) -> None:
        """Stages I and II, or what they left."""
        setting, job = self.setting, self.setting.job
        predictor, mean = stages.trained_predictor(job, setting.features, setting.encoder)
        head = trained_head(
            job,
            features=setting.features,
            encoder=setting.encoder,
            texts=setting.texts,
            predictor=predictor,
            mean=mean,
            normalised=self.normalised(),
        )
        self.mean = mean.mean
        self.trained = Row(CompletedScene(predictor), head).eval()


class OtherPredictor(_OfRow):
    """The same with another block in the predictor, or with fewer scenes in stage I; else the same steps."""

    def __init__(
        self, setting: Setting, part: str, block: str | None = None, *, pretrained: bool = True
    ) -> None:
        """Make a representation.

        Args:
            setting: what it is trained on.
            part: name of its folder.
            block: a key of `attention.BLOCKS`; the preset's if None.
            pretrained: whether stage I learns from unlabelled scenes too.
        """
        super().__init__(setting)
        job = setting.job
        preset = job.preset if block is None else with_block(job.preset, block)
        roles = job.roles if pretrained else replace(job.roles, unlabelled=np.empty(0, np.int64))
        self.job = replace(part_of(job, part, preset), roles=roles)

    def fit(self) -> None:
        """Stages I and II, or what they left."""
        setting = self.setting
        predictor, mean = stages.trained_predictor(self.job, setting.features, setting.encoder)
        self.mean = mean.mean
        self.trained = trained_row(
            self.job, setting, CompletedScene(predictor), normalised=self.normalised(), mean=mean
        )


class WithoutPredictor(_OfRow):
    """A head on another view of the evidence; no scene is completed."""

    def __init__(self, setting: Setting, part: str, view: Callable[[], nn.Module]) -> None:
        """Make a representation.

        Args:
            setting: what it is trained on.
            part: name of its folder.
            view: makes what the head sees, see `evidence`.
        """
        super().__init__(setting)
        self.job, self.view = part_of(setting.job, part), view

    def fit(self) -> None:
        """Stage II, or what it left."""
        with seeded(self.job.seed, "view"):
            view = self.view()
        self.trained = trained_row(self.job, self.setting, view, normalised=self.normalised())


@torch.no_grad()
def completed(representation: "Ours | OtherPredictor", rows: Tensor, selected: Tensor) -> Tensor:
    """Predicted tokens before observed ones are passed through: (N, 100, p * p, features)."""
    features = representation.setting.features
    found = []
    for part, where in in_batches(rows, selected):
        predicted = representation.row.view(features, part, where.to(features.device)).predicted
        found.append(predicted.cpu())
    return torch.cat(found)
