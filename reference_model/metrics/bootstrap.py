"""How far a figure of one run would move with other scenes: bootstrap over scenes, re-ranked inside each.

A scene that is drawn m times stands m times in the gallery, all copies at the same score. Copies carry the
same labels, so their order does not matter, and the sum over them has a closed form: a resample is never laid
out, only counted.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reference_model.metrics.retrieval import ranking, require_positives

RESAMPLES = 1000
"""Resamples of an interval (5.2.3 of the protocol)."""

LEVEL = 0.95
"""Share of the resamples inside an interval."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A figure and where it lies in most resamples."""

    estimate: float
    """On the scenes themselves."""

    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether zero lies outside."""
        return self.low > 0 or self.high < 0


def resampled(scenes: int, resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.int32]:
    """How often each scene is drawn: int32 (resamples, scenes); every row adds up to `scenes`."""
    if scenes < 1 or resamples < 1:
        raise ValueError(
            f"a bootstrap needs scenes and resamples; got {scenes} scenes and {resamples} resamples"
        )
    rng = np.random.default_rng(seed)
    return rng.multinomial(scenes, np.full(scenes, 1 / scenes), size=resamples).astype(np.int32)


def resampled_average_precision(
    scores: NDArray[np.floating],
    relevant: NDArray[np.bool_],
    k: int,
    counts: NDArray[np.int32],
    seed: int = 0,
) -> NDArray[np.float64]:
    """AP@K of every class in every resample.

    Args:
        scores: (scenes, classes), higher is better.
        relevant: bool (scenes, classes).
        k: ranks that count.
        counts: how often each scene is drawn, (resamples, scenes); see `resampled`.
        seed: of the order of ties between different scenes.

    Returns:
        (resamples, classes); NaN where a resample holds no positive of the class.
    """
    order = ranking(scores, relevant, seed)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, int(counts.sum(axis=1).max()) + 1))])
    found = np.full((len(counts), scores.shape[1]), np.nan)
    positives = (counts.astype(np.float32) @ relevant.astype(np.float32)).astype(np.int64)  # exact to 2 ** 24
    by_scene = np.ascontiguousarray(counts.T)
    for column in np.flatnonzero(relevant.any(axis=0)):
        first = order[: _enough(order[:, column], by_scene, k), column]
        gained = _gain(by_scene[first], relevant[first, column], k, harmonic)
        best = np.minimum(positives[:, column], k)
        found[:, column] = gained / np.where(best > 0, best, np.nan)
    return found


def bootstrap(
    scores: NDArray[np.floating],
    relevant: NDArray[np.bool_],
    k: int,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """mAP@K of one method with its interval over scenes.

    Raises:
        NoEvaluableClassError: no class has a positive.
    """
    require_positives(relevant)
    counts = counts_of_draws(len(scores), resamples, seed)
    return _interval(class_means(resampled_average_precision(scores, relevant, k, counts, seed)))


def paired_bootstrap(
    one: NDArray[np.floating],
    other: NDArray[np.floating],
    relevant: NDArray[np.bool_],
    k: int,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """mAP@K of one method minus that of another, both on the same resamples of scenes.

    Of one pair of trained models this says how much the choice of scenes matters, and nothing about other
    seeds of training: two pilot seeds each excluded zero, on opposite sides. See `seeds.compare`.

    Args:
        one: scores (scenes, classes).
        other: scores of the same scenes and classes.
        relevant: bool (scenes, classes).
        k: ranks that count.
        resamples: how often scenes are drawn.
        seed: of the draws and of the order of ties.

    Raises:
        NoEvaluableClassError: no class has a positive.
    """
    require_positives(relevant)
    counts = counts_of_draws(len(one), resamples, seed)
    first = class_means(resampled_average_precision(one, relevant, k, counts, seed))
    return _interval(first - class_means(resampled_average_precision(other, relevant, k, counts, seed)))


def over_classes(difference: NDArray[np.float64], *, resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """The same over classes: would other concepts agree.

    Args:
        difference: AP@K of one method minus that of another, (classes,); NaN where there is none.
        resamples: how often classes are drawn.
        seed: of the draws.

    Raises:
        ValueError: no class has a difference.
    """
    values = difference[~np.isnan(difference)]
    if not len(values):
        raise ValueError("an interval over classes needs a class with an average precision; none has one")
    counts = counts_of_draws(len(values), resamples, seed)
    return _interval(counts @ values / len(values))


def counts_of_draws(scenes: int, resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.int32]:
    """Each scene once, then the resamples of `resampled`: int32 (1 + resamples, scenes)."""
    return np.concatenate([np.ones((1, scenes), np.int32), resampled(scenes, resamples, seed)])


def class_means(
    per_class: NDArray[np.float64], weights: NDArray[np.integer] | None = None
) -> NDArray[np.float64]:
    """Mean over the classes that have a positive in a resample, (resamples,).

    Args:
        per_class: (resamples, classes), see `resampled_average_precision`.
        weights: how much a class counts in a resample, of the same shape; all alike if None.

    Returns:
        NaN where a resample holds no positive at all.
    """
    some = ~np.isnan(per_class)
    shares = some if weights is None else np.where(some, weights, 0)
    with np.errstate(invalid="ignore"):
        means: NDArray[np.float64] = (np.where(some, per_class, 0) * shares).sum(axis=1) / shares.sum(axis=1)
    return means


def middle(values: NDArray[np.float64]) -> tuple[float, float]:
    """Edges between which LEVEL of the resamples lie, (resamples,); those without a value are left out."""
    low, high = np.nanpercentile(values, (100 * (1 - LEVEL) / 2, 100 * (1 + LEVEL) / 2))
    return float(low), float(high)


def _interval(values: NDArray[np.float64]) -> Interval:
    """The first value is the estimate, the rest are its resamples."""
    low, high = middle(values[1:])
    return Interval(estimate=float(values[0]), low=low, high=high)


def _enough(order: NDArray[np.int64], drawn: NDArray[np.int32], k: int) -> int:
    """Scenes from the top that hold at least K draws in every resample."""
    scenes = min(len(order), 2 * k)
    while scenes < len(order) and int(drawn[order[:scenes]].sum(axis=0).min()) < k:
        scenes = min(len(order), 2 * scenes)
    return scenes


def _gain(
    drawn: NDArray[np.int32], relevant: NDArray[np.bool_], k: int, harmonic: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sum over ranks up to K of precision x relevance, (resamples,); `drawn` is (ranked scenes, resamples).

    A positive scene with m copies after s draws with h hits adds the sum over j = 1..m of (h + j) / (s + j),
    which is m + (h - s) (H(s + m) - H(s)), H being the harmonic numbers.
    """
    copies = drawn[relevant]
    ends = np.cumsum(drawn, axis=0, dtype=np.int32)[relevant]
    before = ends - copies
    hits = np.cumsum(copies, axis=0, dtype=np.int32) - copies
    start, stop = np.minimum(before, k), np.minimum(ends, k)
    gained = (stop - start) + (hits - before) * (harmonic[stop] - harmonic[start])
    summed: NDArray[np.float64] = gained.sum(axis=0)
    return summed
