"""Whether one method beats another, judged over seeds of training.

An interval over scenes of one pair of trained models is too narrow for that: in the pilots two seeds each
excluded zero, on opposite sides. The seed is the unit here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import cos, inf, pi, sin, sqrt
from typing import Literal

import numpy as np

from reference_model.metrics.bootstrap import LEVEL, Interval

Verdict = Literal["confirmed", "not separable", "reversed"]

FEWEST_SEEDS = 2
"""Seeds without which there is no spread to judge by; five are the rule, three the least, of a report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A claim "A is better than B" over several seeds."""

    differences: tuple[float, ...]
    """A minus B, one a seed; both of a pair share the seed."""

    interval: Interval
    """t-interval of their mean; infinite for fewer than two seeds."""

    @property
    def seeds(self) -> int:
        """How many there are."""
        return len(self.differences)

    @property
    def verdict(self) -> Verdict:
        """Confirmed or reversed only where the interval lies on one side of zero."""
        if not self.interval.excludes_zero:
            return "not separable"
        return "confirmed" if self.interval.low > 0 else "reversed"


def compare(one: Sequence[float], other: Sequence[float]) -> Comparison:
    """Judge "one is better than other" by the t-interval of per-seed differences.

    Args:
        one: a figure of the first method, one a seed.
        other: the same figure of the second method, with the same seeds in the same order.

    Raises:
        ValueError: there is no seed, the numbers of seeds differ, or a figure is not finite.
    """
    if len(one) != len(other):
        raise ValueError(f"a comparison pairs seeds; got {len(one)} and {len(other)} of them")
    differences = tuple(float(a) - float(b) for a, b in zip(one, other, strict=True))
    return Comparison(differences=differences, interval=t_interval(differences))


def t_interval(values: Sequence[float]) -> Interval:
    """Mean of the values with its two-sided 95 % interval under Student's t; infinite for a single value.

    Raises:
        ValueError: there is none, or one is not finite.
    """
    array = np.asarray(values, dtype=np.float64)
    if not array.size or not np.isfinite(array).all():
        raise ValueError(f"an interval over seeds needs finite values; got {list(values)}")
    mean = float(array.mean())
    if array.size < FEWEST_SEEDS:
        return Interval(estimate=mean, low=-inf, high=inf)
    reach = t_quantile(0.5 + LEVEL / 2, array.size - 1) * float(array.std(ddof=1)) / sqrt(array.size)
    return Interval(estimate=mean, low=mean - reach, high=mean + reach)


def t_quantile(share: float, freedom: int) -> float:
    """The value below which a share of Student's t distribution lies.

    Args:
        share: in [0.5, 1).
        freedom: degrees of freedom, at least 1.

    Raises:
        ValueError: a share or a number of degrees outside these.
    """
    if not 0.5 <= share < 1 or freedom < 1:  # noqa: PLR2004 - the upper half
        raise ValueError(
            f"the share lies in [0.5, 1) and the degrees of freedom are at least 1; got {share}, {freedom}"
        )
    low, high = 0.0, pi / 2
    for _ in range(200):
        middle = (low + high) / 2
        if 0.5 + _inside(middle, freedom) / 2 < share:
            low = middle
        else:
            high = middle
    return sqrt(freedom) * sin(low) / cos(low)


def _inside(angle: float, freedom: int) -> float:
    """Share of the distribution between -t and t; the tangent of the angle is t / sqrt(freedom).

    The finite sums of Abramowitz and Stegun, 26.7.3 and 26.7.4.
    """
    odd = freedom % 2
    term = cos(angle) if odd else 1.0
    total = 0.0 if freedom == 1 else term
    for step in range(2 + odd, freedom - 1, 2):
        term *= (step - 1) / step * cos(angle) ** 2
        total += term
    return 2 / pi * (angle + sin(angle) * total) if odd else sin(angle) * total
