"""Which scenes show the same ground or come from the same image, so that splits can be kept apart."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gl10m.manifest.columns import paired, texts
from gl10m.manifest.components import components
from gl10m.manifest.rectangles import Rows, bounds_of, gaps, pairs_within, shares

SHARED: Final = frozenset({"ground", "naip", "sentinel-2"})
"""What two scenes of a group may share."""

REACH_METRES: Final = {"naip_items": 2.0, "sentinel2_items": 20.0}
"""How far outside of a footprint its pixels are read: two pixels of NAIP at 1 m, and one of the scene
classification layer, which is two of the bands at 10 m."""


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
    """What `gl10m split --check` proves."""

    scenes: dict[str, int]
    """Scenes of each split."""
    aside: dict[str, int]
    """Scenes of those of them that are set aside: in no split that is compared."""
    unassigned: tuple[str, ...]
    """Scenes of the data set without a split."""
    foreign: tuple[str, ...]
    """Scenes of the splits manifest that the data set does not have."""
    overlaps: tuple[Overlap, ...]
    """Pairs in different splits that show the same ground, largest overlap first."""
    same_pixels: tuple[tuple[str, str], ...]
    """Pairs in different splits that are cut from the same pixels of the same item."""
    shared_items: tuple[str, ...]
    """NAIP items and first Sentinel-2 items that scenes of more than one split show."""

    @property
    def apart(self) -> bool:
        """True where every scene has a split and no two splits show the same ground."""
        return not (self.unassigned or self.foreign or self.overlaps)


def check(scenes: pa.Table, splits: pa.Table, aside: Collection[str] = ()) -> SplitReport:
    """Look for ground and images that two splits have in common.

    Args:
        scenes: `scene_id`, `bounds`, `naip_items` and `sentinel2_items`, as in SCENES.
        splits: schema SPLITS.
        aside: splits whose scenes are set aside and compared with no other.
    """
    names = texts(scenes, "scene_id")
    split_of = paired(splits, "scene_id", "split")
    present = set(names)
    counts = Counter(split for name, split in split_of.items() if name in present)
    code, known = coded([split_of.get(name) for name in names], aside)
    one, other = _parted(code, *overlapping(scenes)[:2])
    found = [
        Overlap(names[a], known[code[a]], names[b], known[code[b]], share)
        for a, b, share in zip(
            one.tolist(), other.tolist(), shares(bounds_of(scenes), one, other).tolist(), strict=True
        )
    ]
    pixels = _parted(code, *sharing_pixels(scenes))
    return SplitReport(
        scenes=dict(sorted(counts.items())),
        aside={name: counts[name] for name in sorted(aside) if name in counts},
        unassigned=tuple(name for name in names if name not in split_of),
        foreign=tuple(sorted(set(split_of) - present)),
        overlaps=tuple(sorted(found, key=lambda pair: (-pair.share, pair.first, pair.second))),
        same_pixels=tuple(
            sorted((names[a], names[b]) for a, b in zip(*(p.tolist() for p in pixels), strict=True))
        ),
        shared_items=_shared_items(scenes, code),
    )


def coded(splits: list[str | None], aside: Collection[str] = ()) -> tuple[Rows, list[str]]:
    """Splits as numbers.

    Returns:
        Shape (scenes,), the place of each scene's split in the list that follows, -1 where it has none or is
        set aside; and the names of the splits, sorted.
    """
    known = sorted({split for split in splits if split is not None} - set(aside))
    place = {name: number for number, name in enumerate(known)}
    return np.array([place.get(split or "", -1) for split in splits], np.int64), known


def _parted(code: Rows, one: Rows, other: Rows) -> tuple[Rows, Rows]:
    """Those of some pairs whose scenes are in two splits."""
    apart = (code[one] != code[other]) & (code[one] >= 0) & (code[other] >= 0)
    return one[apart], other[apart]


def overlapping(scenes: pa.Table) -> tuple[Rows, Rows, NDArray[np.float64]]:
    """Pairs of scenes whose footprints overlap; a border in common is no overlap.

    Args:
        scenes: `bounds`, as in SCENES.

    Returns:
        Rows of the one and of the other scene, the one before the other, and the overlap as a share of the
        smaller footprint: each of shape (pairs,).
    """
    bounds = bounds_of(scenes)
    one, other = pairs_within(bounds)
    share = shares(bounds, one, other)
    real = share > 0
    return one[real], other[real], share[real]


def sharing_pixels(scenes: pa.Table) -> tuple[Rows, Rows]:
    """Pairs of scenes that are cut from the same pixels: of one item, and nearer than what a warp reads.

    Args:
        scenes: `bounds`, `naip_items` and `sentinel2_items`, as in SCENES; all items count, the later ones of
            Sentinel-2 too, with which masked pixels are filled.

    Returns:
        Rows of the one and of the other scene, the one before the other, each of shape (pairs,).
    """
    bounds = bounds_of(scenes)
    one, other = pairs_within(bounds, max(REACH_METRES.values()))
    apart = gaps(bounds[one], bounds[other])
    shared = np.zeros(len(one), np.bool_)
    for column, reach in REACH_METRES.items():
        near = np.flatnonzero(apart <= reach)
        shared[near] |= _common(*_members(scenes, column), one[near], other[near])
    return one[shared], other[shared]


def groups(scenes: pa.Table, shared: Collection[str] = SHARED) -> Rows:
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
            f"scenes may share {', '.join(sorted(SHARED))}; got {', '.join(sorted(shared)) or 'nothing'}"
        )
    ties: list[tuple[Rows, Rows]] = []
    if "ground" in shared:
        ties.append(overlapping(scenes)[:2])
    if "naip" in shared:
        ties.append(_tied(*_members(scenes, "naip_items")))
    if "sentinel-2" in shared:
        ties.append(_tied(*_members(scenes, "sentinel2_items", first=True)))
    one, other = (np.concatenate(side) for side in zip(*ties, strict=True))
    return components(scenes.num_rows, one, other)


def _members(scenes: pa.Table, column: str, *, first: bool = False) -> tuple[Rows, Rows]:
    """Which scene names which item, sorted by item: rows of the scenes, and numbers of the items.

    Args:
        scenes: with a column of lists of item ids.
        column: its name.
        first: the first item of each scene alone.
    """
    lists: Any = scenes[column].combine_chunks()
    scene = pc.list_parent_indices(lists).to_numpy().astype(np.int64)
    item = pc.list_flatten(lists).dictionary_encode().indices.to_numpy(zero_copy_only=False).astype(np.int64)
    if first:
        begins = np.diff(scene, prepend=-1) != 0
        scene, item = scene[begins], item[begins]
    order = np.lexsort((scene, item))
    return scene[order], item[order]


def _tied(scene: Rows, item: Rows) -> tuple[Rows, Rows]:
    """Each scene of an item with the next one of the same item: enough to hang them together."""
    same = np.flatnonzero(np.diff(item) == 0)
    return scene[same], scene[same + 1]


def _common(scene: Rows, item: Rows, one: Rows, other: Rows) -> NDArray[np.bool_]:
    """Whether the scenes of each pair name an item in common.

    Args:
        scene: as `_members` gives it.
        item: likewise.
        one: shape (pairs,), rows of scenes.
        other: likewise.
    """
    most = int(item.max(initial=0)) + 1
    keys = np.sort(scene * most + item)
    if not len(keys):
        return np.zeros(len(one), np.bool_)
    owner = keys // most
    begins, ends = np.searchsorted(owner, one), np.searchsorted(owner, one, side="right")
    found = np.zeros(len(one), np.bool_)
    for turn in range(int((ends - begins).max(initial=0))):  # a scene names a handful of items
        here = np.flatnonzero(begins + turn < ends)
        wanted = other[here] * most + keys[begins[here] + turn] % most
        place = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
        found[here] |= keys[place] == wanted
    return found


def _shared_items(scenes: pa.Table, code: Rows) -> tuple[str, ...]:
    """Items that scenes of more than one split show; of Sentinel-2 the first of each scene."""
    found: list[str] = []
    for sensor, column, first in (("naip", "naip_items", False), ("sentinel-2", "sentinel2_items", True)):
        scene, item = _members(scenes, column, first=first)
        inside = code[scene] >= 0
        pairs = np.unique(np.stack([item[inside], code[scene[inside]]], axis=1), axis=0)
        numbers, splits = np.unique(pairs[:, 0], return_counts=True)
        lists: Any = scenes[column].combine_chunks()
        known = pc.list_flatten(lists).dictionary_encode().dictionary.to_pylist()
        found += [f"{sensor}/{known[number]}" for number in numbers[splits > 1].tolist()]
    return tuple(sorted(found))
