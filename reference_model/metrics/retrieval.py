"""How well a class name finds its scenes: AP@K and mAP@K (5.2.3)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


class NoEvaluableClassError(ValueError):
    """No class has a positive among the scenes to be ranked, so no average precision is defined."""


@dataclass(frozen=True, slots=True)
class Retrieval:
    """mAP@K of one gallery."""

    mean: float
    """mAP@K over the evaluated classes."""

    per_class: NDArray[np.float64]
    """AP@K, (classes,); NaN where the gallery has no positive."""


def ranked_relevance(
    scores: NDArray[np.floating], relevant: NDArray[np.bool_], seed: int = 0
) -> NDArray[np.bool_]:
    """Sort the gallery for every class, best first.

    Ties fall in a seeded random order: manifests are grouped, and their order would leak the class through
    ties.

    Args:
        scores: (scenes, classes), higher is better.
        relevant: bool (scenes, classes).
        seed: of the order of ties.

    Returns:
        bool (scenes, classes): whether the scene at each rank carries the class.

    Raises:
        ValueError: the shapes differ or a score is NaN.
    """
    return np.take_along_axis(relevant, ranking(scores, relevant, seed), axis=0)


def ranking(scores: NDArray[np.floating], relevant: NDArray[np.bool_], seed: int = 0) -> NDArray[np.int64]:
    """Scenes from best to worst for every class, int64 (scenes, classes); see `ranked_relevance`.

    Raises:
        ValueError: the shapes differ or a score is NaN.
    """
    if scores.shape != relevant.shape or np.isnan(scores).any():
        raise ValueError(
            f"scores and labels must have one shape and no NaN; got {scores.shape} and {relevant.shape}"
        )
    shuffled = np.random.default_rng(seed).permutation(len(scores))
    order: NDArray[np.int64] = shuffled[np.argsort(-scores[shuffled], axis=0, kind="stable")]
    return order


def average_precision(ranked: NDArray[np.bool_], k: int) -> NDArray[np.float64]:
    """AP@K = sum over ranks up to K of precision x relevance, over min(R, K), R being the positives.

    The normaliser is the best sum that any ranking could reach, so a perfect ranking scores 1. Dividing by
    the hits inside the top K instead would reward retrieving fewer positives.

    Args:
        ranked: bool (scenes, classes), see `ranked_relevance`.
        k: ranks that count, at least 1; beyond the gallery it means all of it.

    Returns:
        (classes,); NaN where R = 0.
    """
    best = np.minimum(ranked.sum(axis=0), k)
    with np.errstate(invalid="ignore"):
        return _precision_at_hits(ranked, k) / np.where(best > 0, best, np.nan)


def average_precision_over_hits(ranked: NDArray[np.bool_], k: int) -> NDArray[np.float64]:
    """The variant that divides by the hits inside the top K, 0 where there are none.

    Returns:
        (classes,); NaN where the gallery has no positive.
    """
    hits = ranked[:k].sum(axis=0)
    average = _precision_at_hits(ranked, k) / np.maximum(hits, 1)
    return np.where(ranked.any(axis=0), average, np.nan)


def mean_average_precision(
    scores: NDArray[np.floating], relevant: NDArray[np.bool_], k: int, seed: int = 0
) -> Retrieval:
    """mAP@K over the classes that have a positive in the gallery.

    Args:
        scores: (scenes, classes), higher is better.
        relevant: bool (scenes, classes).
        k: ranks that count.
        seed: of the order of ties.

    Raises:
        NoEvaluableClassError: no class has a positive.
    """
    require_positives(relevant)
    per_class = average_precision(ranked_relevance(scores, relevant, seed), k)
    return Retrieval(float(np.nanmean(per_class)), per_class)


def macro_average_precision(
    scores: NDArray[np.floating], relevant: NDArray[np.bool_], seed: int = 0
) -> Retrieval:
    """Macro mAP of zero-shot recognition: AP over the full list (K is the gallery), averaged over classes.

    Raises:
        NoEvaluableClassError: no class has a positive.
    """
    return mean_average_precision(scores, relevant, len(scores), seed)


def accuracy(scores: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """Top-1 accuracy: the share of images whose best class is the true one. Of equal scores the first wins.

    Args:
        scores: (images, classes), higher is better.
        truth: the class of each image, (images,).

    Raises:
        ValueError: the shapes differ, there is no image, or a score is NaN.
    """
    if scores.ndim != 2 or scores.shape[:1] != truth.shape or not len(truth) or np.isnan(scores).any():  # noqa: PLR2004
        raise ValueError(
            f"accuracy needs scores (images, classes) without NaN and one class an image; got "
            f"{scores.shape} and {truth.shape}"
        )
    return float((scores.argmax(axis=1) == truth).mean())


def require_positives(relevant: NDArray[np.bool_]) -> None:
    """Make sure that a gallery can be evaluated at all.

    Args:
        relevant: bool (scenes, classes).

    Raises:
        NoEvaluableClassError: no class has a positive.
    """
    if not relevant.any():
        raise NoEvaluableClassError(
            f"average precision needs a class with a positive; none of {relevant.shape[1]} classes has one "
            f"among {len(relevant)} held-out scenes. Hold out more scenes, or build more states."
        )


def chance_level(relevant: NDArray[np.bool_]) -> float:
    """Mean prevalence of the classes that have a positive: about the mAP of a random ranking."""
    share = relevant.mean(axis=0)
    return float(share[share > 0].mean())


def _precision_at_hits(ranked: NDArray[np.bool_], k: int) -> NDArray[np.float64]:
    top = ranked[:k]
    precision = np.cumsum(top, axis=0) / np.arange(1, len(top) + 1)[:, None]
    summed: NDArray[np.float64] = (precision * top).sum(axis=0)
    return summed
