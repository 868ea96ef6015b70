"""Which scene belongs to which split: by state as in the paper, or by a rule of the user's.

A split is a manifest of its own, manifests/splits.parquet: splitting anew never touches a pixel. The rules
by state, at random, by block and by concept depend on the scene, its place and a seed alone: a data set that
grows keeps the splits of the scenes it had. Groups are weighed against each other and may move.
"""

import hashlib
import math
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gl10m.manifest import parquet
from gl10m.manifest.columns import texts
from gl10m.manifest.leakage import SHARED, coded, groups, overlapping, sharing_pixels
from gl10m.manifest.schema import SPLITS
from gl10m.scene.states import states
from gl10m.storage.place import Place

OTHER: Final = "other"
"""Split of the states that the paper does not have, unless the user names another."""

BLOCK_DEGREES: Final = 0.5
"""Side of a block: about 20 footprints, so that few scenes lie on its border."""

BORDER: Final = "border"
"""Scenes set aside because they show ground of another split."""

NOVEL: Final = "novel"
"""Scenes of train and val set aside because they show a Novel concept."""

SPLIT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
"""What a split may be called; names stand in paths and file names."""

_HASH_BITS = 64


class SplitError(ValueError):
    """A rule or a file does not say the split of every scene."""


def split_by_state(scenes: pa.Table, other: str = OTHER) -> pa.Table:
    """Split as the paper does: WA is val, AZ and ME are test, its other eight states are train (A.4).

    Args:
        scenes: `scene_id` and `state`, as in SCENES.
        other: split of states that the paper does not have.

    Returns:
        Schema SPLITS, in the order of the scenes.

    Raises:
        SplitError: `other` cannot name a split.
    """
    known = states()
    codes = texts(scenes, "state")
    return table_of(scenes, [known[code].split if code in known else other for code in codes])


def split_random(scenes: pa.Table, seed: int, shares: Mapping[str, float]) -> pa.Table:
    """Split each scene by itself. Neighbours on the ground may part: see `leakage.check`, or split by group.

    Args:
        scenes: `scene_id`, as in SCENES.
        seed: another seed, another split.
        shares: expected share of each split; they sum to 1.

    Returns:
        Schema SPLITS, in the order of the scenes.

    Raises:
        SplitError: the shares are none.
    """
    return table_of(scenes, _drawn(texts(scenes, "scene_id"), seed, shares))


def split_by_block(
    scenes: pa.Table, seed: int, shares: Mapping[str, float], degrees: float = BLOCK_DEGREES
) -> pa.Table:
    """Split squares of ground. Scenes on two sides of a border may overlap: see `set_border_aside`.

    Args:
        scenes: `scene_id`, `longitude` and `latitude`, as in SCENES.
        seed: another seed, another split.
        shares: expected share of the blocks in each split; they sum to 1.
        degrees: side of a block, degrees of longitude and of latitude.

    Returns:
        Schema SPLITS, in the order of the scenes.

    Raises:
        SplitError: the shares are none, or a block has no side.
    """
    if not (math.isfinite(degrees) and degrees > 0):
        raise SplitError(f"a block has a side of more than 0 degrees; got {degrees}")
    columns = np.floor(scenes["longitude"].to_numpy() / degrees).astype(np.int64).tolist()
    rows = np.floor(scenes["latitude"].to_numpy() / degrees).astype(np.int64).tolist()
    blocks = [f"{degrees:.9g}/{column}/{row}" for column, row in zip(columns, rows, strict=True)]
    return table_of(scenes, _drawn(blocks, seed, shares))


def split_by_group(
    scenes: pa.Table, seed: int, shares: Mapping[str, float], shared: Collection[str] = SHARED
) -> pa.Table:
    """Keep scenes together that share ground or an image; see `leakage.groups`.

    Groups are dealt out by falling size, those of about one size in the order of a lot, each to the split
    that lacks most scenes: the shares of scenes hold to within the largest group.

    Args:
        scenes: as in SCENES.
        seed: another seed, another split.
        shares: share of the scenes in each split; they sum to 1.
        shared: what keeps two scenes together, of SHARED.

    Returns:
        Schema SPLITS, in the order of the scenes.

    Raises:
        SplitError: the shares are none, or `shared` is none of SHARED.
    """
    names = np.array(texts(scenes, "scene_id"), np.str_)
    _, member = np.unique(groups(scenes, shared), return_inverse=True)
    # A group is called after its first scene by name: the order of the rows has no say.
    order = np.lexsort((names, member))
    first = order[np.diff(member[order], prepend=-1) != 0]
    dealt = _dealt([str(name) for name in names[first]], np.bincount(member), seed, shares)
    return table_of(scenes, [dealt[group] for group in member.tolist()])


def split_by_concept(scenes: pa.Table, novel: Collection[int], other: str = OTHER) -> pa.Table:
    """Hold concepts out, as the Novel ones of the paper's Table 1: no scene of train or val shows one.

    Scenes go where the paper puts their state. Those of train and val whose labels hold a Novel concept are
    set aside in the split `novel`; test keeps all its scenes, since both kinds of concepts are asked for
    there. The paper gives no list: see manifests/novel_concepts.csv for ours.

    Args:
        scenes: `scene_id`, `state` and `class_ids`, as in SCENES.
        novel: class ids of the Novel concepts.
        other: split of states that the paper does not have.

    Returns:
        Schema SPLITS, in the order of the scenes.

    Raises:
        SplitError: no concept is named.
    """
    if not novel:
        raise SplitError("at least one concept is held out; got none")
    shows = shows_any(scenes, novel)
    by_state = texts(split_by_state(scenes, other), "split")
    return table_of(
        scenes,
        [
            NOVEL if held_out and split != "test" else split
            for split, held_out in zip(by_state, shows.tolist(), strict=True)
        ],
    )


