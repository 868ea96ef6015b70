"""The parts of the model behind its rows, opened for the figures."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor

from reference_model.evaluate import in_batches
from reference_model.face import Setting
from reference_model.metrics.observation_cost import Calibration
from reference_model.networks.predictor import Predictor, integrated
from reference_model.trained import trained_model

Completion = Callable[[Tensor, Tensor], Tensor]
"""From scenes (N,) and what is observed, bool (N, 100), to all tokens (N, 100, p * p, dim), on the CPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """A trained model, taken apart."""

    setting: Setting
    structure: Tensor
    """s_vis of all scenes on the training scale, float32 (scenes, 100) in [0, 1]."""

    targets: Tensor
    """G* of all scenes, float32 (scenes, 100) in [0, 1]; tile = 10 * row + column, north-west first."""

    scores: Tensor
    """What the sampler predicts from LR alone, of the same shape and range."""

    calibration: Calibration
    predictor: Predictor
    mean: Tensor
    """mu of Eq. 8, (dim,)."""

    def test_rows(self) -> Tensor:
        """Held-out scenes, (N,)."""
        return torch.from_numpy(self.setting.job.roles.test)

    def completed(self, rows: Tensor, selected: Tensor) -> Tensor:
        """H~: predictions, observed tokens passed through; see `Completion`."""
        return completed_by(self.setting, self.predictor, rows, selected)

    def full(self, rows: Tensor) -> Tensor:
        """H* of scenes: float32 (N, 100, p * p, dim)."""
        return self.setting.features.target(rows).cpu()


@torch.no_grad()
def completed_by(setting: Setting, predictor: Predictor, rows: Tensor, selected: Tensor) -> Tensor:
    """Complete scenes by a predictor that sees LR; see `Completion`."""
    features, device = setting.features, setting.features.device
    found = []
    for part, where in in_batches(rows, selected):
        observed, chosen = features.observed(part, where), where.to(device)
        predicted = predictor(observed, chosen, features.context(part))
        found.append(integrated(predicted, observed, chosen).cpu())
    return torch.cat(found)


def open_parts(setting: Setting) -> Parts:
    """Read the parts of the model back from the run folder; what is missing there is trained."""
    made = trained_model(
        setting.job,
        encoder=setting.encoder,
        features=setting.features,
        texts=setting.texts,
        say=lambda _: None,
    )
    return Parts(
        setting=setting,
        structure=made.supervision.saliency(setting.features.cues),
        targets=made.targets,
        scores=made.scores,
        calibration=made.calibration,
        predictor=made.predictor,
        mean=made.mean.cpu(),
    )


def cosines_to_full(parts: Parts, complete: Completion, rows: Tensor, selected: Tensor) -> Tensor:
    """Centred cosine of completed scenes to H*, token by token; a few scenes are in memory at a time.

    Args:
        parts: of the model, whose mu centres.
        complete: how the scenes are completed.
        rows: scenes, (N,).
        selected: bool (N, 100).

    Returns:
        float32 (N, 100, p * p).
    """
    found = [
        centred_cosines(complete(part, where), parts.full(part), parts.mean)
        for part, where in in_batches(rows, selected)
    ]
    return torch.cat(found)


def over_unobserved(cosines: Tensor, selected: Tensor) -> list[float]:
    """Mean over the tokens that were not observed, one a scene; NaN where all were.

    Args:
        cosines: (N, 100, p * p).
        selected: bool (N, 100).
    """
    return [
        float(one[~where].mean()) if not bool(where.all()) else float("nan")
        for one, where in zip(cosines, selected, strict=True)
    ]


def centred_cosines(one: Tensor, other: Tensor, mean: Tensor) -> Tensor:
    """Cosine of Eq. 8 token by token.

    Args:
        one: tokens (..., dim).
        other: tokens of the same shape.
        mean: mu, (dim,).

    Returns:
        float32 (...).
    """
    return F.cosine_similarity(one.float() - mean, other.float() - mean, dim=-1, eps=1e-6)
