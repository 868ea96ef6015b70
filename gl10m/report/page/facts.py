"""What several sections ask of a data set."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from gl10m.manifest import parquet
from gl10m.manifest.schema import SCENES, SPLITS
from gl10m.scene.class_map import ClassMap
from gl10m.storage.place import Place, below
from gl10m.store.layout import INDEXES
from gl10m.store.region_index import class_names

NOT_SPLIT = "not split"
"""What stands for the split of a scene without one."""


def scenes_path(root: Place) -> Place:
    """The manifest that every data set has."""
    return root / "manifests" / "scenes.parquet"


def scenes(root: Place, columns: list[str]) -> pa.Table:
    """Columns of the scenes manifest.

    Raises:
        ManifestNotFoundError: no data set stands there.
        ManifestError: the manifest is damaged, or lacks one of the columns.
    """
    return parquet.read(scenes_path(root), SCENES, columns)


@dataclass(frozen=True, slots=True)
class Names:
    """Names of the classes by id, and where they were found."""

    names: tuple[str, ...]
    known: bool
    """False where neither the index nor the class map of this gl10m says them."""


def names_of_classes(root: Place, largest: int) -> Names:
    """Names of the classes of a data set.

    Args:
        root: the data set.
        largest: the largest class id that its scenes carry.

    Raises:
        StoreError: the index is damaged.
    """
    if below(root / INDEXES, "[A-Z][A-Z].arrow"):
        found = class_names(root)
        if largest < len(found):
            return Names(found, known=True)
    bundled = ClassMap.bundled()
    inputs = about(root).get("gl10m.inputs", {})
    if inputs.get("class_map") == bundled.digest and largest < len(bundled):
        return Names(bundled.names, known=True)
    return Names(tuple(f"class {number}" for number in range(largest + 1)), known=False)


def about(root: Place) -> dict[str, Any]:
    """What the scenes manifest says of its making: values that are JSON are read, others stay text.

    Raises:
        ManifestError: the manifest is damaged.
    """
    found: dict[str, Any] = {}
    for key, value in parquet.metadata_of(scenes_path(root)).items():
        if key.startswith("gl10m."):
            try:
                found[key] = json.loads(value)
            except json.JSONDecodeError:
                found[key] = value
    for key in ("gl10m.inputs", "gl10m.licences", "gl10m.configuration"):
        if not isinstance(found.get(key, {}), dict):
            raise parquet.ManifestError(
                f"{scenes_path(root)} has no table under its key {key}. Restore it, or build it again."
            )
    return found


def splits_of(root: Place, scene_ids: "pa.ChunkedArray[Any]") -> NDArray[np.object_] | None:
    """The split of each scene, NOT_SPLIT where it has none; None where the data set is not split.

    Raises:
        ManifestError: the manifest is damaged.
    """
    path = root / "manifests" / "splits.parquet"
    if not path.exists():
        return None
    rows = parquet.read(path, SPLITS)
    split_of = dict(zip(rows["scene_id"].to_pylist(), rows["split"].to_pylist(), strict=True))
    return np.array([split_of.get(name) or NOT_SPLIT for name in scene_ids.to_pylist()], object)


def split_order(names: Sequence[str]) -> list[str]:
    """Names of splits in the order of their use."""
    first = {name: place for place, name in enumerate(("train", "val", "test"))}
    return sorted(set(names), key=lambda name: (first.get(name, len(first)), name))


def label_matrix(class_ids: "pa.ChunkedArray[Any]", classes: int) -> NDArray[np.bool_]:
    """Which scene carries which class: shape (scenes, classes)."""
    matrix = np.zeros((len(class_ids), classes), np.bool_)
    scene = np.repeat(np.arange(len(class_ids)), pc.list_value_length(class_ids).fill_null(0).to_numpy())
    matrix[scene, pc.list_flatten(class_ids).to_numpy()] = True
    return matrix


def largest_class(class_ids: "pa.ChunkedArray[Any]") -> int:
    """The largest class id that any scene carries; -1 without any."""
    found = pc.max(pc.list_flatten(class_ids)).as_py()
    return -1 if found is None else int(found)
