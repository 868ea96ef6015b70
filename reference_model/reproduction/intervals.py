"""How sure a number is: over the seeds where there are several, else over the held-out scenes of the one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from reference_model.metrics.bootstrap import middle, resampled
from reference_model.metrics.seeds import t_interval
from reference_model.reproduction.record import Measurement

Over = Literal["seeds", "scenes", "nothing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A mean over seeds and its 95 % interval."""

    mean: float
    low: float | None
    high: float | None
    over: Over
    """What the interval is over; scenes alone understate how much two trainings differ."""


def summarise(measured: Sequence[Measurement]) -> Summary:
    """Bring the seeds of one number together.

    Args:
        measured: one a seed, at least one.

    Raises:
        ValueError: there is none.
    """
    if len(measured) == 1:
        (one,) = measured
        over: Over = "nothing" if one.low is None else "scenes"
        return Summary(mean=one.value, low=one.low, high=one.high, over=over)
    found = t_interval([one.value for one in measured])
    return Summary(mean=found.estimate, low=found.low, high=found.high, over="seeds")


def over_some_scenes(values: Sequence[float], seed: int = 0) -> Summary | None:
    """As `over_scenes`; None where no value is a number: there is no scene to tell of."""
    return over_scenes(values, seed) if np.isfinite(values).any() else None


def over_scenes(values: Sequence[float], seed: int = 0) -> Summary:
    """Mean of one number a scene, with its bootstrap interval; NaN is left out.

    Args:
        values: one a scene, at least one of them a number.
        seed: of the resamples.

    Raises:
        ValueError: no value is a number.
    """
    array = np.asarray(values, dtype=np.float64)
    array = array[np.isfinite(array)]
    if not len(array):
        raise ValueError("a mean over scenes needs a scene with a number; none has one")
    means = resampled(len(array), seed=seed) @ array / len(array)
    low, high = middle(means)
    return Summary(mean=float(array.mean()), low=low, high=high, over="scenes")
