"""Figure 8: from all HR to none. The table that the paper lacks stands beside the panels."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from reference_model.face import Method
from reference_model.metrics.observation_cost import obr
from reference_model.reproduction.correlation import kendall
from reference_model.reproduction.figures.canvas import Cell, bare, drawn, write_csv
from reference_model.reproduction.figures.completions import typical
from reference_model.reproduction.figures.pca import Basis
from reference_model.reproduction.intervals import Summary, over_scenes, over_some_scenes
from reference_model.reproduction.measure import Gallery, outcome
from reference_model.reproduction.parts import (
    Parts,
    centred_cosines,
    cosines_to_full,
    over_unobserved,
)
from reference_model.reproduction.record import Measurement

THRESHOLDS = (0.0, 0.1, 0.25, 0.45, 0.55, 0.65, 0.85, 1.0)
"""tau of Figure 8."""

SHARES = (1.0, 0.545, 0.37, 0.236, 0.123, 0.05, 0.018, 0.0)
"""OBR of the second sweep, where the thresholds of a flat sampler all buy nearly the same tiles."""

SCENES = 5
"""Scenes that are drawn, as in the paper."""

PNG, CSV, TEST_CSV = "figure-8.png", "figure-8.csv", "figure-8-progression.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One threshold."""

    sweep: str
    """"threshold" or "OBR": what was set."""

    set_to: float
    obr: float
    everywhere: Summary
    """Centred cosine to H* over all tokens, over scenes."""

    unobserved: Summary | None
    """Over the tokens that were not observed; None where all were."""

    quality: Measurement
    """Base mAP@100."""


def sweep(parts: Parts, method: Method) -> list[Step]:
    """Both sweeps, from all HR to none.

    Args:
        parts: of the model.
        method: ours, which ranks scenes by the completed features.
    """
    rows = parts.test_rows()
    scores = parts.scores[rows]
    steps = [
        _step(parts, method, "threshold", tau, parts.calibration.select(scores, tau)) for tau in THRESHOLDS
    ]
    ordered = torch.from_numpy(np.sort(parts.calibration.normalised(scores).numpy().ravel())[::-1].copy())
    for share in SHARES:
        bought = round(share * len(ordered))
        tau = 1.0 if bought == 0 else float(ordered[bought - 1])
        steps.append(_step(parts, method, "OBR", share, parts.calibration.select(scores, tau)))
    return steps


def draw_sweep(parts: Parts, method: Method, basis: Basis, folder: Path) -> None:
    """Write figure-8.png, figure-8.csv (a row a threshold) and figure-8-progression.csv.

    Raises:
        OSError: they cannot be written.
    """
    steps = sweep(parts, method)
    head = (
        *("sweep", "set to", "OBR", "centred cosine, all tokens", "low", "high"),
        *("centred cosine, unobserved tokens", "low", "high", "Base mAP@100", "low", "high"),
    )
    write_csv(folder / CSV, head, [_row(step) for step in steps])
    tests = [
        (name, *progression([step for step in steps if step.sweep == name])) for name in ("threshold", "OBR")
    ]
    told = ("sweep", "Kendall tau of step and cosine", "largest step over total drop", "steps that differ")
    write_csv(folder / TEST_CSV, told, tests)
    _draw(parts, basis, folder / PNG)


def progression(steps: list[Step]) -> tuple[float, float, int]:
    """Whether the way from all HR to none is progressive and not abrupt.

    Returns:
        Kendall's tau-b between the place of a step and the centred cosine over all tokens (-1: falls all the
        way), the largest fall between neighbours over the whole fall (1: all in one step), and how many OBR
        differ.
    """
    values = np.array([step.everywhere.mean for step in steps])
    falls = -np.diff(values)
    whole = float(values[0] - values[-1])
    largest = float(falls.max()) / whole if whole > 0 else float("nan")
    return (
        kendall(np.arange(len(steps), dtype=np.float64), values),
        largest,
        len({step.obr for step in steps}),
    )


def _step(parts: Parts, method: Method, sweep_name: str, set_to: float, selected: Tensor) -> Step:
    rows = parts.test_rows()
    cosines = cosines_to_full(parts, parts.completed, rows, selected)
    missing = over_unobserved(cosines, selected)
    found = outcome(Gallery.of(parts.setting), [method.rank(method.embed(rows, selected))], [selected])
    return Step(
        sweep=sweep_name,
        set_to=set_to,
        obr=obr(selected),
        everywhere=over_scenes([float(one.mean()) for one in cosines]),
        unobserved=over_some_scenes(missing),
        quality=found.metrics.get("base/mAP@100", Measurement(float("nan"))),
    )


def _row(step: Step) -> tuple[Cell, ...]:
    missing = step.unobserved
    apart = (None, None, None) if missing is None else (missing.mean, missing.low, missing.high)
    whole, quality = step.everywhere, step.quality
    return (
        *(step.sweep, step.set_to, step.obr, whole.mean, whole.low, whole.high, *apart),
        *(quality.value, quality.low, quality.high),
    )


def _draw(parts: Parts, basis: Basis, path: Path) -> None:
    every = parts.test_rows()
    places = typical(parts.calibration.select(parts.scores[every]), SCENES)
    rows = every[places]
    full = parts.full(rows)
    side = 1.25
    with drawn(path, side * len(THRESHOLDS) + 0.3, (side + 0.22) * len(rows) + 0.3) as figure:
        axes = figure.subplots(len(rows), len(THRESHOLDS), squeeze=False)
        for column, tau in enumerate(THRESHOLDS):
            selected = parts.calibration.select(parts.scores[rows], tau)
            completed = parts.completed(rows, selected)
            for place in range(len(rows)):
                axis = axes[place, column]
                axis.imshow(basis.picture(completed[place]), interpolation="nearest")
                bare(axis)
                cosine = float(centred_cosines(completed[place], full[place], parts.mean).mean())
                share = float(selected[place].float().mean())
                axis.set_xlabel(f"OBR {share:.2f}, cos {cosine:.2f}", fontsize=6.5, labelpad=2)
                if place == 0:
                    ends = {0.0: " (full HR)", 1.0: " (no HR)"}
                    axis.set_title(f"threshold {tau:.2f}{ends.get(tau, '')}", fontsize=7)
                if column == 0:
                    axis.set_ylabel(parts.setting.job.catalogue.scene_ids[int(rows[place])], fontsize=7)
