"""How figures look and are stored: one style, colours for the colour-blind, no global state."""

import contextlib
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gl10m.manifest.parquet import replacing

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#8C8C00")
"""Okabe and Ito's palette, its yellow darkened to be seen on white; lines differ by marker and dash too."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", "--", "-.", ":", "-", "--", "-.", ":")
_, _, GREEN, _, _, VERMILION, BLACK, _ = COLOURS

SEQUENTIAL = "cividis"
"""Colour map of quantities; it reads the same with and without colour vision."""

DOTS_PER_INCH = 120

Cell = str | int | float | None


@contextlib.contextmanager
def drawn(path: Path, width: float, height: float) -> Iterator[Any]:
    """A figure of matplotlib, stored as PNG when the block ends well.

    The same drawing gives the same bytes.

    Args:
        path: the PNG.
        width: inches.
        height: inches.

    Raises:
        OSError: it cannot be written.
    """
    import matplotlib as mpl  # noqa: PLC0415 - slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415 - as above

    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update({"font.size": 9, "axes.titlesize": 9, "svg.hashsalt": "gl10m"})
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        with replacing(path) as temporary:
            figure.savefig(temporary, dpi=DOTS_PER_INCH, format="png", metadata={"Software": "gl10m"})


def bare(axis: Any) -> None:  # noqa: ANN401 - matplotlib has no types
    """A picture needs no ticks."""
    axis.set_xticks([])
    axis.set_yticks([])


def write_csv(path: Path, head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
    """The numbers behind a figure, whole or not at all; six significant digits, LF.

    Raises:
        OSError: it cannot be written.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(head)
        writer.writerows([_shown(cell) for cell in row] for row in rows)


def _shown(cell: Cell) -> Cell:
    if isinstance(cell, float):
        return "" if cell != cell else f"{cell:.6g}"  # noqa: PLR0124 - NaN is not equal to itself
    return "" if cell is None else cell
