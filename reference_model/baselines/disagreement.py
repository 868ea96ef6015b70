"""SAR's choice of tiles: where a model of LR and its student, who has learned from HR, disagree.

Both see LR alone. The code behind SAR's figures is not public; what is compared and how is our reading.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor

from gl10m.scene.grid import TILES
from reference_model.baselines.distillation import TEMPERATURE, trained_student
from reference_model.baselines.errors import NotFittedError
from reference_model.baselines.space import SharedEncoder, crops, shared_encoder
from reference_model.face import Setting
from reference_model.metrics.observation_cost import calibrate
from reference_model.run import expect_shape

SCORES = "baseline-disagreement.safetensors"

SCENES_AT_ONCE = 4
"""A scene is a hundred crops."""

KEPT_EVERY = 256
"""Scenes after which what was scored is written down."""


def symmetric_divergence(one: Tensor, other: Tensor) -> Tensor:
    """KL(p || q) + KL(q || p) of two distributions given as logits (..., classes): (...)."""
    p, q = F.log_softmax(one, dim=-1), F.log_softmax(other, dim=-1)
    return ((p.exp() - q.exp()) * (p - q)).sum(dim=-1)


class DisagreementPlanner:
    """Tiles whose LR crop the frozen encoder and the student place differently among the class names.

    A hundred crops a scene through two networks cost as much as a dense observation, so what was scored is
    kept in the run folder.
    """

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.model: SharedEncoder | None = None
        self.student: SharedEncoder | None = None
        self._scored = torch.empty(0)

    def fit(self) -> None:
        """Train the student, or read it back, and what was scored before."""
        job = self.setting.job
        self.model, self.student = shared_encoder(self.setting), trained_student(self.setting)
        self._scored = torch.full((len(job.catalogue.scene_ids), TILES), torch.nan)
        if job.run.has(SCORES):
            kept = job.run.read_weights(SCORES)
            with job.run.fitting(SCORES):
                expect_shape(kept["scores"], self._scored.shape)
                self._scored = kept["scores"]

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:
        """Tiles above one threshold for all scenes, calibrated on validation scenes; see `Method.plan`."""
        on_val = self.scores(torch.from_numpy(self.setting.job.roles.val))
        return calibrate(on_val, target_obr).select(self.scores(rows))

    @torch.no_grad()
    def scores(self, rows: Tensor) -> Tensor:
        """The disagreement on every tile, from LR: float32 (N, 100). Each scene is looked at once.

        Raises:
            NotFittedError: `fit` was not called.
        """
        if self.model is None or self.student is None:
            raise NotFittedError("the planner has no student yet. Call fit() first.")
        unseen = rows[self._scored[rows].isnan().any(dim=1)]
        missing = torch.tensor(sorted(set(unseen.tolist())), dtype=torch.int64)
        for kept in torch.split(missing, KEPT_EVERY) if len(missing) else ():
            for part in torch.split(kept, SCENES_AT_ONCE):
                self._scored[part] = self._apart(self.model, self.student, part)
            if self.setting.job.team.leads:
                self.setting.job.run.write_weights(SCORES, {"scores": self._scored})
        return self._scored[rows]

    def _apart(self, model: SharedEncoder, student: SharedEncoder, rows: Tensor) -> Tensor:
        job, device = self.setting.job, self.setting.job.team.device
        words = self.setting.texts.embeddings[job.catalogue.base].to(device)
        images = crops(job.overviews(rows)).to(device)
        logits = [seer(images, "lr") @ words.T / TEMPERATURE for seer in (model, student)]
        return symmetric_divergence(*logits).view(-1, TILES).cpu()
