"""The paper's Table 5 and its other counts, beside those of a data set: what `gl10m stats` tells."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gl10m.manifest import parquet
from gl10m.manifest.columns import paired, texts, values
from gl10m.manifest.schema import FUNNEL, SCENES, SPLITS, Column, Table
from gl10m.report.facts import names_at_hand
from gl10m.report.funnel import paper_kept, published
from gl10m.report.terminal import columns
from gl10m.scene.class_map import ClassMap
from gl10m.scene.grid import TILES
from gl10m.scene.states import states
from gl10m.storage.place import Place

STATISTICS = Table(
    "statistics",
    "One number of a data set a row, beside the paper's",
    (
        Column("section", pa.string(), "-", "stats", "Table 5, states, classes, sensors"),
        Column("name", pa.string(), "-", "stats", "Split, stage, state or class that is counted; else all"),
        Column("measure", pa.string(), "-", "stats", "What is counted, with its unit"),
        Column("value", pa.float64(), "see measure", "stats", "Of the data set; null where there is none"),
        Column("paper", pa.float64(), "see measure", "paper Table 5, A.4, Figure 6", "Null where not told"),
    ),
)

_READ = [
    "scene_id",
    "state",
    "class_ids",
    "naip_date",
    "sentinel2_date",
    "cloud_cover",
    "days_between",
    "fallback",
    "black_lr",
]

_AS_A_DAY = ", yyyymmdd"
"""A day as a number: 2023-06-05 is 20230605."""

_STAGES = {"footprints": "Indexed candidates", "subsampling": "Download candidates"}
"""Stages after which the paper counts, in its words."""


@dataclass(frozen=True, slots=True)
class Count:
    """One number, beside the paper's."""

    section: str
    name: str
    measure: str
    value: float | None
    paper: float | None = None


@dataclass(frozen=True, slots=True)
class Statistics:
    """All counts of one data set, in order."""

    counts: tuple[Count, ...]

    @property
    def table(self) -> pa.Table:
        """Schema STATISTICS."""
        return pa.Table.from_pylist([asdict(count) for count in self.counts], schema=STATISTICS.schema)

    @property
    def text(self) -> str:
        """A table a section; the paper's number stands in brackets."""
        parts = [
            "\n".join([section, *_lines(list(counts))])
            for section, counts in groupby(self.counts, key=lambda count: count.section)
        ]
        return "\n\n".join(["the paper's numbers stand in brackets", *parts])

    def write(self, path: Path) -> None:
        """Write the table as Parquet.

        Raises:
            OSError: the file cannot be written.
        """
        parquet.write(path, self.table, STATISTICS, {})


def count_root(root: Place) -> Statistics:
    """Count a data set.

    Raises:
        ManifestNotFoundError: no data set stands there.
        ManifestError: a manifest is damaged.
    """
    scenes = parquet.read(root / "manifests" / "scenes.parquet", SCENES, _READ)
    funnel = parquet.read(root / "manifests" / "funnel.parquet", FUNNEL)
    path = root / "manifests" / "splits.parquet"
    splits = parquet.read(path, SPLITS) if path.exists() else SPLITS.empty()
    return Statistics(
        (
            *_table5(scenes, splits),
            *_construction(scenes, funnel),
            *_by_state(scenes),
            *_sensors(scenes),
            *_classes(scenes, splits, names_at_hand(root)),
        )
    )


def _lines(counts: Sequence[Count]) -> list[str]:
    """A section as a table: a row a name, a column a measure."""
    measures = list(dict.fromkeys(count.measure for count in counts))
    cells = {(count.name, count.measure): _cell(count) for count in counts}
    names = list(dict.fromkeys(count.name for count in counts))
    rows = [[name, *(cells.get((name, measure), "") for measure in measures), ""] for name in names]
    return [f"  {line}" for line in columns([["", *measures, ""], *rows])]


def _cell(count: Count) -> str:
    if count.value is None:
        return "-"
    own = f"{count.value:.0f}" if count.name.endswith(_AS_A_DAY) else _number(count.value)
    return own if count.paper is None else f"{own} ({_number(count.paper)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) else f"{value:,.2f}"


def _table5(scenes: pa.Table, splits: pa.Table) -> Iterator[Count]:
    """Scenes, tiles, concepts and regions of each split, and of all."""
    section, paper = "Table 5: splits", published()["splits"]
    split_of = paired(splits, "scene_id", "split")
    own = [split_of.get(name, "not split") for name in texts(scenes, "scene_id")]
    regions = Counter(state.split for state in states().values())
    concepts = len(ClassMap.bundled())
    for name in [*paper, *sorted(set(own) - set(paper))]:
        part = scenes.filter(pa.array([split == name for split in own], pa.bool_()))
        told = (paper[name], concepts, regions[name]) if name in paper else (None, None, None)
        yield from _row(section, name, part, told)
    yield from _row(section, "total", scenes, (sum(paper.values()), concepts, len(states())))