def set_border_aside(scenes: pa.Table, splits: pa.Table) -> pa.Table:
    """Move scenes to the split `border` until no two splits share ground, or pixels of an item.

    The smaller a split is, the more each of its scenes counts: where two overlap, the scene of the larger
    split goes. Splits are gone through from the smallest; scenes set aside send nobody else away.

    Args:
        scenes: `scene_id`, `bounds`, `naip_items` and `sentinel2_items`, as in SCENES.
        splits: schema SPLITS, in the order of the scenes.

    Returns:
        Schema SPLITS, in the order of the scenes.
    """
    named: list[str | None] = list(texts(splits, "split"))
    code, known = coded(named, {BORDER, NOVEL})
    counts = np.bincount(code[code >= 0], minlength=len(known))
    rank = np.append(np.lexsort((np.array(known, np.str_), counts)).argsort(), -1)[code]
    pairs = (overlapping(scenes)[:2], sharing_pixels(scenes))
    one, other = (np.concatenate(side) for side in zip(*pairs, strict=True))
    gone = np.zeros(len(code), np.bool_)
    for split in range(1, len(known)):
        for here, there in ((one, other), (other, one)):
            smaller = (rank[here] == split) & (rank[there] < split) & (rank[there] >= 0) & ~gone[there]
            gone[here[smaller]] = True
    return table_of(scenes, [BORDER if out else str(name) for name, out in zip(named, gone, strict=True)])


def shows_any(scenes: pa.Table, class_ids: Collection[int]) -> NDArray[np.bool_]:
    """Whether the labels of each scene hold one of some classes.

    Returns:
        Shape (scenes,).
    """
    lists: Any = scenes["class_ids"].combine_chunks()
    held = pc.is_in(pc.list_flatten(lists), pa.array(sorted(class_ids), pa.uint8()))
    shows = np.zeros(scenes.num_rows, np.bool_)
    shows[pc.list_parent_indices(lists).filter(held).to_numpy()] = True
    return shows


def write_splits(root: Place, splits: pa.Table, metadata: Mapping[str, str]) -> None:
    """Write manifests/splits.parquet of a data set, whole or not at all.

    Args:
        root: the data set.
        splits: schema SPLITS.
        metadata: how the split was made; see `Provenance.metadata`.

    Raises:
        OSError: the folder cannot be written.
    """
    path = root / "manifests" / "splits.parquet"
    parquet.sweep(path)
    parquet.write(path, splits, SPLITS, metadata)


def _drawn(keys: Sequence[str], seed: int, shares: Mapping[str, float]) -> list[str]:
    """The split of each key: its hash, a number in 0..1, falls into one of the shares."""
    _check_shares(shares)
    names = list(shares)
    ends = np.cumsum([shares[name] for name in names])[:-1]
    points = [_hash(f"{seed}/{key}") / 2**_HASH_BITS for key in keys]
    return [names[place] for place in np.searchsorted(ends, points, side="right").tolist()]


def _dealt(
    keys: Sequence[str], sizes: NDArray[np.int64], seed: int, shares: Mapping[str, float]
) -> list[str]:
    """The split of each group; see `split_by_group`."""
    _check_shares(shares)
    names = list(shares)
    lack = np.array([shares[name] for name in names]) * sizes.sum()
    lot = np.array([_hash(f"{seed}/{key}") for key in keys], np.uint64)
    about = np.floor(np.log2(sizes)).astype(np.int64)  # 1, 2 to 3, 4 to 7 ... scenes
    dealt = [""] * len(keys)
    lacking, weights = lack.tolist(), sizes.tolist()
    for group in np.lexsort((lot, -about)).tolist():
        place = lacking.index(max(lacking))
        dealt[group] = names[place]
        lacking[place] -= weights[group]
    return dealt


def _check_shares(shares: Mapping[str, float]) -> None:
    whole = math.isclose(sum(shares.values()), 1, abs_tol=1e-6)
    if not whole or any(not share > 0 for share in shares.values()):
        raise SplitError(
            f"shares are above 0 and sum to 1, as train=0.8,val=0.1,test=0.1; got {dict(shares)}"
        )
    for name in {BORDER, NOVEL} & set(shares):
        raise SplitError(f"{name!r} names the scenes that are set aside; call a split with a share otherwise")


def _hash(text: str) -> int:
    """The same on every machine and in every run, unlike Python's own."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[: _HASH_BITS // 8])


def table_of(scenes: pa.Table, splits: Sequence[str]) -> pa.Table:
    """Scenes and their splits as a table.

    Args:
        scenes: `scene_id`.
        splits: one for each scene.

    Returns:
        Schema SPLITS, in the order of the scenes.

    Raises:
        SplitError: a name cannot be a split's.
    """
    for split in sorted(set(splits)):
        if not SPLIT_NAME.fullmatch(split):
            raise SplitError(f"a split is named with letters, digits, '_', '-' and '.'; got {split!r}")
    names = scenes["scene_id"].combine_chunks()
    return pa.table({"scene_id": names, "split": pa.array(splits, pa.string())}).cast(SPLITS.schema)
