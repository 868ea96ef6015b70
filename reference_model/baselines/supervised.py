"""Table 2's rows of SAR on the setting's encoder: heads on the mean token of LR, of HR tiles, or of both."""

from pathlib import Path

import torch
from torch import Tensor

from gl10m.scene.grid import TILES
from reference_model.baselines.concept_scale import read_scale, scale_by_precision
from reference_model.baselines.errors import NotFittedError
from reference_model.baselines.planners import Planner
from reference_model.baselines.probes import Probe, trained_probe
from reference_model.baselines.tile_scores import mean_tokens
from reference_model.face import Setting
from reference_model.objectives.masking import scattered

LEAST_SHOWN, MOST_SHOWN = 5, 50
"""Tiles of a training scene that the head of sparse rows sees, in this range."""


def lr_tokens(setting: Setting, rows: Tensor) -> Tensor:
    """The mean LR token: (N, dim)."""
    return setting.features.context(rows).mean(dim=1)


def lr_probe(setting: Setting) -> Probe:
    """The head on LR, trained or read back."""
    return trained_probe(
        setting.job, "probe-lr", setting.features.lr.shape[-1], lambda rows, _: lr_tokens(setting, rows)
    )


def hr_probe(setting: Setting) -> Probe:
    """The head on the mean of all tiles, trained or read back."""

    def inputs(rows: Tensor, _: torch.Generator) -> Tensor:
        return mean_tokens(setting.features, rows, torch.ones(len(rows), TILES, dtype=torch.bool))

    return trained_probe(setting.job, "probe-hr", setting.features.hr.shape[-1], inputs)


def tiles_probe(setting: Setting) -> Probe:
    """The head on the mean of some tiles, trained on random ones or read back."""

    def inputs(rows: Tensor, generator: torch.Generator) -> Tensor:
        # Drawn for the whole team, so that any number of processes sees the same tiles.
        shown = torch.randint(LEAST_SHOWN, MOST_SHOWN + 1, (len(rows) * team.size,), generator=generator)
        return mean_tokens(setting.features, rows, team.part(scattered(shown, generator)))

    team = setting.job.team
    return trained_probe(setting.job, "probe-tiles", setting.features.hr.shape[-1], inputs)


class SupervisedLR:
    """The head on LR; nothing is bought."""

    def __init__(self, setting: Setting, name: str) -> None:
        self.setting, self.name = setting, name
        self.probe: Probe | None = None

    def fit(self) -> None:
        """Train the head, or read it back."""
        self.probe = lr_probe(self.setting)

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:  # noqa: ARG002 - it buys nothing
        """Buy nothing; see `Method.plan`."""
        return torch.zeros(len(rows), TILES, dtype=torch.bool)

    def embed(self, rows: Tensor, selected: Tensor) -> Tensor:  # noqa: ARG002 - LR alone
        """The mean LR token, (N, dim); see `Method.embed`."""
        return lr_tokens(self.setting, rows)

    @torch.no_grad()
    def rank(self, embedded: Tensor) -> Tensor:
        """Logits; see `Method.rank`."""
        return logits_of(self.probe, embedded)


class SupervisedHR:
    """The head on all tiles."""

    def __init__(self, setting: Setting, name: str) -> None:
        self.setting, self.name = setting, name
        self.probe: Probe | None = None

    def fit(self) -> None:
        """Train the head, or read it back."""
        self.probe = hr_probe(self.setting)

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:  # noqa: ARG002 - it buys all
        """Buy everything; see `Method.plan`."""
        return torch.ones(len(rows), TILES, dtype=torch.bool)

    def embed(self, rows: Tensor, selected: Tensor) -> Tensor:
        """The mean token of the observed tiles, (N, dim); see `Method.embed`."""
        return mean_tokens(self.setting.features, rows, selected)

    @torch.no_grad()
    def rank(self, embedded: Tensor) -> Tensor:
        """Logits; see `Method.rank`."""
        return logits_of(self.probe, embedded)


class SupervisedBoth:
    """LR and whatever a planner buys, each with its head.

    A class is ranked by the scale with the higher precision on validation scenes. Heads have seen the
    training scenes, so precision there would say nothing. A class of HR is the mean of both heads' logits
    where the planner left tiles out, as in the rows without labels.
    """

    def __init__(
        self, setting: Setting, name: str, planner: Planner | None, answers: Path | None = None
    ) -> None:
        """Make the row.

        Args:
            setting: what is trained on.
            name: of the row.
            planner: buys tiles; everything is bought if None.
            answers: file with the scale of each class; chosen on validation scenes if None.
        """
        self.setting, self.name, self.planner, self.answers = setting, name, planner, answers
        self.lr: Probe | None = None
        self.hr: Probe | None = None
        self.at_hr = torch.empty(0)

    def fit(self) -> None:
        """Train both heads and the planner, or read them back; choose the scale of each class."""
        if self.planner is not None:
            self.planner.fit()
        self.lr = lr_probe(self.setting)
        self.hr = hr_probe(self.setting) if self.planner is None else tiles_probe(self.setting)
        if self.answers is not None:
            self.at_hr = read_scale(self.answers, self.setting.job.catalogue.class_names)
            return
        val = torch.from_numpy(self.setting.job.roles.val)
        everything = torch.ones(len(val), TILES, dtype=torch.bool)
        with torch.no_grad():
            lr = logits_of(self.lr, lr_tokens(self.setting, val))
            hr = logits_of(self.hr, mean_tokens(self.setting.features, val, everything))
        every_class = torch.arange(lr.shape[1])
        labels = self.setting.job.catalogue.labels[val]
        self.at_hr = scale_by_precision(lr, hr, labels, every_class, self.setting.texts.embeddings)

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:
        """Leave it to the planner, or buy everything; see `Method.plan`."""
        if self.planner is None:
            return torch.ones(len(rows), TILES, dtype=torch.bool)
        return self.planner.plan(rows, target_obr)

    def embed(self, rows: Tensor, selected: Tensor) -> Tensor:
        """The mean LR token, that of the observed tiles, and the share observed: (N, 2 * dim + 1)."""
        hr = mean_tokens(self.setting.features, rows, selected)
        share = selected.float().mean(dim=1, keepdim=True).to(hr.device)
        return torch.cat([lr_tokens(self.setting, rows), hr, share], dim=1)

    @torch.no_grad()
    def rank(self, embedded: Tensor) -> Tensor:
        """Logits; see `Method.rank`."""
        dim = (embedded.shape[1] - 1) // 2
        lr, hr = logits_of(self.lr, embedded[:, :dim]), logits_of(self.hr, embedded[:, dim:-1])
        share = embedded[:, -1:].cpu()
        fine = torch.where(share >= 1, hr, torch.where(share > 0, (hr + lr) / 2, lr))
        return torch.where(self.at_hr, fine, lr)


def logits_of(probe: Probe | None, inputs: Tensor) -> Tensor:
    """What a head says of inputs (N, features): float32 (N, classes).

    Raises:
        NotFittedError: there is no head yet.
    """
    if probe is None:
        raise NotFittedError("the row has no head yet. Call fit() first.")
    logits: Tensor = probe(inputs).cpu()
    return logits
