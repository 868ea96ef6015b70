"""One score matrix told apart by concepts seen in training (Base) and held out (Novel) (5.2.1)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reference_model.metrics.retrieval import NoEvaluableClassError, average_precision, ranked_relevance


def base_and_novel(
    scores: NDArray[np.floating],
    relevant: NDArray[np.bool_],
    novel: NDArray[np.bool_],
    ranks: Sequence[int],
    seed: int = 0,
) -> dict[str, dict[int, float]]:
    """mAP@K of Base and of Novel classes; both rank the same gallery of all scenes.

    Args:
        scores: (scenes, classes), higher is better.
        relevant: bool (scenes, classes).
        novel: bool (classes,), True for a held-out concept.
        ranks: K of mAP@K.
        seed: of the order of ties.

    Returns:
        mAP by K for "base" and "novel", over the classes that have a positive; a group without such a class
        is left out.

    Raises:
        NoEvaluableClassError: neither group has one.
        ValueError: the shapes differ or a score is NaN.
    """
    if novel.shape != scores.shape[1:]:
        raise ValueError(
            f"the mask of Novel classes has one entry a class; got {novel.shape} for {scores.shape}"
        )
    ranked = ranked_relevance(scores, relevant, seed)
    groups = {"base": ranked[:, ~novel], "novel": ranked[:, novel]}
    figures = {
        name: {k: float(np.nanmean(average_precision(own, k))) for k in ranks}
        for name, own in groups.items()
        if own.any()
    }
    if not figures:
        raise NoEvaluableClassError(
            f"average precision needs a class with a positive; none of {len(novel)} classes has one"
        )
    return figures
