"""Rank correlations, written out: SciPy is no dependency for two formulas."""

import numpy as np
from numpy.typing import NDArray


def ranks(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Ranks from 1, equal values sharing their mean rank: float64 (n,)."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean: NDArray[np.float64] = (last - (counts - 1) / 2)[place]
    return mean


def spearman(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Spearman's rho of two samples (n,); NaN where one of them does not vary."""
    first, second = ranks(one), ranks(other)
    first, second = first - first.mean(), second - second.mean()
    size = float(np.sqrt((first**2).sum() * (second**2).sum()))
    return float((first * second).sum()) / size if size else float("nan")


def kendall(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Kendall's tau-b of two samples (n,), ties heeded; NaN where one of them does not vary."""
    upper = np.triu_indices(len(one), 1)
    first = np.sign(np.subtract.outer(one, one))[upper]
    second = np.sign(np.subtract.outer(other, other))[upper]
    untied = float(np.sqrt(np.count_nonzero(first) * np.count_nonzero(second)))
    return float((first * second).sum()) / untied if untied else float("nan")