def _row(
    section: str, name: str, part: pa.Table, paper: tuple[int | None, int | None, int | None]
) -> Iterator[Count]:
    scenes, concepts, regions = paper
    yield Count(section, name, "scenes", part.num_rows, scenes)
    yield Count(section, name, "HR tiles", part.num_rows * TILES, None if scenes is None else scenes * TILES)
    yield Count(section, name, "concepts", len(set(_ids(part).tolist())), concepts)
    yield Count(section, name, "regions", len(set(values(part, "state"))), regions)
    yield Count(section, name, "tiles a scene", TILES if part.num_rows else None, scenes and TILES)


def _construction(scenes: pa.Table, funnel: pa.Table) -> Iterator[Count]:
    """Candidates indexed and for download, pairs kept."""
    section, told = "Table 5: construction", paper_kept()
    kept = Counter[str]()
    for row in funnel.to_pylist():
        kept[row["stage"]] += row["kept"]
    for stage, name in _STAGES.items():
        yield from _shares(section, name, kept[stage], told[stage], kept["footprints"])
    yield from _shares(section, "Final valid pairs", scenes.num_rows, told["consistency"], kept["footprints"])


def _shares(section: str, name: str, count: int, told: int, indexed: int) -> Iterator[Count]:
    yield Count(section, name, "scenes", count, told)
    share = round(100 * count / indexed, 2) if indexed else None
    yield Count(section, name, "% of indexed", share, round(100 * told / published()["indexed"], 1))


def _by_state(scenes: pa.Table) -> Iterator[Count]:
    """Scenes and labels of each state; the paper counts states by their split alone."""
    for state in sorted(set(texts(scenes, "state"))):
        part = scenes.filter(pc.equal(scenes["state"], pa.scalar(state)))
        yield Count("states", state, "scenes", part.num_rows)
        yield Count("states", state, "labels a scene", len(_ids(part)) / part.num_rows)
        yield Count("states", state, "concepts", len(set(_ids(part).tolist())))


def _sensors(scenes: pa.Table) -> Iterator[Count]:
    """Days, gaps, cloud and black pixels: least, median and most."""
    for name, measure in (
        ("days_between", "days, Sentinel-2 minus NAIP"),
        ("cloud_cover", "% cloud of the granule"),
        ("black_lr", "share of black LR pixels"),
    ):
        numbers: Any = scenes[name].drop_null().to_numpy()
        for word, number in (("least", np.min), ("median", np.median), ("most", np.max)):
            yield Count("sensors", measure, word, float(number(numbers)) if len(numbers) else None)
    for name, measure in (("naip_date", "NAIP day"), ("sentinel2_date", "Sentinel-2 day")):
        days = sorted(day for day in values(scenes, name) if day is not None)
        for word, place in (("least", 0), ("median", len(days) // 2), ("most", -1)):
            yield Count("sensors", f"{measure}{_AS_A_DAY}", word, _digits(days[place]) if days else None)
    fallback = [one for one in values(scenes, "fallback") if one is not None]
    yield Count("sensors", "scenes by fallback", "scenes", sum(fallback))


def _digits(day: Any) -> float:  # noqa: ANN401 - a datetime.date
    return float(day.strftime("%Y%m%d"))


def _classes(scenes: pa.Table, splits: pa.Table, names: Sequence[str]) -> Iterator[Count]:
    """Scenes that show each class, in all and in train and val, as Figure 6 counts; the frequent first."""
    split_of = paired(splits, "scene_id", "split")
    inside = [split_of.get(name) in {"train", "val"} for name in texts(scenes, "scene_id")]
    seen = Counter(_ids(scenes).tolist())
    learnt = Counter(_ids(scenes.filter(pa.array(inside, pa.bool_()))).tolist())
    told = {concept.name: concept.paper_count for concept in ClassMap.bundled().concepts}
    paper = published()["splits"]
    labels, paper_scenes = sum(count or 0 for count in told.values()), paper["train"] + paper["val"]
    yield Count("labels", "all", "labels", sum(seen.values()))
    mean = sum(seen.values()) / scenes.num_rows if scenes.num_rows else None
    yield Count("labels", "all", "labels a scene", mean, labels / paper_scenes)
    for number in sorted(range(len(names)), key=lambda number: (-seen[number], number)):
        yield Count("classes", names[number], "scenes", seen[number])
        yield Count("classes", names[number], "in train and val", learnt[number], told.get(names[number]))


def _ids(scenes: pa.Table) -> Any:  # noqa: ANN401 - an array of NumPy
    """Class ids of all labels, one after the other."""
    lists: Any = scenes["class_ids"].combine_chunks()
    return pc.list_flatten(lists).to_numpy(zero_copy_only=False)
