"""Which scenes of a data set a user asked for."""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gl10m.manifest import parquet
from gl10m.manifest.columns import texts
from gl10m.manifest.schema import SCENES, SPLITS
from gl10m.storage.place import Place
from gl10m.store.region_index import RegionIndex

RESERVED = frozenset({"image", "hr", "tiles", "label", "bounds", "index", "scene_id", "state"})
"""Keys of a sample, which no manifest column may take."""


class SelectionError(ValueError):
    """No scene, or nothing at all, goes by what was asked for."""


def split_members(root: Place, split: str, indexes: Sequence[RegionIndex]) -> frozenset[str]:
    """Scene ids of one split.

    Args:
        root: the data set.
        split: name of the split.
        indexes: of the regions to choose from; each of their scenes must have a split.

    Raises:
        ManifestNotFoundError: the data set was not split yet.
        ManifestError: the manifest is damaged.
        SelectionError: there is no such split, or scenes were added since the data set was split.
    """
    path = root / "manifests" / "splits.parquet"
    if not path.exists():
        raise parquet.ManifestNotFoundError(
            f"split {split!r} was asked for, but {root} is not split yet. Run `gl10m split --root {root}`, "
            "or leave split out to read all scenes."
        )
    rows = parquet.read(path, SPLITS)
    splits = texts(rows, "split")
    known = texts(rows, "scene_id")
    without = sum(len(set(index.scene_ids).difference(known)) for index in indexes)
    if without:
        raise SelectionError(
            f"{without} scenes of {root} have no split: they were built after the data set was split. "
            f"Run `gl10m split --root {root}` again."
        )
    members = frozenset(name for name, own in zip(known, splits, strict=True) if own == split)
    if not members:
        counts = ", ".join(f"{name} ({count})" for name, count in sorted(Counter(splits).items()))
        raise SelectionError(
            f"split {split!r} has no scenes in {path}: its splits are {counts or 'none'}. Choose one, "
            f"or split otherwise: `gl10m split --root {root} --by random` gives train, val and test."
        )
    return members


def class_ids(class_names: Sequence[str], wanted: Collection[str]) -> list[int]:
    """Ids of classes by name.

    Raises:
        SelectionError: a name is not a class of the data set.
    """
    unknown = sorted(set(wanted) - set(class_names))
    if unknown:
        raise SelectionError(
            f"the data set has no class {', '.join(map(repr, unknown))}; its classes are "
            f"{', '.join(class_names)}"
        )
    return sorted(class_names.index(name) for name in set(wanted))


def rows_of(
    index: RegionIndex, members: frozenset[str] | None, classes: Sequence[int] | None
) -> NDArray[np.int64]:
    """Rows of one region's index that are in the split and show at least one of the classes.

    Args:
        index: of the region.
        members: scene ids of the split; all scenes if None.
        classes: class ids; any class or none if None.
    """
    keep = np.ones(index.rows.num_rows, np.bool_)
    if members is not None:
        keep &= np.fromiter((name in members for name in index.scene_ids), np.bool_, index.rows.num_rows)
    if classes is not None:
        keep &= index.column("label")[:, list(classes)].any(axis=1)
    return np.flatnonzero(keep)


def manifest_columns(root: Place, names: Sequence[str], scene_ids: Sequence[str]) -> dict[str, list[Any]]:
    """Columns of the scenes manifest, in the order of some scenes.

    Args:
        root: the data set.
        names: columns of `gl10m.manifest.schema.SCENES`.
        scene_ids: the scenes.

    Returns:
        Values that PyTorch collates: days as ISO texts, a missing number as NaN, a missing text as "".

    Raises:
        SelectionError: no such column, one that every sample has already, or scenes that are not there.
        ManifestNotFoundError: there is no scenes manifest.
    """
    unknown = [name for name in names if name not in SCENES.names or name in RESERVED]
    if unknown:
        free = ", ".join(name for name in SCENES.names if name not in RESERVED)
        raise SelectionError(f"no manifest column {', '.join(unknown)} can be added; there are {free}")
    table = parquet.read(root / "manifests" / "scenes.parquet", SCENES, ["scene_id", *names])
    place = {name: row for row, name in enumerate(table["scene_id"].to_pylist())}
    missing = [name for name in scene_ids if name not in place]
    if missing:
        raise SelectionError(
            f"manifests/scenes.parquet lacks {len(missing)} scenes of the index, as {missing[0]}. "
            "`gl10m verify` tells what else does not fit."
        )
    rows = table.take(pa.array([place[name] for name in scene_ids], pa.int64()))
    return {
        name: [_plain(value, rows.schema.field(name).type) for value in rows[name].to_pylist()]
        for name in names
    }


def _plain(value: Any, kind: pa.DataType) -> Any:  # noqa: ANN401 - whatever the column holds
    if isinstance(value, date):
        return value.isoformat()
    if value is None:
        return "" if pa.types.is_string(kind) or pa.types.is_date(kind) else float("nan")
    return value
