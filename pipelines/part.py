"""One of the data sets that are put together, and what is written of its making."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

import gl10m
from gl10m.manifest import parquet
from gl10m.manifest.columns import values, where
from gl10m.manifest.provenance import digest
from gl10m.manifest.schema import BUILD_MANIFESTS, ITEMS
from gl10m.storage.place import Place
from gl10m.store.byte_source import byte_source
from gl10m.store.layout import StoreError, index_path
from gl10m.store.reader import RegionReader
from gl10m.store.region_index import RegionIndex, open_index, regions_of
from pipelines.execution.fragments import Receipts
from pipelines.execution.journal import Journal
from pipelines.publish import MixedClassMapError

BY_REGION: Final = ("configuration", "software")
"""Metadata that hold one value a region."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """How one region was made: by one build, or by several whose results were put together."""

    parts: tuple[str, ...]
    """Digests of the builds' results, sorted: by them a part that is in already is known."""
    builds: tuple[Mapping[str, Any], ...]
    """What each build wrote: configuration, software and inputs; each once, sorted by digest."""
    licences: Mapping[str, Any]

    def joined(self, other: "Making") -> "Making":
        """Both; what they share stands once."""
        builds = {digest(build): build for build in (*self.builds, *other.builds)}
        return Making(
            parts=tuple(sorted({*self.parts, *other.parts})),
            builds=tuple(builds[key] for key in sorted(builds)),
            licences={**self.licences, **other.licences},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A region of a data set."""

    root: Place
    region: str
    index: RegionIndex
    reader: RegionReader
    tables: Mapping[str, pa.Table]
    """Manifests by name: rows of the region, scenes as in the index; of items all."""
    receipts: pa.Table
    """Schema RECEIPTS; empty where the journal is gone."""
    making: Making


def read_part(root: Place, region: str) -> Part:
    """Open one region of a data set.

    Raises:
        DataSetNotFoundError: there is no such region.
        StoreError: index or shard is damaged or missing.
        ManifestError: a manifest is damaged.
        ManifestNotFoundError: a manifest is missing.
    """
    index = open_index(index_path(root, region))
    reader = RegionReader(index, byte_source(root))
    reader.check_shards()
    tables = {}
    for declared in BUILD_MANIFESTS:
        rows = parquet.read(root / "manifests" / f"{declared.name}.parquet", declared)
        tables[declared.name] = rows if declared is ITEMS else where(rows, "state", {region})
    if values(tables["scenes"], "scene_id") != index.scene_ids:
        raise StoreError(
            f"index and scenes manifest of {region} in {root} differ. `gl10m repair` mends that."
        )
    return Part(
        root=root,
        region=region,
        index=index,
        reader=reader,
        tables=tables,
        receipts=where(Receipts(Journal(root)).published(), "state", {region}),
        making=making_in(root, index),
    )


def making_in(root: Place, index: RegionIndex) -> Making:
    """How the region of an index was made.

    Raises:
        ManifestError: the scenes manifest is damaged.
    """
    about = parquet.metadata_of(root / "manifests" / "scenes.parquet")
    return making_of(index.region, about, [shard.sha256 for shard in index.shards])


def making_of(region: str, about: Mapping[str, str], shards: Iterable[str]) -> Making:
    """How a region was made, from the metadata of a manifest.

    Args:
        region: its code.
        about: the metadata.
        shards: SHA-256 of its shards, by which a build's result is told from another's.
    """
    told = {name: json.loads(about.get(f"gl10m.{name}", "{}")) for name in (*BY_REGION, "inputs", "parts")}
    inputs = {
        name.partition(".")[2]: value
        for name, value in told["inputs"].items()
        if name.startswith(f"{region}.")
    }
    several = told["configuration"].get(region, {}).get("builds") if region in told["parts"] else None
    if several is None:
        builds = [{"inputs": inputs, **{name: told[name].get(region, {}) for name in BY_REGION}}]
    else:
        builds = [
            {
                "inputs": {
                    name.partition(".")[2]: value
                    for name, value in inputs.items()
                    if name.startswith(f"build-{number}.")
                },
                **{name: told[name][region]["builds"][number - 1] for name in BY_REGION},
            }
            for number in range(1, len(several) + 1)
        ]
    parts = told["parts"].get(region) or [digest([builds, sorted(shards)])]
    made = Making(
        parts=tuple(sorted(parts)), builds=(), licences=json.loads(about.get("gl10m.licences", "{}"))
    )
    return made.joined(Making(parts=(), builds=tuple(builds), licences={}))


def making_metadata(makings: Mapping[str, Making], class_map: str) -> dict[str, str]:
    """Metadata of a manifest or a shard; those of a region of one build read as its own build wrote them.

    Args:
        makings: by region.
        class_map: digest of the class map.
    """
    inputs: dict[str, Any] = {"class_map": class_map}
    by_region: dict[str, dict[str, Any]] = {name: {} for name in BY_REGION}
    licences: dict[str, Any] = {}
    for region, making in sorted(makings.items()):
        alone = len(making.builds) == 1
        for number, build in enumerate(making.builds, start=1):
            prefix = region if alone else f"{region}.build-{number}"
            inputs |= {f"{prefix}.{name}": value for name, value in build["inputs"].items()}
        for name in BY_REGION:
            told = [build[name] for build in making.builds]
            by_region[name][region] = told[0] if alone else {"builds": told}
        licences |= making.licences
    parts = {region: list(making.parts) for region, making in makings.items()}
    all_told = {**by_region, "inputs": inputs, "licences": licences, "parts": parts}
    dumped = {f"gl10m.{name}": json.dumps(value, sort_keys=True) for name, value in all_told.items()}
    return {"gl10m.version": gl10m.__version__, "gl10m.paper": "arXiv:2604.11415", **dumped}


def class_map_of(roots: Iterable[Place]) -> tuple[str, tuple[str, ...]]:
    """Digest and class names of the one class map that all parts share.

    Raises:
        DataSetNotFoundError: one is no data set.
        MixedClassMapError: they do not share one.
    """
    found: dict[tuple[str, tuple[str, ...]], Place] = {}
    for root in roots:
        regions = regions_of(root)
        about = parquet.metadata_of(root / "manifests" / "scenes.parquet")
        digest_of_map = str(json.loads(about.get("gl10m.inputs", "{}")).get("class_map", ""))
        for region in regions:
            found.setdefault((digest_of_map, open_index(index_path(root, region)).class_names), root)
    if len(found) > 1:
        one, other = list(found.values())[:2]
        raise MixedClassMapError(
            f"data sets that are put together share one class map; {one} and {other} were labelled with "
            "different ones. Build one of them again with the map of the other, `gl10m build --class-map`: "
            "no image is fetched again."
        )
    return next(iter(found))
