"""Figure 4: quality against the depth of the ranking, and against the share of HR that is bought."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from reference_model.metrics.observation_cost import DEFAULT_OBR
from reference_model.reproduction.figures.canvas import COLOURS, DASHES, MARKERS, Cell, drawn, write_csv
from reference_model.reproduction.intervals import Summary, summarise
from reference_model.reproduction.measure import DEPTHS
from reference_model.reproduction.record import MEASURED, Record, identity

BUDGETS = (0.018, 0.05, 0.123, 0.236, 0.37, 0.545)
"""OBR of Figure 4b, beside 0 and 1."""

METHODS: Mapping[str, str] = MappingProxyType(
    {
        "ours": "sampler + predictor",
        "random": "random + predictor",
        "random-no-predictor": "random, no predictor",
        "no-predictor": "sampler, no predictor",
        "lr-filling": "sampler, LR filling",
        "sar-sparse": "SAR",
        "sar-night-lights": "SAR, night lights",
        "patchdrop": "PatchDrop",
    }
)
"""Sparse methods by name, as the legend calls them."""

IN_4B = ("ours", "random", "random-no-predictor")
"""Methods whose whole curve is drawn, beside LR alone."""

LR_ONLY, FULL = "lr-only", "full"

LR_NAME = "LR only"
"""What the legend calls the level line."""

MOST_BANDS = 4
"""Curves that have bands; more have bars."""

A_PNG, A_CSV, B_PNG, B_CSV = "figure-4a.png", "figure-4a.csv", "figure-4b.png", "figure-4b.csv"


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a curve."""

    x: float
    y: Summary
    seeds: int


Curve = tuple[str, list[Point]]


def depth_curves(records: Iterable[Record]) -> list[Curve]:
    """Base mAP@K against K at one cost, a curve a sparse method."""
    by_key = _measured(records)
    found: list[Curve] = []
    for method, name in METHODS.items():
        own = by_key.get(identity(method, DEFAULT_OBR), [])
        points = [
            Point(float(k), summarise([record.metrics[metric] for record in own]), len(own))
            for k in DEPTHS
            if own and all((metric := f"base/mAP@{k}") in record.metrics for record in own)
        ]
        if points:
            found.append((name, points))
    return found


def budget_curves(records: Iterable[Record]) -> list[Curve]:
    """Base mAP@100 against the OBR that was reached, a curve a method; LR alone is a level line."""
    by_key, metric = _measured(records), "base/mAP@100"
    ends = {obr: by_key.get(method, []) for obr, method in ((0.0, LR_ONLY), (1.0, FULL))}
    found: list[Curve] = []
    for method in IN_4B:
        points = [
            Point(
                summarise([record.metrics["OBR"] for record in own]).mean,
                summarise([record.metrics[metric] for record in own]),
                len(own),
            )
            for budget in BUDGETS
            if (own := by_key.get(identity(method, budget), []))
            and all(metric in record.metrics for record in own)
        ]
        if points and method != "random-no-predictor":
            # With nothing and with everything bought, sampler and random tiles are one and the same.
            points += [
                Point(obr, summarise([one.metrics[metric] for one in own]), len(own))
                for obr, own in ends.items()
                if own and all(metric in one.metrics for one in own)
            ]
        if points:
            found.append((METHODS[method], sorted(points, key=lambda point: point.x)))
    level = ends[0.0]
    if level and all(metric in record.metrics for record in level):
        flat = summarise([record.metrics[metric] for record in level])
        found.append((LR_NAME, [Point(0.0, flat, len(level)), Point(1.0, flat, len(level))]))
    return found


