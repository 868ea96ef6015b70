"""Failures that are looked for by rule, not picked by hand (section F)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from reference_model.face import Method
from reference_model.reproduction.parts import Parts, cosines_to_full, over_unobserved

LEAST_CAPTURED = 0.25
"""A scene of whose labelled worth less is bought is missed."""

DRIFT_PERCENT = 1.0
"""Percentile of the cosine on unobserved tokens, at or below which a scene has drifted."""

MANY_LABELS = 8
STRUCTURED_PERCENT = 90.0
"""A complex scene has so many labels, and its mean s_vis is in the top tenth."""

MODES: Mapping[str, str] = MappingProxyType(
    {
        "missed": "worth of labelled tiles that were not bought",
        "drift": "centred cosine on unobserved tokens, lowest first",
        "complex": "score of its classes at full HR minus at sparse HR",
    }
)
"""The three modes, and what orders the scenes of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One held-out scene, measured for all modes."""

    row: int
    captured: float
    """Share of the worth of its labelled tiles that was bought; NaN where they have none."""

    missed_worth: float
    """Sum of G* over its labelled tiles that were not bought."""

    cosine: float
    """Mean centred cosine to H* over unobserved tokens; NaN where all were observed."""

    labels: int
    structure: float
    """Mean s_vis."""

    gap: float
    """Mean over its classes of the score at full HR minus that at sparse HR; NaN without a label."""

    modes: tuple[str, ...]
    """Keys of MODES that it belongs to."""

    def strength(self, mode: str) -> float:
        """What the scenes of a mode are ordered by, the worst with the highest."""
        return {"missed": self.missed_worth, "drift": -self.cosine, "complex": self.gap}[mode]


def mine(parts: Parts, method: Method) -> list[Case]:
    """Measure all held-out scenes.

    Args:
        parts: of the model.
        method: ours, whose scores at full and at sparse observation are compared.
    """
    rows = parts.test_rows()
    selected = parts.calibration.select(parts.scores[rows])
    worth, structure = parts.targets[rows], parts.structure[rows].mean(dim=1).numpy()
    labels = parts.setting.job.catalogue.labels[rows]
    labelled = parts.setting.job.catalogue.tile_labels[rows].any(dim=2)
    on_labels, bought = (worth * labelled).sum(dim=1), (worth * labelled * selected).sum(dim=1)
    captured = (bought / torch.where(on_labels > 0, on_labels, torch.nan)).numpy()
    cosines = cosines_to_full(parts, parts.completed, rows, selected)
    missing = np.array(over_unobserved(cosines, selected))
    gaps = _gaps(method, rows, selected, labels)
    counts = labels.sum(dim=1).numpy()
    drifting = _drifting(captured, missing)
    structured = structure >= np.percentile(structure, STRUCTURED_PERCENT)
    flags = {
        "missed": captured < LEAST_CAPTURED,
        "drift": drifting,
        "complex": structured & (counts >= MANY_LABELS) & (gaps > 0),
    }
    return [
        Case(
            row=int(row),
            captured=float(captured[place]),
            missed_worth=float(on_labels[place] - bought[place]),
            cosine=float(missing[place]),
            labels=int(counts[place]),
            structure=float(structure[place]),
            gap=float(gaps[place]),
            modes=tuple(mode for mode, flag in flags.items() if flag[place]),
        )
        for place, row in enumerate(rows)
    ]


def ranked_cases(cases: Sequence[Case], mode: str) -> list[Case]:
    """Scenes of a mode, the worst first."""
    own = [case for case in cases if mode in case.modes]
    return sorted(own, key=lambda case: (-case.strength(mode), case.row))


def _gaps(method: Method, rows: Tensor, selected: Tensor, labels: Tensor) -> NDArray[np.float64]:
    full = method.rank(method.embed(rows, torch.ones_like(selected)))
    sparse = method.rank(method.embed(rows, selected))
    gains = torch.where(labels, full - sparse, torch.nan).nanmean(dim=1)
    found: NDArray[np.float64] = gains.double().numpy()
    return found


def _drifting(
    captured: NDArray[np.float64],
    cosine: NDArray[np.float64],
) -> NDArray[np.bool_]:
    """Captured more than the median, yet among the worst on what was not observed; at least the worst."""
    known = np.isfinite(captured) & np.isfinite(cosine)
    if not known.any():
        return known
    fair = known & (captured > np.median(captured[known]))
    if not fair.any():
        return fair
    worst = max(np.percentile(cosine[known], DRIFT_PERCENT), float(cosine[fair].min()))
    drifting: NDArray[np.bool_] = fair & (cosine <= worst)
    return drifting
