"""Which classes stand in the same scene."""

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from gl10m.report.page.facts import label_matrix, largest_class, names_of_classes, scenes
from gl10m.report.page.numbers import count, percent
from gl10m.report.page.section import DataTable, Figure, Section
from gl10m.report.page.svg import drawing, element, text
from gl10m.storage.place import Place

LEVELS = (0.0, 0.05, 0.15, 0.3, 0.6)
"""A cell is as dark as the highest of these that its share exceeds."""

PAIRS_SHOWN = 40
"""Pairs in the table, the most frequent first."""

CELL, LEFT, TOP = 12, 110, 100


def together_section(root: Place) -> Section:
    """The matrix of classes that share a scene.

    Raises:
        ManifestNotFoundError: no data set stands there.
        ManifestError: the manifest is damaged, or lacks a column.
        StoreError: the index is damaged.
    """
    labels = scenes(root, ["class_ids"])["class_ids"]
    names = names_of_classes(root, largest_class(labels)).names
    matrix = label_matrix(labels, len(names)).astype(np.float32)
    both = (matrix.T @ matrix).astype(np.int64)
    order = sorted(
        np.flatnonzero(both.diagonal()).tolist(), key=lambda number: (-both[number, number], number)
    )
    both = both[np.ix_(order, order)]
    found = [names[number] for number in order]
    about = (
        "Read a row: of the scenes with the class at its left, the share that also carries the class of the "
        "column. Classes run from the most to the least frequent; those that never occur are left out."
    )
    if not found:
        return Section(
            anchor="together", title="Classes together", about=about, notices=("No scene carries a class.",)
        )
    return Section(
        anchor="together",
        title="Classes together",
        about=about,
        figures=(
            Figure(
                title="Share of the row's scenes that also carry the column's class",
                drawing=_matrix(both, found),
                note="Five steps, pale to dark: up to 5, 15, 30, 60 and 100 %. Point at a cell, or go to the "
                "matrix with Tab and move with the arrow keys, to read its numbers.",
                table=_pairs(both, found),
                wide=True,
            ),
        ),
        payload={"names": found, "both": both.reshape(-1).tolist()},
    )


def _matrix(both: NDArray[np.int64], names: list[str]) -> Markup:
    side = len(names)
    with np.errstate(invalid="ignore"):
        share = both / both.diagonal()[:, None]
    parts = []
    for level, low in enumerate(LEVELS):
        high = LEVELS[level + 1] if level + 1 < len(LEVELS) else 1.1
        rows, columns = np.nonzero((share > low) & (share <= high) & ~np.eye(side, dtype=np.bool_))
        # One path a level: 4,356 rectangles would be 300 kB.
        cells = "".join(
            f"M{LEFT + CELL * column} {TOP + CELL * row}h11v11h-11z"
            for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        )
        if cells:
            parts.append(element("path", d=cells, class_=f"level-{level + 1}"))
    diagonal = "".join(f"M{LEFT + CELL * place} {TOP + CELL * place}h11v11h-11z" for place in range(side))
    parts.append(element("path", d=diagonal, class_="ghost"))
    for place, name in enumerate(names):
        middle = TOP + CELL * place + 9
        parts.append(text(LEFT - 5, middle, name, "cell", "end"))
        x = LEFT + CELL * place + 9
        parts.append(
            element("text", name, x=x, y=TOP - 5, class_="cell", transform=f"rotate(-60 {x} {TOP - 5})")
        )
    width = LEFT + CELL * side + 60
    height = TOP + CELL * side + 4
    matrix = drawing(width, height, "Classes that share scenes", *parts, class_="chart matrix")
    # At its own size however many classes there are: the page scrolls it where it is too wide.
    return element("div", matrix, class_=f"sized-{min(-(-side // 11), 6)}")


def _pairs(both: NDArray[np.int64], names: list[str]) -> DataTable:
    upper = np.triu(both, 1)
    ranked = np.argsort(-upper, axis=None, kind="stable")[:PAIRS_SHOWN]
    rows = []
    for row, column in zip(*np.unravel_index(ranked, upper.shape), strict=True):
        shared = int(upper[row, column])
        if shared:
            rows.append(
                (
                    names[row],
                    names[column],
                    shared,
                    percent(shared, int(both[row, row])),
                    percent(shared, int(both[column, column])),
                )
            )
    return DataTable(
        caption=f"The {count(len(rows))} most frequent pairs of classes",
        head=("class", "other class", "scenes with both", "of the first", "of the other"),
        rows=rows,
    )
