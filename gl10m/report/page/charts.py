"""The charts of the report, as SVG. Meaning is never in colour alone: patterns, shapes and words carry it.

Units are those of a phone's screen: a chart is 420 wide, so that its letters can be read there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from gl10m.report.page.numbers import count, percent, round_up, short
from gl10m.report.page.svg import drawing, element, text

WIDTH = 420
"""Width of every chart."""

ROW = 22
"""Height of a row of bars or dots."""


@dataclass(frozen=True, slots=True)
class Series:
    """The counts of one kind in each bin."""

    name: str
    counts: Sequence[int]
    style: str
    """CSS class, which gives colour and pattern: "a", "b", "c"."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One labelled bar."""

    name: str
    value: float
    shown: str
    """What stands at its end."""
    style: str = "a"


def bars(label: str, rows: Sequence[Bar], name_width: float = 130) -> Markup:
    """Horizontal bars from 0, each with its name before and its number behind."""
    most = max((row.value for row in rows), default=0) or 1
    room = WIDTH - name_width - 96
    parts = []
    for number, row in enumerate(rows):
        top = number * ROW
        length = max(room * row.value / most, 1.0 if row.value else 0.0)
        parts += [
            text(name_width - 8, top + 15, row.name, anchor="end"),
            element(
                "rect", x=name_width, y=top + 4, width=length, height=ROW - 8, class_=f"fill-{row.style}"
            ),
            text(name_width + length + 6, top + 15, row.shown, "number"),
        ]
    return drawing(WIDTH, max(ROW * len(rows), ROW), label, *parts)


def shares(label: str, rows: Sequence[tuple[str, Sequence[int], str]], styles: Sequence[str]) -> Markup:
    """Bars of 100 %, cut into parts.

    Args:
        label: what the drawing shows.
        rows: name, parts, and what stands behind the bar.
        styles: CSS class of each part.
    """
    left, right = 96, 92
    room = WIDTH - left - right
    parts = []
    for number, (name, values, shown) in enumerate(rows):
        top, start, whole = number * ROW, float(left), sum(values)
        parts += [
            text(left - 8, top + 15, name, anchor="end"),
            text(WIDTH, top + 15, shown, "number", "end"),
            element("rect", x=left, y=top + 4, width=room, height=ROW - 8, class_="ghost"),
        ]
        for value, style in zip(values, styles, strict=True):
            length = room * value / whole if whole else 0
            if length > 0:
                parts.append(
                    element("rect", x=start, y=top + 4, width=length, height=ROW - 8, class_=f"fill-{style}")
                )
            start += length
    return drawing(WIDTH, ROW * len(rows), label, *parts)


def histogram(
    label: str, names: Sequence[str], series: Sequence[Series], axis: str, every: int = 1
) -> Markup:
    """Upright bars of stacked counts.

    Args:
        label: what the drawing shows.
        names: of the bins.
        series: counts of each kind, from the bottom up.
        axis: words under the axis.
        every: so many bins from one tick to the next.
    """
    left, bottom, height = 40, 150, 190
    totals = [sum(values) for values in zip(*(kind.counts for kind in series), strict=True)]
    top = round_up(max(totals, default=0) or 1)
    step = (WIDTH - left - 6) / max(len(names), 1)
    parts = _lines(left, bottom, top)
    for place, name in enumerate(names):
        level = float(bottom)
        x = left + place * step
        for kind in series:
            tall = (bottom - 14) * kind.counts[place] / top
            if tall > 0:
                level -= tall
                said = f"{name}: {count(kind.counts[place])} {kind.name}"
                parts.append(
                    element(
                        "rect",
                        element("title", said),
                        x=x + 0.5,
                        y=level,
                        width=max(step - 1, 0.8),
                        height=tall,
                        class_=f"fill-{kind.style}",
                    )
                )
        if place % every == 0:
            parts.append(text(x + step / 2, bottom + 15, name, "tick", "middle"))
    parts.append(text((WIDTH + left) / 2, height - 6, axis, "axis", "middle"))
    return drawing(WIDTH, height, label, *parts)


def _lines(left: float, bottom: float, top: float) -> list[Markup]:
    parts = []
    for fraction in (0.0, 0.5, 1.0):
        y = bottom - (bottom - 14) * fraction
        parts += [
            element("line", x1=left, x2=WIDTH, y1=y, y2=y, class_="rule"),
            text(left - 5, y + 4, short(top * fraction), "tick", "end"),
        ]
    return parts


@dataclass(frozen=True, slots=True)
class Pair:
    """One row of two numbers that stand side by side."""

    name: str
    ours: float
    paper: float | None


def dots(label: str, rows: Sequence[Pair], lowest: float) -> Markup:
    """Two marks a row on a logarithmic axis that ends at 1: a dot for ours, an open diamond for the paper's.

    Args:
        label: what the drawing shows.
        rows: shares, 0..1.
        lowest: the share at the left end of the axis; what is 0 stands before it.
    """
    left, head = 128, 20
    room = WIDTH - left - 56
    height = head + ROW * 0.9 * len(rows) + 4

    def place(share: float) -> float:
        return left + room * (1 - math.log10(max(share, lowest)) / math.log10(lowest))

    parts = []
    for power in range(round(math.log10(lowest)), 1):
        x = place(10**power)
        parts += [
            element("line", x1=x, x2=x, y1=head - 4, y2=height, class_="rule"),
            text(x, 11, f"{100 * 10**power:g} %", "tick", "middle"),
        ]
    for number, row in enumerate(rows):
        y = head + ROW * 0.9 * number + 8
        parts.append(text(left - 10, y + 4, row.name, anchor="end"))
        if row.paper and row.ours:
            parts.append(
                element("line", x1=place(row.paper), x2=place(row.ours), y1=y, y2=y, class_="between")
            )
        if row.paper:
            x = place(row.paper)
            parts.append(element("path", d=f"M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z", class_="diamond"))
        if row.ours:
            parts.append(element("circle", cx=place(row.ours), cy=y, r=4, class_="dot"))
        shown = percent(row.ours, 1) if row.ours else "none"
        parts.append(text(WIDTH, y + 4, shown, "number" if row.ours else "number faint", "end"))
    return drawing(WIDTH, height, label, *parts)
