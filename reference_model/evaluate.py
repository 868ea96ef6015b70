"""The result on held-out scenes: what was observed, what it cost, how well class names find their scenes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reference_model.features import Features
from reference_model.holdout import Roles
from reference_model.metrics.base_novel import base_and_novel
from reference_model.metrics.observation_cost import Calibration, obr
from reference_model.metrics.retrieval import (
    average_precision,
    average_precision_over_hits,
    chance_level,
    ranked_relevance,
)
from reference_model.networks.head import SceneHead
from reference_model.networks.predictor import Predictor, integrated
from reference_model.objectives.losses import centred_cosine

SCENES_AT_ONCE = 32
"""Batch of the evaluation, as in E.3."""

TILE_PERCENTILES = (5, 50, 95)
"""Of the tiles bought a scene: how far the sampler adapts to the scene."""

LEAST_RANGE = 0.05
"""A sampler whose validation scores differ by less has collapsed to a constant."""

LEAST_GAIN = 2.0
"""A sampler that captures less than this many times its budget's share of G* has learned little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Everything behind the sampler."""

    predictor: Predictor
    head: SceneHead
    mean: Tensor
    """mu of Eq. 8, (features,)."""

    texts: Tensor
    """(classes, embedding), each of length 1."""

    calibration: Calibration


def in_batches(
    rows: Tensor, selected: Tensor, at_once: int = SCENES_AT_ONCE
) -> Iterator[tuple[Tensor, Tensor]]:
    """Scenes (N,) and their tiles (N, 100), so many as are handled together."""
    return zip(torch.split(rows, at_once), torch.split(selected, at_once), strict=True)


