"""The scenes of a data set as the viewer lists and describes them."""

from collections.abc import Sequence
from datetime import date
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gl10m.manifest import parquet
from gl10m.manifest.columns import texts
from gl10m.manifest.schema import SCENES
from gl10m.report.page.facts import (
    NOT_SPLIT,
    label_matrix,
    largest_class,
    names_of_classes,
    scenes,
    scenes_path,
    splits_of,
)
from gl10m.report.page.packed import base64_of, coded_splits, coded_states
from gl10m.storage.contents import readable
from gl10m.storage.place import Place
from gl10m.store.reader import SceneNotFoundError

NEEDED: Final = ["scene_id", "state", "class_ids"]
"""Columns without which there is nothing to list."""

TOLD: Final = [
    "class_shares",
    "labelled_share",
    "longitude",
    "latitude",
    "naip_date",
    "naip_gsd",
    "naip_items",
    "sentinel2_date",
    "sentinel2_items",
    "cloud_cover",
    "cloud_lr",
    "black_lr",
    "days_between",
    "fallback",
    "nearest_scene",
    "shared_ground",
]
"""Columns that are shown where the manifest has them."""

EPOCH: Final = date(1970, 1, 1)

NO_DAY: Final = -32_768
"""Stands for a missing date."""


class Catalogue:
    """The scenes manifest in memory, with the split of each scene."""

    def __init__(self, root: Place, chosen: Sequence[str] = (), most: int | None = None) -> None:
        """Read the manifest.

        Args:
            root: the data set.
            chosen: scenes to list; all if empty.
            most: scenes to list at most, spread over the data set; all if None.

        Raises:
            ManifestNotFoundError: no data set stands there.
            ManifestError: the manifest is damaged, or lacks a column of NEEDED.
            SceneNotFoundError: a chosen scene is not in it.
        """
        self.missing = _missing(root)
        told = [name for name in TOLD if name not in self.missing]
        table = scenes(root, [*NEEDED, *told])
        self.total = table.num_rows
        self.classes = names_of_classes(root, largest_class(table["class_ids"])).names
        self._table = _chosen(root, table, chosen, most)
        found = splits_of(root, self._table["scene_id"])
        self.is_split = found is not None
        self._splits = np.full(self._table.num_rows, NOT_SPLIT, object) if found is None else found

    def __len__(self) -> int:
        """Scenes that are listed."""
        return self._table.num_rows

    def about(self, place: int) -> dict[str, Any]:
        """Everything that the manifest says of one scene, and its split.

        Raises:
            IndexError: there is no such place in the list.
        """
        if not 0 <= place < len(self):
            raise IndexError(f"the list has scenes 0..{len(self) - 1}; asked for {place}")
        row: dict[str, Any] = self._table.slice(place, 1).to_pylist()[0]
        return {**row, "split": str(self._splits[place])}

    def listed(self) -> dict[str, object]:
        """What the page needs to list and filter: columns, one value a scene."""
        labels = label_matrix(self._table["class_ids"], len(self.classes))
        states, state = coded_states(texts(self._table, "state"))
        split_names, split = coded_splits(self._splits)
        return {
            "ids": self._table["scene_id"].to_pylist(),
            "states": states,
            "state": state,
            "splits": split_names,
            "split": split,
            "classes": list(self.classes),
            "labels": base64_of(np.packbits(labels, axis=1)),
            "counts": labels.sum(axis=0).tolist(),
            "days": base64_of(self._days()),
            "total": self.total,
            "notes": self._notes(),
        }

    def _days(self) -> NDArray[np.int16]:
        """Day of the Sentinel-2 image, days since 1970."""
        if "sentinel2_date" in self.missing:
            return np.full(len(self), NO_DAY, "<i2")
        days = np.array(
            [
                NO_DAY if day is None else (day - EPOCH).days
                for day in self._table["sentinel2_date"].to_pylist()
            ]
        )
        bounded: NDArray[np.int16] = np.clip(days, NO_DAY, -NO_DAY - 1).astype("<i2")
        return bounded

    def _notes(self) -> list[str]:
        notes = []
        if self.missing:
            notes.append(
                f"manifests/scenes.parquet lacks the columns {', '.join(self.missing)}; they are not shown. "
                "Build the data set again to have them."
            )
        if not self.is_split:
            notes.append("The data set is not split yet: `gl10m split` makes one.")
        if len(self) < self.total:
            notes.append(f"{len(self):,} of the {self.total:,} scenes of the data set are here.")
        if not self.total:
            notes.append(
                "The data set holds no scene: manifests/rejections.parquet and `gl10m report` say why."
            )
        return notes


def plain(value: Any) -> Any:  # noqa: ANN401 - whatever a column holds
    """A value as JSON can hold it: days as texts, what is no number as null."""
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float):
        return round(value, 6) if np.isfinite(value) else None
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    return value


def _missing(root: Place) -> list[str]:
    path = scenes_path(root)
    if not path.exists():
        return []  # reading says what to do
    try:
        present = set(pq.read_schema(readable(path)).names)
    except (pa.ArrowException, OSError) as error:
        raise parquet.ManifestError(f"{path} cannot be read as Parquet ({error}).") from error
    return [name for name in SCENES.names if name in TOLD and name not in present]


def _chosen(root: Place, table: pa.Table, chosen: Sequence[str], most: int | None) -> pa.Table:
    if chosen:
        place = {name: row for row, name in enumerate(table["scene_id"].to_pylist())}
        unknown = [name for name in chosen if name not in place]
        if unknown:
            raise SceneNotFoundError(
                f"{root} holds no scene {', '.join(unknown)}; it has {table.num_rows} scenes"
            )
        return table.take(pa.array([place[name] for name in chosen], pa.int64()))
    if most is not None and most < table.num_rows:
        spread = np.linspace(0, table.num_rows - 1, most).round().astype(np.int64)
        return table.take(np.unique(spread))
    return table
