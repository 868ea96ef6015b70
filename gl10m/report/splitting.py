"""Splits a data set, or proves how it is split, and says how it went: what `gl10m split` does."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from gl10m.manifest import parquet
from gl10m.manifest import split as rules
from gl10m.manifest.columns import paired, texts
from gl10m.manifest.leakage import coded, groups
from gl10m.manifest.schema import SCENES, SPLITS
from gl10m.manifest.split import SplitError
from gl10m.report.card import write_card
from gl10m.report.facts import names_at_hand
from gl10m.report.split_check import SplitCheck, check_splits
from gl10m.report.split_request import SplitRequest
from gl10m.report.terminal import columns, plain
from gl10m.storage.place import Place

COLUMNS = [
    "scene_id",
    "state",
    "longitude",
    "latitude",
    "bounds",
    "class_ids",
    "naip_items",
    "sentinel2_items",
]
"""Columns that the rules read."""

TOLERANCE = 0.02
"""A split whose share of the scenes is farther than this from what was asked for is named."""


_CAUSES = {
    "group": (
        "a group stays together, however large",
        "Take less in --shared: with sentinel-2 whole states hang together.",
    ),
    "block": ("blocks hold unequal numbers of scenes", "Take another --seed, or a smaller --block."),
    "random": ("few scenes are drawn, or many set aside", "Take another --seed, or split by group."),
}
"""Why shares are missed, and what to do about it, by kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One split, as it came out."""

    name: str
    scenes: int
    share: float
    """Of the scenes of the data set, 0..1."""
    asked: float | None
    """The share asked for, 0..1."""
    classes: int
    """Classes that occur in it."""
    absent: tuple[str, ...]
    """Classes that occur in the data set, but not in it."""
    aside: bool
    """Whether its scenes are set aside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Splitting:
    """What `gl10m split` tells."""

    rule: str
    parameters: dict[str, Any]
    scenes: int
    classes: int
    """Classes that occur in the data set."""
    parts: tuple[Part, ...]
    groups: tuple[int, int] | None
    """Of a split by group: how many groups there are, and scenes in the largest."""

    @property
    def text(self) -> str:
        """Scenes and classes of each split, and what falls short."""
        head = ["split", "scenes", "share", "asked", "classes", ""]
        rows = [
            [
                part.name,
                f"{part.scenes:,}",
                f"{part.share:.1%}",
                "" if part.asked is None else f"{part.asked:.1%}",
                f"{part.classes} of {self.classes}",
                "set aside" if part.aside else "",
            ]
            for part in self.parts
        ]
        lines = [f"split {self.scenes:,} scenes by {plain(self.rule)}", *columns([head, *rows])]
        if self.groups is not None:
            lines.append(f"{self.groups[0]:,} groups, the largest of {self.groups[1]:,} scenes")
        for part in self.parts:
            if not part.scenes:
                lines.append(f"{plain(part.name)} is empty")
            elif part.absent and not part.aside:
                absent = ", ".join(map(plain, part.absent))
                lines.append(f"{plain(part.name)} lacks {len(part.absent)} classes that occur: {absent}")
        return "\n".join([*lines, *self._missed()])

    def _missed(self) -> list[str]:
        """A line about shares that were not met."""
        missed = [part for part in self.parts if part.asked is not None and _misses(part, part.asked)]
        if not missed:
            return []
        names = ", ".join(plain(part.name) for part in missed)
        cause, remedy = _CAUSES[self.rule]
        away = f"more than {100 * TOLERANCE:.0f} points from the share asked for"
        return [f"{names}: {away}, since {cause}. {remedy}"]

    @property
    def record(self) -> dict[str, Any]:
        """The same as JSON can hold it."""
        return {
            "rule": self.rule,
            "parameters": self.parameters,
            "scenes": self.scenes,
            "classes": self.classes,
            "groups": None if self.groups is None else self.groups[0],
            "largest_group": None if self.groups is None else self.groups[1],
            "splits": [
                {name: getattr(part, name) for name in Part.__dataclass_fields__} for part in self.parts
            ],
        }


def split_root(root: Place, request: SplitRequest) -> Splitting:
    """Split a data set and write manifests/splits.parquet.

    Args:
        root: the data set.
        request: by which rule.

    Raises:
        ManifestNotFoundError: no data set stands there.
        SplitError: the rule does not say the split of every scene, or there is none.
    """
    scenes, names = _scenes(root), names_at_hand(root)
    splits = request.apply(scenes, names)
    rules.write_splits(root, splits, request.metadata(splits))
    write_card(root)  # which tells the splits
    return _described(scenes, splits, names, request)


