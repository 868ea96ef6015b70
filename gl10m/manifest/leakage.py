"""Which scenes show the same ground or come from the same image, so that splits can be kept apart."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

SHARED: Final = frozenset({"ground", "naip", "sentinel-2"})
"""What two scenes of a group may share."""

_TOUCHING = 1e-9
"""Footprints that overlap by less than this share have a border in common, but for rounding."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """Two scenes of different splits that show the same ground."""

    first: str
    first_split: str
    second: str
    second_split: str
    share: float
    """Of the footprint, 0..1."""

    def __str__(self) -> str:
        return (
            f"{self.first} ({self.first_split}) and {self.second} ({self.second_split}) share "
            f"{self.share:.1%} of their ground"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitReport:
    """What `gl10m split --check` tells."""

    scenes: dict[str, int]
    """Scenes of each split."""
    unassigned: tuple[str, ...]
    """Scenes of the data set without a split."""
    foreign: tuple[str, ...]
    """Scenes of the splits manifest that the data set does not have."""
    overlaps: tuple[Overlap, ...]
    """Pairs in different splits that show the same ground, largest overlap first."""
    shared_items: tuple[str, ...]
    """NAIP items and first Sentinel-2 items that scenes of more than one split show."""

    @property
    def apart(self) -> bool:
        """True where every scene has a split and no two splits show the same ground."""
        return not (self.unassigned or self.foreign or self.overlaps)


def check(scenes: pa.Table, splits: pa.Table) -> SplitReport:
    """Look for ground and images that two splits have in common.

    Args:
        scenes: `scene_id`, `bounds`, `naip_items` and `sentinel2_items`, as in SCENES.
        splits: schema SPLITS.
    """
    split_of = dict(zip(texts(splits, "scene_id"), texts(splits, "split"), strict=True))
    names = texts(scenes, "scene_id")
    present = set(names)
    first, second, shares = overlapping(scenes)
    pairs = [
        Overlap(names[a], split_of[names[a]], names[b], split_of[names[b]], float(share))
        for a, b, share in zip(first.tolist(), second.tolist(), shares.tolist(), strict=True)
        if names[a] in split_of and names[b] in split_of and split_of[names[a]] != split_of[names[b]]
    ]
    return SplitReport(
        scenes=dict(sorted(Counter(split for name, split in split_of.items() if name in present).items())),
        unassigned=tuple(name for name in names if name not in split_of),
        foreign=tuple(sorted(set(split_of) - present)),
        overlaps=tuple(sorted(pairs, key=lambda pair: (-pair.share, pair.first, pair.second))),
        shared_items=tuple(
            sorted(
                item
                for item, rows in _shown(scenes, ("naip", "sentinel-2")).items()
                if len({split_of[names[row]] for row in rows if names[row] in split_of}) > 1
            )
        ),
    )


def overlapping(scenes: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Pairs of scenes whose footprints overlap; a border in common is no overlap.

    Args:
        scenes: `bounds`, as in SCENES.

    Returns:
        Rows of the one and of the other scene, the one before the other, and the overlap as a share of the
        smaller footprint: each of shape (pairs,).
    """
    bounds = np.array(scenes["bounds"].to_pylist(), np.float64).reshape(-1, 4)
    boxes = np.atleast_1d(np.asarray(shapely.box(*bounds.T)))
    first, second = shapely.STRtree(boxes).query(boxes, predicate="intersects")
    once = first < second
    first, second = first[once], second[once]
    lower = np.maximum(bounds[first, :2], bounds[second, :2])
    upper = np.minimum(bounds[first, 2:], bounds[second, 2:])
    area = np.prod(bounds[:, 2:] - bounds[:, :2], axis=1)
    shares = np.prod(np.maximum(upper - lower, 0), axis=1) / np.minimum(area[first], area[second])
    real = shares > _TOUCHING
    return first[real], second[real], shares[real]


def groups(scenes: pa.Table, shared: Collection[str] = SHARED) -> NDArray[np.int64]:
    """Scenes that hang together by ground or images, directly or through others.

    Args:
        scenes: `bounds`, `naip_items` and `sentinel2_items`, as in SCENES. Of the Sentinel-2 items the first
            counts, from which the LR image was taken.
        shared: what ties two scenes, of "ground", "naip" and "sentinel-2". One Sentinel-2 item shows 110 km:
            with it a state falls into few large groups.

    Returns:
        Shape (scenes,): row of the first scene of each scene's group.

    Raises:
        ValueError: `shared` holds something else, or nothing.
    """
    if not shared or not set(shared) <= SHARED:
        raise ValueError(
            f"scenes may share {', '.join(sorted(SHARED))}; got {', '.join(shared) or 'nothing'}"
        )
    ties: list[tuple[int, int]] = []
    if "ground" in shared:
        first, second, _ = overlapping(scenes)
        ties += zip(first.tolist(), second.tolist(), strict=True)
    for rows in _shown(scenes, shared).values():
        ties += [(rows[0], row) for row in rows[1:]]
    return _components(scenes.num_rows, ties)


def texts(rows: pa.Table, name: str) -> list[str]:
    """A column of texts in which none is missing."""
    return [str(value) for value in rows[name].to_pylist()]


def _shown(scenes: pa.Table, sensors: Collection[str]) -> dict[str, list[int]]:
    """Rows of the scenes that show each item."""
    rows: defaultdict[str, list[int]] = defaultdict(list)
    if "naip" in sensors:
        for row, items in enumerate(scenes["naip_items"].to_pylist()):
            for item in items or []:
                rows[f"naip/{item}"].append(row)
    if "sentinel-2" in sensors:
        for row, items in enumerate(scenes["sentinel2_items"].to_pylist()):
            for item in (items or [])[:1]:
                rows[f"sentinel-2/{item}"].append(row)
    return rows


def _components(count: int, ties: Iterable[tuple[int, int]]) -> NDArray[np.int64]:
    """The smallest member of each member's connected component."""
    parent = list(range(count))

    def root(member: int) -> int:
        while parent[member] != member:
            parent[member] = parent[parent[member]]  # halve the path for those who come after
            member = parent[member]
        return member

    for one, other in ties:
        a, b = root(one), root(other)
        parent[max(a, b)] = min(a, b)
    return np.array([root(member) for member in range(count)], np.int64)
