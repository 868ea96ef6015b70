"""How many scenes carry each class, beside Figure 6 of the paper."""

import numpy as np
from numpy.typing import NDArray

from gl10m.report.funnel import published
from gl10m.report.page.charts import Pair, dots
from gl10m.report.page.facts import (
    Names,
    label_matrix,
    largest_class,
    names_of_classes,
    scenes,
    splits_of,
)
from gl10m.report.page.numbers import NOTHING, count, percent
from gl10m.report.page.section import DataTable, Figure, Section
from gl10m.scene.class_map import ClassMap
from gl10m.storage.place import Place

FIGURE_6_SPLITS = ("train", "val")
"""Figure 6 counts the labels of train and validation together."""

LOWEST_SHARE = 1e-4
"""Left end of the axis: the paper's rarest class, 15 of 94,077 scenes, is a little right of it."""


def class_section(root: Place) -> Section:
    """Share of the scenes that carry each class.

    Raises:
        ManifestNotFoundError: a manifest is missing.
        ManifestError: a manifest is damaged.
        StoreError: the index is damaged.
    """
    table = scenes(root, ["scene_id", "class_ids"])
    names = names_of_classes(root, largest_class(table["class_ids"]))
    matrix = label_matrix(table["class_ids"], len(names.names))
    splits = splits_of(root, table["scene_id"])
    chosen = np.isin(splits, FIGURE_6_SPLITS) if splits is not None else np.zeros(len(matrix), np.bool_)
    basis = "train and val"
    if not chosen.any():
        chosen, basis = np.ones(len(matrix), np.bool_), "all"
    found = matrix[chosen].sum(axis=0)
    total, scene_count = int(found.sum()), int(chosen.sum())
    figures, table_rows = _figures(names, found, scene_count), _rows(names, found, scene_count)
    mean = f"{total / scene_count:.1f}" if scene_count else NOTHING
    return Section(
        anchor="classes",
        title="Classes",
        about=f"{int((found > 0).sum())} of {len(names.names)} classes occur. {count(total)} labels on "
        f"{count(scene_count)} scenes ({basis}), {mean} a scene; Figure 6 has 6.2. Filled dot: share of "
        "these scenes that carry the class. Open diamond: the paper's share. The axis is logarithmic.",
        notices=_notices(names, basis),
        figures=(
            *figures,
            Figure(
                title="All classes as a table",
                drawing=None,
                note=_honesty(),
                table=DataTable(
                    caption=f"Scenes that carry each class ({basis})",
                    head=("class", "scenes", "share", "Figure 6", "paper's share"),
                    rows=table_rows,
                ),
                wide=True,
            ),
        ),
    )


def _honesty() -> str:
    """What is known of Figure 6, and what is not."""
    counts = figure_6()
    scenes_there = _scenes_in_figure_6()
    return (
        "Figure 6 is a picture: the paper's text and tables print no count of any class. The counts here "
        "are those of the class map (paper_count), taken from that picture: "
        f"{count(sum(counts.values()))} labels over the {count(scenes_there)} scenes of train and val in "
        "Table 5. Nothing in the text confirms them one by one. Shares are compared, since data sets of "
        "different size have different counts."
    )


def figure_6() -> dict[str, int]:
    """The counts of Figure 6 by class, as the class map gives them."""
    return {
        concept.name: concept.paper_count
        for concept in ClassMap.bundled().concepts
        if concept.paper_count is not None
    }


def _scenes_in_figure_6() -> int:
    splits = published()["splits"]
    return sum(int(splits[name]) for name in FIGURE_6_SPLITS)


def _notices(names: Names, basis: str) -> tuple[str, ...]:
    found = []
    if not names.known:
        found.append(
            "The names of the classes are not at hand: the data set has no index, and was not made with the "
            "class map of this gl10m. Classes are shown by number."
        )
    if basis == "all":
        found.append(
            "The data set has no train or val split yet, so all scenes are counted. `gl10m split` makes one."
        )
    return tuple(found)


def _ordered(names: Names, found: NDArray[np.int64]) -> list[int]:
    """Classes from the most frequent in the paper to the rarest, others after them by our own counts."""
    paper = figure_6()
    return sorted(
        range(len(names.names)),
        key=lambda number: (-paper.get(names.names[number], -1), -int(found[number]), number),
    )


def _figures(names: Names, found: NDArray[np.int64], scene_count: int) -> tuple[Figure, ...]:
    paper, whole = figure_6(), _scenes_in_figure_6()
    pairs = [
        Pair(
            names.names[number],
            int(found[number]) / scene_count if scene_count else 0,
            paper[names.names[number]] / whole if names.names[number] in paper else None,
        )
        for number in _ordered(names, found)
    ]
    half = -(-len(pairs) // 2)
    parts = [("Frequent classes", pairs[:half]), ("Rare classes", pairs[half:])]
    return tuple(
        Figure(
            title=title,
            drawing=dots(f"{title}: share of scenes, ours and the paper's", part, LOWEST_SHARE),
        )
        for title, part in parts
        if part
    )


def _rows(
    names: Names, found: NDArray[np.int64], scene_count: int
) -> list[tuple[str, int, str, int | None, str]]:
    paper, whole = figure_6(), _scenes_in_figure_6()
    rows = []
    for number in _ordered(names, found):
        name = names.names[number]
        theirs = paper.get(name)
        share = percent(theirs, whole) if theirs is not None else ""
        rows.append((name, int(found[number]), percent(int(found[number]), scene_count), theirs, share))
    return rows
