"""Figures of one seed's runs: mAP for Base and Novel, OBR, and how far other scenes would move them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reference_model.experiments.runs import Ranked
from reference_model.metrics.base_novel import base_and_novel
from reference_model.metrics.bootstrap import class_means, resampled, resampled_average_precision

RANKS = (20, 100)
"""K of mAP@K, as in Table 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gallery:
    """The held-out scenes of one seed."""

    relevant: NDArray[np.bool_]
    """(scenes, classes)."""

    novel: NDArray[np.bool_]
    """(classes,)."""

    seed: int

    def prevalence(self) -> float:
        """Mean prevalence of Base classes: about the mAP of a random ranking."""
        return float(self.relevant[:, ~self.novel].mean())

    def figures(self, run: Ranked) -> dict[str, float]:
        """OBR, and mAP@K of Base and Novel classes as "base/mAP@100", averaged over draws."""
        found: dict[str, list[float]] = {}
        for scores in run.scores.numpy():
            groups = base_and_novel(scores, self.relevant, self.novel, RANKS, self.seed)
            for group, by_rank in groups.items():
                for k, value in by_rank.items():
                    found.setdefault(f"{group}/mAP@{k}", []).append(value)
        return {"OBR": run.obr, **{name: float(np.mean(values)) for name, values in found.items()}}

    def resampled_base(self, run: Ranked, resamples: int) -> NDArray[np.float64]:
        """Base mAP@100 in resamples of the scenes, the same resamples for every run: (resamples,)."""
        counts = resampled(len(self.relevant), resamples, self.seed)
        relevant = self.relevant[:, ~self.novel]
        draws = [
            class_means(resampled_average_precision(scores[:, ~self.novel], relevant, 100, counts, self.seed))
            for scores in run.scores.numpy()
        ]
        mean: NDArray[np.float64] = np.mean(draws, axis=0)
        return mean