@torch.no_grad()
def class_scores(model: Model, features: Features, rows: Tensor, selected: Tensor) -> tuple[Tensor, float]:
    """Rank scenes for every class under one observation.

    Args:
        model: trained.
        features: encoded scenes; rows of unselected tiles are not read for the scores.
        rows: scenes, (N,).
        selected: bool (N, 100).

    Returns:
        Cosines float32 (N, classes), and Eq. 8 over the tiles that were not observed (NaN if all were).
    """
    scores, losses = [], []
    for part, where in in_batches(rows, selected):
        observed = features.observed(part, where)
        where = where.to(features.device)  # noqa: PLW2901 - the same choice on the device
        predicted = model.predictor(observed, where, features.context(part))
        images = model.head(integrated(predicted, observed, where))
        scores.append((images @ model.texts.T).cpu())
        if not bool(where.all()):
            losses.append(
                (centred_cosine(predicted[~where], features.target(part)[~where], model.mean), (~where).sum())
            )
    weight = sum(float(count) for _, count in losses)
    missing = sum(float(loss) * float(count) for loss, count in losses) / weight if weight else float("nan")
    return torch.cat(scores), missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What the model is tried on, and how."""

    features: Features
    labels: Tensor
    """Bool (scenes, classes)."""

    is_novel: NDArray[np.bool_]
    """(classes,), True for one that the training knew nothing of."""

    roles: Roles
    ranks: tuple[int, ...]
    """K of mAP@K."""

    random_draws: int
    """Random choices of tiles that one row is averaged over."""

    seed: int
    """Of the random tiles and of the order of ties."""

    @property
    def rows(self) -> Tensor:
        """Held-out scenes, (N,)."""
        return torch.from_numpy(self.roles.test)

    @property
    def relevant(self) -> NDArray[np.bool_]:
        """Labels of the held-out scenes, (N, classes)."""
        relevant: NDArray[np.bool_] = self.labels[self.rows].numpy()
        return relevant


def evaluate(model: Model, trial: Trial, scores: Tensor, targets: Tensor) -> dict[str, Any]:
    """Compare LR alone, the sampler's tiles, random tiles at the same cost, and full observation.

    Args:
        model: trained.
        trial: the held-out scenes.
        scores: the sampler's, (scenes, 100).
        targets: G*, (scenes, 100); for the account of the sampler alone.

    Returns:
        What metrics.json holds. Free of times, so that equal runs have equal bytes.

    Raises:
        NoEvaluableClassError: no class has a positive among the held-out scenes.
    """
    sparse = model.calibration.select(scores[trial.rows])
    observations = {
        "LR only": [torch.zeros_like(sparse)],
        "sparse, sampler": [sparse],
        "sparse, random": random_choices(sparse, trial.random_draws, trial.seed),
        "full": [torch.ones_like(sparse)],
    }
    lines = {
        name: _mean_of([_line(model, trial, selected) for selected in choices])
        for name, choices in observations.items()
    }
    roles = trial.roles
    taught = trial.labels[torch.from_numpy(roles.train)].any(dim=0).numpy()
    evaluated: NDArray[np.bool_] = np.any(trial.relevant, axis=0)
    return {
        "seed": trial.seed,
        "scenes": {"train": len(roles.train), "val": len(roles.val), "test": len(roles.test)},
        "dropped": roles.dropped,
        "held_out": roles.held_out,
        "classes": {
            "all": len(evaluated),
            "evaluated": int(evaluated.sum()),
            "evaluated_without_training_scene": int((evaluated & ~taught).sum()),
            "evaluated_novel": int((evaluated & trial.is_novel).sum()),
        },
        "chance": chance_level(trial.relevant),
        "threshold": model.calibration.threshold,
        "target_obr": model.calibration.target_obr,
        "sampler": sampler_account(model.calibration, scores, targets, roles),
        "observations": lines,
    }


def _line(model: Model, trial: Trial, selected: Tensor) -> dict[str, float]:
    scores, missing = class_scores(model, trial.features, trial.rows, selected)
    ranked = ranked_relevance(scores.numpy(), trial.relevant, trial.seed)
    tiles = selected.sum(dim=1).double().numpy()
    line = {"OBR": obr(selected)}
    line |= {f"tiles_{share}_percent": float(np.percentile(tiles, share)) for share in TILE_PERCENTILES}
    kinds = base_and_novel(scores.numpy(), trial.relevant, trial.is_novel, trial.ranks, trial.seed)
    for k in trial.ranks:
        line[f"mAP@{k}"] = float(np.nanmean(average_precision(ranked, k)))
        line |= {f"mAP@{k}_{kind}": by_rank[k] for kind, by_rank in kinds.items()}
        line[f"mAP@{k}_over_hits"] = float(np.nanmean(average_precision_over_hits(ranked, k)))
    if not np.isnan(missing):
        line["completion_loss"] = missing
    return line


def _mean_of(lines: list[dict[str, float]]) -> dict[str, float]:
    return {key: float(np.mean([line[key] for line in lines])) for key in lines[0]}


def random_choices(selected: Tensor, draws: int, seed: int) -> list[Tensor]:
    """Draw as many tiles as were selected in all scenes together, wherever they lie.

    Args:
        selected: bool (N, 100).
        draws: how often.
        seed: of the draws.

    Returns:
        `draws` masks, bool (N, 100), of exactly the same OBR.
    """
    generator = torch.Generator().manual_seed(seed)
    count = int(selected.sum())
    choices = []
    for _ in range(draws):
        choice = torch.zeros(selected.numel(), dtype=torch.bool)
        choice[torch.randperm(selected.numel(), generator=generator)[:count]] = True
        choices.append(choice.view_as(selected))
    return choices


def sampler_account(
    calibration: Calibration, scores: Tensor, targets: Tensor, roles: Roles
) -> dict[str, Any]:
    """Whether the sampler learned: how far its scores range and how much of G* it buys.

    Args:
        calibration: of the sampler.
        scores: what it predicts, (scenes, 100).
        targets: G*, of the same shape.
        roles: which scenes are for validation and for the test.
    """

    def captured(rows: NDArray[np.int64]) -> float:
        worth, chosen = targets[torch.from_numpy(rows)], calibration.select(scores[torch.from_numpy(rows)])
        return float(worth[chosen].sum() / worth.sum().clamp_min(1e-9))

    reach, on_val = calibration.high - calibration.low, captured(roles.val)
    return {
        "range": reach,
        "captured_share_val": on_val,
        "captured_share_test": captured(roles.test),
        "obr_val": calibration.obr,
        "collapsed": reach < LEAST_RANGE or on_val < min(1.0, LEAST_GAIN * calibration.obr),
    }