def draw_depths(records: Iterable[Record], folder: Path, scenes: int) -> bool:
    """Write figure-4a.png and figure-4a.csv; False where no record tells of it.

    Args:
        records: of any rows.
        folder: where the files go.
        scenes: held-out scenes; a K beyond ranks all of them.

    Raises:
        OSError: they cannot be written.
    """
    curves = depth_curves(records)
    _write(folder / A_CSV, "K", "Base mAP@K", curves)
    if not curves:
        return False
    with drawn(folder / A_PNG, 6.2, 4.6) as figure:
        axis = _plot(figure, curves)
        axis.set_xscale("log")
        axis.set_xticks(DEPTHS, [str(k) for k in DEPTHS])
        axis.minorticks_off()
        axis.set_xlabel("K, ranks that count")
        axis.set_ylabel("Base mAP@K")
        beyond = f"; a K beyond ranks all {scenes}" if scenes < max(DEPTHS) else ""
        axis.set_title(f"Retrieval depth, OBR {DEFAULT_OBR:g}, {scenes} held-out scenes{beyond}")
    return True


def draw_budgets(records: Iterable[Record], folder: Path, scenes: int) -> bool:
    """Write figure-4b.png and figure-4b.csv; False where no record tells of it.

    Args:
        records: of any rows.
        folder: where the files go.
        scenes: held-out scenes.

    Raises:
        OSError: they cannot be written.
    """
    curves = budget_curves(records)
    _write(folder / B_CSV, "OBR", "Base mAP@100", curves)
    if not curves:
        return False
    with drawn(folder / B_PNG, 6.2, 4.6) as figure:
        axis = _plot(figure, curves)
        axis.set_xlim(-0.02, 1.02)
        axis.set_xlabel("OBR, share of HR tiles bought")
        axis.set_ylabel("Base mAP@100")
        axis.set_title(f"Observation budget, {scenes} held-out scenes")
    return True


def _measured(records: Iterable[Record]) -> dict[str, list[Record]]:
    found: dict[str, list[Record]] = {}
    for record in records:
        if record.status == MEASURED:
            found.setdefault(identity(record.method, record.target_obr), []).append(record)
    return found


def _plot(figure: Any, curves: Sequence[Curve]) -> Any:  # noqa: ANN401 - matplotlib has no types
    """Draw curves with their intervals; returns the axes.

    Few curves have bands. Many bands over one another are mud: more curves have bars, set apart a little.
    """
    axis = figure.subplots()
    banded = len(curves) <= MOST_BANDS
    for place, (name, points) in enumerate(curves):
        look = {"color": COLOURS[place % len(COLOURS)], "linestyle": DASHES[place % len(DASHES)]}
        marker = None if name == LR_NAME else MARKERS[place % len(MARKERS)]
        x, y = [point.x for point in points], [point.y.mean for point in points]
        axis.plot(x, y, marker=marker, linewidth=1.6, markersize=5, label=name, **look)
        spread = [(point.x, point.y) for point in points if point.y.low is not None]
        known = [(at, found.mean, found.low, found.high) for at, found in spread]
        if not known:
            continue
        where, mean, low, high = (np.array(values, dtype=float) for values in zip(*known, strict=True))
        if banded:
            axis.fill_between(where, low, high, color=look["color"], alpha=0.1, linewidth=0)
            for edge in (low, high):
                axis.plot(where, edge, linewidth=0.5, **look)
        else:
            aside = where * 1.03 ** (place - (len(curves) - 1) / 2)
            reach = [mean - low, high - mean]
            axis.errorbar(aside, mean, reach, fmt="none", ecolor=look["color"], elinewidth=0.8, capsize=2)
    axis.grid(color="#dddddd", linewidth=0.6)
    kind = "bands" if banded else "bars"
    figure.legend(frameon=False, loc="outside lower center", ncols=3, title=f"{kind}: 95 % interval")
    return axis


def _write(path: Path, x: str, y: str, curves: Sequence[Curve]) -> None:
    rows: list[tuple[Cell, ...]] = [
        (name, point.x, point.y.mean, point.y.low, point.y.high, point.y.over, point.seeds)
        for name, points in curves
        for point in points
    ]
    write_csv(path, ("method", x, y, "low", "high", "interval over", "seeds"), rows)
