"""What the manifests of a data set say of it, as far as its card and its licences tell."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc

from gl10m.manifest import parquet
from gl10m.manifest.columns import values
from gl10m.manifest.provenance import Licence
from gl10m.manifest.schema import SCENES, SPLITS
from gl10m.storage.place import Place
from gl10m.store.region_index import DataSetNotFoundError, class_names

COLUMNS = ["scene_id", "state", "class_ids", "naip_date", "sentinel2_date"]
"""Columns of the scenes manifest that are read."""

UNSPLIT = "unsplit"
"""What all scenes are called where a format wants the name of a split and `gl10m split` has not run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Counts, days and sources of the scenes of a data set, or of some of them."""

    version: str
    """Version of the gl10m that built it; "unknown" where the manifest does not tell."""
    class_names: tuple[str, ...]
    """By class id; none where there is no scene."""
    class_counts: tuple[int, ...]
    """Scenes that show each class, by class id."""
    splits: Mapping[str, Mapping[str, int]]
    """Scenes by split and region; empty where not every scene has a split."""
    states: Mapping[str, int]
    """Scenes by region."""
    naip_days: tuple[date, date] | None
    """First and last day of the NAIP images; None without scenes."""
    sentinel2_days: tuple[date, date] | None
    """First and last day of the Sentinel-2 images; None without scenes."""
    licences: Mapping[str, Licence]
    """Terms of the sources that were used, by key of `provenance.LICENCES`."""
    inputs: Mapping[str, str]
    """Inputs of the build by region and kind: CA.osm, CA.osm_date, CA.lr, CA.hr."""

    @property
    def scenes(self) -> int:
        """How many scenes there are."""
        return sum(self.states.values())

    @classmethod
    def of(
        cls,
        scenes: pa.Table,
        splits: Mapping[str, str] | None,
        names: tuple[str, ...],
        about: Mapping[str, str],
    ) -> Self:
        """Count some scenes.

        Args:
            scenes: COLUMNS of table SCENES.
            splits: split of each scene by its id; None where they have none.
            names: names of the classes by id.
            about: metadata of the scenes manifest, see `Provenance.metadata`.

        Raises:
            ManifestError: the provenance in the metadata is damaged.
        """
        states = Counter(values(scenes, "state"))
        counted = Counter(pc.list_flatten(scenes["class_ids"]).to_pylist())
        by_split: dict[str, Counter[str]] = {}
        for name, state in zip(values(scenes, "scene_id"), values(scenes, "state"), strict=True):
            if splits is not None:
                by_split.setdefault(splits[name], Counter())[state] += 1
        try:
            licences = json.loads(about.get("gl10m.licences", "{}"))
            return cls(
                version=about.get("gl10m.version", "unknown"),
                class_names=names,
                class_counts=tuple(counted[number] for number in range(len(names))),
                splits={name: dict(sorted(by_split[name].items())) for name in sorted(by_split)},
                states=dict(sorted(states.items())),
                naip_days=_days(scenes, "naip_date"),
                sentinel2_days=_days(scenes, "sentinel2_date"),
                licences={key: Licence(**value) for key, value in sorted(licences.items())},
                inputs=dict(json.loads(about.get("gl10m.inputs", "{}"))),
            )
        except (AttributeError, TypeError, ValueError) as error:
            raise parquet.ManifestError(
                f"what manifests/scenes.parquet says of its making is damaged ({error}). Build it again."
            ) from error


def facts_of(root: Place) -> Facts:
    """What the manifests say of the whole data set.

    Raises:
        ManifestNotFoundError: no data set stands there.
        ManifestError: a manifest is damaged.
        StoreError: an index is damaged.
    """
    path = root / "manifests" / "scenes.parquet"
    scenes = parquet.read(path, SCENES, COLUMNS)
    splits = splits_of(root)
    if splits is not None and not set(values(scenes, "scene_id")) <= set(splits):
        splits = None
    return Facts.of(scenes, splits, names_at_hand(root), parquet.metadata_of(path))


def names_at_hand(root: Place) -> tuple[str, ...]:
    """Names of the classes by id; none where no index stands: no scene came through, or images are elsewhere.

    Raises:
        StoreError: an index is damaged.
    """
    try:
        return class_names(root)
    except DataSetNotFoundError:
        return ()


def splits_of(root: Place) -> dict[str, str] | None:
    """Split of each scene by its id; None where the data set is not split yet.

    Raises:
        ManifestError: the manifest is damaged.
    """
    path = root / "manifests" / "splits.parquet"
    if not path.exists():
        return None
    rows = parquet.read(path, SPLITS)
    return dict(zip(values(rows, "scene_id"), values(rows, "split"), strict=True))


def _days(scenes: pa.Table, name: str) -> tuple[date, date] | None:
    found: Any = pc.min_max(scenes[name])
    first, last = found["min"].as_py(), found["max"].as_py()
    return None if first is None else (first, last)