def check_root(root: Place, *, pixels: bool = False) -> SplitCheck:
    """Look for ground, and pixels, that two splits of a data set share.

    Args:
        root: the data set.
        pixels: whether common pixels of an item count as well.

    Raises:
        ManifestNotFoundError: no data set stands there, or it is not split.
        ManifestError: a manifest is damaged.
    """
    path = root / "manifests" / "splits.parquet"
    scenes = _scenes(root)
    if not path.exists():
        raise parquet.ManifestNotFoundError(f"{root} is not split yet. Run `gl10m split --root {root}`.")
    return check_splits(scenes, parquet.read(path, SPLITS), aside_of(path), pixels=pixels)


def aside_of(path: Place) -> list[str]:
    """The splits whose scenes are set aside, as the manifest of the splits says.

    Raises:
        ManifestError: it says nothing that can be read.
    """
    said = parquet.metadata_of(path).get("gl10m.split_aside", "[]")
    try:
        return [str(name) for name in json.loads(said)]
    except (ValueError, TypeError, RecursionError):
        raise parquet.ManifestError(
            f"{path} says of the splits that are set aside {said[:80]!r}, which is no list. Split again."
        ) from None


def _misses(part: Part, asked: float) -> bool:
    return abs(part.share - asked) > TOLERANCE


def _scenes(root: Place) -> pa.Table:
    scenes = parquet.read(root / "manifests" / "scenes.parquet", SCENES, COLUMNS)
    if not scenes.num_rows:
        raise SplitError(
            f"{root} holds no scene to split; manifests/rejections.parquet says why, row by row, and "
            f"`gl10m stats --root {root}` in short."
        )
    return scenes


def _described(
    scenes: pa.Table, splits: pa.Table, class_names: Sequence[str], request: SplitRequest
) -> Splitting:
    split_of = paired(splits, "scene_id", "split")
    wanted = request.shares or {}
    code, known = coded([split_of[name] for name in texts(scenes, "scene_id")])
    held = _presence(scenes, code, len(known))
    occurs = np.flatnonzero(held.any(axis=0)).tolist()
    named = {
        number: class_names[number] if number < len(class_names) else f"class {number}" for number in occurs
    }
    parts = []
    for name in sorted(set(known) | set(wanted), key=_order(wanted)):
        count = int((code == known.index(name)).sum()) if name in known else 0
        own = held[known.index(name)] if name in known else np.zeros(held.shape[1], np.bool_)
        parts.append(
            Part(
                name=name,
                scenes=count,
                share=count / scenes.num_rows,
                asked=wanted.get(name),
                classes=int(own.sum()),
                absent=tuple(named[number] for number in occurs if not own[number]),
                aside=name in request.aside,
            )
        )
    return Splitting(
        rule=request.rule,
        parameters=request.parameters,
        scenes=scenes.num_rows,
        classes=len(occurs),
        parts=tuple(parts),
        groups=_group_sizes(scenes, request) if request.by == "group" else None,
    )


def _group_sizes(scenes: pa.Table, request: SplitRequest) -> tuple[int, int]:
    """How many groups there are, and scenes in the largest."""
    sizes = np.unique(groups(scenes, request.parameters["shared"]), return_counts=True)[1]
    return len(sizes), int(sizes.max())


def _order(wanted: Collection[str]) -> Any:  # noqa: ANN401 - a key for `sorted`
    """Train, val and test first, then what was asked for, then the others."""
    first = [*("train", "val", "test"), *wanted]
    return lambda name: (first.index(name) if name in first else len(first), name)


def _presence(scenes: pa.Table, code: Any, splits: int) -> Any:  # noqa: ANN401 - arrays of NumPy
    """Shape (splits, classes); True where a class occurs in a split."""
    lists: Any = scenes["class_ids"].combine_chunks()
    ids = pc.list_flatten(lists).to_numpy(zero_copy_only=False).astype(np.int64)
    rows = pc.list_parent_indices(lists).to_numpy()
    held = np.zeros((splits, int(ids.max(initial=0)) + 1), np.bool_)
    held[code[rows], ids] = True
    return held
