"""What a method reaches on the held-out scenes at one cost: mAP@K with intervals over scenes, and the OBR."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reference_model.face import Method, Setting
from reference_model.metrics.bootstrap import (
    class_means,
    counts_of_draws,
    middle,
    resampled_average_precision,
)
from reference_model.metrics.observation_cost import DEFAULT_OBR, obr
from reference_model.metrics.retrieval import chance_level
from reference_model.reproduction.record import Measurement

DEPTHS = (5, 10, 20, 50, 100, 200)
"""K of mAP@K: those of the tables and of Figure 4a. A K beyond the gallery ranks all of it."""

CLASSWISE = "mAP@100"
"""The figure whose value is kept class by class."""

WEIGHTED = "mAP"
"""The figure that is given a second time, "all/weighted-mAP", with classes weighted by their positives: so
the paper's authors report GL-10M."""

TILE_PERCENTILES = (5, 50, 95)
"""Of the tiles bought a scene."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """The held-out scenes that class names rank."""

    relevant: NDArray[np.bool_]
    """(scenes, classes)."""

    novel: NDArray[np.bool_]
    """(classes,), True for a concept that no training has seen."""

    class_names: tuple[str, ...]
    seed: int
    """Of the resamples and of the order of ties."""

    @classmethod
    def of(cls, setting: Setting) -> "Gallery":
        """The gallery of a setting."""
        catalogue = setting.job.catalogue
        return cls(
            relevant=catalogue.labels[torch.from_numpy(setting.job.roles.test)].numpy(),
            novel=catalogue.is_novel,
            class_names=catalogue.class_names,
            seed=setting.job.seed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What was measured."""

    metrics: dict[str, Measurement]
    per_class: dict[str, dict[str, float]]


def measure(method: Method, setting: Setting, target_obr: float | None) -> Outcome:
    """Plan, observe, rank.

    Args:
        method: fitted.
        setting: the same that the method was made for.
        target_obr: share of tiles to buy; None for a method that buys none or all.

    Returns:
        "base/mAP@100" and the like, "all/mAP" over the whole list, "OBR", tiles a scene, chance levels.
    """
    rows = torch.from_numpy(setting.job.roles.test)
    selected = method.plan(rows, DEFAULT_OBR if target_obr is None else target_obr)
    scores = method.rank(method.embed(rows, selected))
    return outcome(Gallery.of(setting), [scores], [selected])


def outcome(gallery: Gallery, scores: Sequence[Tensor], selected: Sequence[Tensor]) -> Outcome:
    """Turn scores into figures; several choices of tiles at the same cost are averaged.

    Args:
        gallery: whose scenes they are.
        scores: (scenes, classes) of each choice.
        selected: bool (scenes, 100) of each choice.
    """
    groups = {"base": ~gallery.novel, "novel": gallery.novel, "all": np.ones_like(gallery.novel)}
    metrics = _costs(selected)
    depths = {f"mAP@{k}": k for k in DEPTHS} | {"mAP": len(gallery.relevant)}
    per_class: dict[str, dict[str, float]] = {}
    counts = counts_of_draws(len(gallery.relevant), seed=gallery.seed)
    for name, k in depths.items():
        precision = np.mean(
            [
                resampled_average_precision(one.numpy(), gallery.relevant, k, counts, gallery.seed)
                for one in scores
            ],
            axis=0,
        )
        for group, members in groups.items():
            if gallery.relevant[:, members].any():
                metrics[f"{group}/{name}"] = _interval(precision[:, members])
                if name == WEIGHTED:
                    positives = (counts @ gallery.relevant.astype(np.int64))[:, members]
                    metrics[f"{group}/weighted-{name}"] = _interval(precision[:, members], positives)
        if name == CLASSWISE:
            per_class[name] = {
                concept: float(value)
                for concept, value in zip(gallery.class_names, precision[0], strict=True)
                if not np.isnan(value)
            }
    for group, members in groups.items():
        relevant = gallery.relevant[:, members]
        metrics[f"{group}/classes"] = Measurement(float(relevant.any(axis=0).sum()))
        if relevant.any():
            metrics[f"{group}/chance"] = Measurement(chance_level(relevant))
    return Outcome(metrics=metrics, per_class=per_class)


def _costs(selected: Sequence[Tensor]) -> dict[str, Measurement]:
    tiles = torch.cat([one.sum(dim=1) for one in selected]).double().numpy()
    costs = {"OBR": Measurement(float(np.mean([obr(one) for one in selected])))}
    for share in TILE_PERCENTILES:
        costs[f"tiles/{share}%"] = Measurement(float(np.percentile(tiles, share)))
    return costs


def _interval(precision: NDArray[np.float64], weights: NDArray[np.integer] | None = None) -> Measurement:
    """Mean over classes of the scenes themselves, which come first, and its percentiles over resamples."""
    means = class_means(precision, weights)
    return Measurement(float(means[0]), *middle(means[1:]))
