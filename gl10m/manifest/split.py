"""Which scene belongs to which split: by state as in the paper, or by a rule of the user's.

A split is a manifest of its own, manifests/splits.parquet: splitting anew never touches a pixel. Every rule
but the file's depends on the scene, its place and a seed alone, so that a data set that grows keeps the
splits of the scenes it had (of groups: as long as new scenes do not join two of them).
"""

import hashlib
import math
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from gl10m.manifest import parquet
from gl10m.manifest.leakage import SHARED, groups, texts
from gl10m.manifest.schema import SPLITS
from gl10m.scene.states import states
from gl10m.storage.place import Place

OTHER: Final = "other"
"""Split of the states that the paper does not have, unless the user names another."""

BLOCK_DEGREES: Final = 0.5
"""Side of a block: about 20 footprints, so that few scenes lie on its border."""

MAX_FILE_BYTES: Final = 1 << 30
"""A split file longer than this is refused unread."""

_SPLIT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
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
    return _table(scenes, [known[code].split if code in known else other for code in texts(scenes, "state")])


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
    return _table(scenes, _drawn(texts(scenes, "scene_id"), seed, shares))


def split_by_block(
    scenes: pa.Table, seed: int, shares: Mapping[str, float], degrees: float = BLOCK_DEGREES
) -> pa.Table:
    """Split squares of ground. Scenes on two sides of a border may still overlap: see `leakage.check`.

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
    return _table(scenes, _drawn(blocks, seed, shares))


def split_by_group(
    scenes: pa.Table, seed: int, shares: Mapping[str, float], shared: Collection[str] = SHARED
) -> pa.Table:
    """Keep scenes together that share ground or an image; see `leakage.groups`.

    A group goes to one split as a whole, so that the shares hold the less the larger the groups are.

    Args:
        scenes: as in SCENES.
        seed: another seed, another split.
        shares: expected share of the groups in each split; they sum to 1.
        shared: what keeps two scenes together, of SHARED.

    Returns:
        Schema SPLITS, in the order of the scenes.

    Raises:
        SplitError: the shares are none, or `shared` is none of SHARED.
    """
    names = texts(scenes, "scene_id")
    first: dict[int, str] = {}
    members = groups(scenes, shared).tolist()
    for name, group in zip(names, members, strict=True):
        first[group] = min(first.get(group, name), name)
    return _table(scenes, _drawn([first[group] for group in members], seed, shares))


def split_from_file(path: Path, scenes: pa.Table) -> pa.Table:
    """Split as a file says.

    Args:
        path: CSV or Parquet with the columns `split` and either `scene_id` or `state`. It may name scenes and
            states that the data set does not have.
        scenes: `scene_id` and `state`, as in SCENES.

    Returns:
        Schema SPLITS, in the order of the scenes.

    Raises:
        FileNotFoundError: there is no such file.
        SplitError: it is no such table, or does not name a scene, or names one twice.
    """
    key, rows = _read_file(path)
    chosen: dict[str, str] = {}
    for name, split in rows:
        if chosen.setdefault(name, split) != split:
            raise SplitError(f"{path} puts {name} into both {chosen[name]} and {split}; it can be in one")
    wanted = texts(scenes, key)
    missing = sorted({name for name in wanted if name not in chosen})
    if missing:
        raise SplitError(
            f"{path} names no split for {len(missing)} of the data set's {key}s, as {missing[0]}. Add them, "
            f"under {OTHER!r} if they shall be in no split of yours."
        )
    return _table(scenes, [chosen[name] for name in wanted])


def write_splits(root: Place, splits: pa.Table, metadata: Mapping[str, str]) -> None:
    """Write manifests/splits.parquet of a data set, whole or not at all.

    Args:
        root: the data set.
        splits: schema SPLITS.
        metadata: how the split was made; see `Provenance.metadata`.

    Raises:
        OSError: the folder cannot be written.
    """
    parquet.write(root / "manifests" / "splits.parquet", splits, SPLITS, metadata)


def _drawn(keys: Sequence[str], seed: int, shares: Mapping[str, float]) -> list[str]:
    """The split of each key: its hash, a number in 0..1, falls into one of the shares."""
    whole = math.isclose(sum(shares.values()), 1, abs_tol=1e-6)
    if not whole or any(not share > 0 for share in shares.values()):
        raise SplitError(
            f"shares are above 0 and sum to 1, as train=0.8,val=0.1,test=0.1; got {dict(shares)}"
        )
    names = list(shares)
    ends = np.cumsum([shares[name] for name in names])[:-1]
    points = [_hash(f"{seed}/{key}") / 2**_HASH_BITS for key in keys]
    return [names[place] for place in np.searchsorted(ends, points, side="right").tolist()]


def _hash(text: str) -> int:
    """The same on every machine and in every run, unlike Python's own."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[: _HASH_BITS // 8])


def _table(scenes: pa.Table, splits: Sequence[str]) -> pa.Table:
    for split in sorted(set(splits)):
        if not _SPLIT_NAME.fullmatch(split):
            raise SplitError(f"a split is named with letters, digits, '_', '-' and '.'; got {split!r}")
    names = scenes["scene_id"].combine_chunks()
    return pa.table({"scene_id": names, "split": pa.array(splits, pa.string())}).cast(SPLITS.schema)


def _read_file(path: Path) -> tuple[str, list[tuple[str, str]]]:
    """The key, scene_id or state, and the rows of a split file."""
    if not path.is_file():
        raise FileNotFoundError(
            f"no split file {path}. A split is named state, group, random, block or a file."
        )
    if path.stat().st_size > MAX_FILE_BYTES:
        raise SplitError(f"a split file has at most {MAX_FILE_BYTES} bytes; {path} has {path.stat().st_size}")
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path)
        else:
            table = pa_csv.read_csv(path, convert_options=pa_csv.ConvertOptions(strings_can_be_null=False))
    except (pa.ArrowException, OSError) as error:
        raise SplitError(f"{path} is neither CSV nor Parquet ({error})") from error
    key = next((name for name in ("scene_id", "state") if name in table.column_names), None)
    if key is None or "split" not in table.column_names:
        raise SplitError(
            f"a split file has the columns split and scene_id or state; {path} has "
            f"{', '.join(table.column_names)}"
        )
    columns = [[str(value) for value in table[name].to_pylist()] for name in (key, "split")]
    return key, list(zip(*columns, strict=True))
