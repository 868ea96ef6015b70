"""What became of each ordering, over all seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reference_model.experiments.protocol import Ordering, Protocol
from reference_model.metrics.bootstrap import middle
from reference_model.metrics.seeds import Comparison, compare

BASE = "base/mAP@100"
"""The figure whose spread over scenes is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedResult:
    """All figures of one seed."""

    seed: int
    runs: Mapping[str, Mapping[str, float]]
    """Figures by run."""

    resampled: Mapping[str, NDArray[np.float64]]
    """Base mAP@100 by run in the same resamples of scenes."""

    training: Mapping[str, float]
    """What the gates look at."""

    sweep: Sequence[Mapping[str, float]]
    """Thresholds with what they buy and give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One ordering."""

    ordering: Ordering
    comparison: Comparison
    over_scenes: tuple[tuple[float, float], ...]
    """95 % of the difference over resamples of scenes, one pair a seed; NaN for another figure than Base
    mAP@100."""

    apart: float
    """Largest difference of the two realised OBRs."""


def outcome(ordering: Ordering, results: Sequence[SeedResult]) -> Outcome:
    """Judge one ordering by the t-interval of per-seed differences.

    Every seed has a world of its own, so the spread over seeds holds that over scenes; the bootstrap over
    scenes of each seed is shown beside it.

    Args:
        ordering: what is claimed.
        results: of all seeds.
    """
    pairs = [(one.runs[ordering.better], one.runs[ordering.worse]) for one in results]
    comparison = compare(
        [better[ordering.metric] for better, _ in pairs], [worse[ordering.metric] for _, worse in pairs]
    )
    return Outcome(
        ordering=ordering,
        comparison=comparison,
        over_scenes=tuple(_over_scenes(ordering, one) for one in results),
        apart=max(abs(better["OBR"] - worse["OBR"]) for better, worse in pairs),
    )


def outcomes(protocol: Protocol, results: Sequence[SeedResult]) -> list[Outcome]:
    """All orderings of a protocol; none is left out."""
    return [outcome(one, results) for one in protocol.orderings]


def _over_scenes(ordering: Ordering, result: SeedResult) -> tuple[float, float]:
    if ordering.metric != BASE:
        return float("nan"), float("nan")
    difference = result.resampled[ordering.better] - result.resampled[ordering.worse]
    return middle(difference)
