"""What observation costs (OBR, MOCR) and the shared threshold that meets a target cost (4.2, 5.2.3, E.3)."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

DEFAULT_OBR = 0.123
"""Share of HR area that the paper's default threshold buys (Table 1)."""

NORMALISING = (0.1, 99.9)
"""Percentiles of the validation scores that become 0 and 1."""

BELOW_ONE = 1 - 1e-6
"""Highest normalised score: a threshold of 1 selects nothing."""

PRICES: Mapping[float, float] = MappingProxyType({10.0: 0.0, 1.0: 1.0})
"""Cost per square metre by ground sample distance in metres: LR is free, so that MOCR equals OBR."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """The operating point of one sampler: a common scale and a threshold on it."""

    low: float
    """Score that becomes 0."""

    high: float
    """Score that becomes 1."""

    threshold: float
    """tau: tiles whose normalised score is at least this are observed."""

    target_obr: float
    """What was asked for."""

    obr: float
    """What the threshold gives on the scores it was chosen on."""

    def __post_init__(self) -> None:
        """Refuse what no calibration gives; these numbers come out of files.

        Raises:
            ValueError: a number is none, or the threshold does not lie in [0, 1].
        """
        numbers: tuple[object, ...] = (self.low, self.high, self.threshold, self.target_obr, self.obr)
        if not all(isinstance(one, int | float) and isfinite(one) for one in numbers) or not (
            0 <= self.threshold <= 1
        ):
            raise ValueError(
                "a calibration has five finite numbers, its threshold lies in [0, 1]; got a threshold of "
                f"{self.threshold!r} on a scale from {self.low!r} to {self.high!r}. Calibrate anew."
            )

    def normalised(self, scores: Tensor) -> Tensor:
        """Scores of any shape on the common scale, float64 in [0, 1).

        Raises:
            ValueError: a score is NaN, which no threshold would choose and nobody would miss.
        """
        if bool(scores.isnan().any()):
            raise ValueError(
                f"tiles are chosen by scores; {int(scores.isnan().sum())} of {scores.numel()} are NaN. Train "
                "the model that gives them anew."
            )
        span = self.high - self.low
        if span <= 0:
            return torch.zeros_like(scores, dtype=torch.float64)
        return ((scores.double() - self.low) / span).clamp(0, BELOW_ONE)

    def select(self, scores: Tensor, threshold: float | None = None) -> Tensor:
        """Choose tiles: 0 takes all, 1 takes none, and a higher threshold never adds a tile.

        Args:
            scores: the sampler's scores, (N, 100).
            threshold: tau in [0, 1]; the calibrated one if None.

        Returns:
            bool (N, 100).

        Raises:
            ValueError: a score is NaN.
        """
        return self.normalised(scores) >= (self.threshold if threshold is None else threshold)


def calibrate(scores: Tensor, target_obr: float = DEFAULT_OBR) -> Calibration:
    """Find the threshold whose OBR on validation scores comes nearest to the target.

    Without ties it is met to within one tile; of two equally near thresholds the cheaper one is taken.

    Args:
        scores: the sampler's scores of validation scenes, (N, 100). Test scenes have no place here.
        target_obr: share of tiles to observe, in [0, 1].

    Raises:
        ValueError: no scores, scores that are not finite, or a target outside [0, 1].
    """
    if not 0 <= target_obr <= 1:
        raise ValueError(f"an OBR lies in [0, 1]; asked for {target_obr}")
    if scores.numel() == 0 or not bool(torch.isfinite(scores).all()):
        raise ValueError(
            f"calibration needs finite scores; got {tuple(scores.shape)} with NaN or none at all"
        )
    low, high = (float(edge) for edge in np.percentile(scores.double().numpy(), NORMALISING))
    unset = Calibration(low=low, high=high, threshold=1.0, target_obr=target_obr, obr=0.0)
    values, counts = np.unique(unset.normalised(scores).numpy(), return_counts=True)
    candidates = np.append(values, 1.0)
    taken = np.append(counts[::-1].cumsum()[::-1], 0) / scores.numel()
    # Ascending thresholds buy less and less; searching from the dear end keeps the cheaper one of a tie.
    best = len(candidates) - 1 - int(np.abs(taken - target_obr)[::-1].argmin())
    return Calibration(
        low=low,
        high=high,
        threshold=float(candidates[best]),
        target_obr=target_obr,
        obr=float(taken[best]),
    )


def obr(selected: Tensor) -> float:
    """Observation budget ratio (Eq. 12): selected tiles, bool (N, 100), over all; they are of equal area."""
    return float(selected.double().mean())


def mocr(
    requests: Iterable[tuple[float, float]], area: float, prices: Mapping[float, float] = PRICES
) -> float:
    """Multi-scale observation cost ratio (Eq. 10 and 11): the price of all requests over that of full HR.

    Args:
        requests: (area in square metres, ground sample distance in metres) of every acquisition. The same
            ground may be bought twice, so the ratio can exceed 1.
        area: A, the whole area, square metres.
        prices: c(r), cost per square metre by ground sample distance in metres. The finest one is the
            reference, whatever the coarser ones cost.

    Raises:
        ValueError: a request has a ground sample distance without a price, an area or a price is negative or
            not finite, or the whole area or the price of the finest resolution is 0.
    """
    reference = area * prices[min(prices)] if prices else 0.0
    if not (isfinite(reference) and reference > 0 and area > 0) or not all(map(_is_amount, prices.values())):
        raise ValueError(
            "costs are told against the whole area at its finest resolution, whose price is above 0; got an "
            f"area of {area} square metres and the prices {dict(prices)}. Give finite prices from 0 on."
        )
    spent = 0.0
    for ground, distance in requests:
        if distance not in prices:
            known = ", ".join(f"{one} m" for one in sorted(prices))
            raise ValueError(f"prices are known for {known}; a request asks for {distance} m. Add its price.")
        if not _is_amount(ground):
            raise ValueError(
                f"a request is for an area of 0 square metres or more; got {ground}. Leave it out."
            )
        spent += ground * prices[distance]
    return spent / reference


def _is_amount(value: float) -> bool:
    return isfinite(value) and value >= 0
