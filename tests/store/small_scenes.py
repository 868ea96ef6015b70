"""Scenes small enough for a test: every image a real JPEG, every tile another colour."""

import functools
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from numpy.typing import NDArray

from gl10m.manifest import parquet, seal
from gl10m.manifest.columns import values
from gl10m.manifest.near_duplicates import with_neighbours
from gl10m.manifest.provenance import Provenance
from gl10m.manifest.schema import (
    CANDIDATES,
    COVERAGE,
    FETCHED,
    FUNNEL,
    ITEMS,
    PLACED,
    REJECTIONS,
    SCENES,
    SPLITS,
    STORED,
)
from gl10m.scene.footprint import Footprint
from gl10m.scene.grid import TILES
from gl10m.storage.place import AnyPlace
from gl10m.store import codec
from gl10m.store.index import write_index
from gl10m.store.layout import index_path, plan_shards, shard_path
from gl10m.store.shard import write_shard

CLASSES = ("Airport", "Golf course", "Lake")
METADATA = Provenance(
    configuration={}, inputs={}, licences=("synthetic",), software={"gl10m": "0"}
).metadata()


@functools.cache
def plain(red: int, green: int, blue: int) -> NDArray[np.uint8]:
    """An image of one colour."""
    return np.broadcast_to(np.array([red, green, blue], np.uint8)[:, None, None], (3, 268, 268)).copy()


@functools.cache
def lr_jpeg(scene: int) -> bytes:
    return codec.encode_lr(plain(scene % 256, 200, 100))


@functools.cache
def tile_jpeg(scene: int, tile: int) -> bytes:
    """The tile's number stands in the north half, the scene's in the south half."""
    return codec.encode_tile(np.concatenate([stripes(tile), stripes(scene)], axis=1))


def stripes(number: int) -> NDArray[np.uint8]:
    """A number below 256 in white and black, lowest bit in the west; shape (3, 134, 268)."""
    bits = number >> np.arange(8) & 1
    line = (np.repeat(bits, 34)[:268] * 255).astype(np.uint8)
    return np.broadcast_to(line, (3, 134, 268)).copy()


def numbers(image: NDArray[np.uint8]) -> tuple[int, int]:
    """What `tile_jpeg` wrote: the tile and the scene."""
    middles = image[1, [60, 200], 17:268:34] > 128
    tile, scene = (middles * (1 << np.arange(8))).sum(axis=1).tolist()
    return tile, scene


def row(scene: int, region: str = "CA", **changes: object) -> dict[str, Any]:
    """One row of FETCHED; scenes of neighbouring numbers are neighbours on the ground."""
    footprint = Footprint(-120 + 0.03 * scene, 37)
    ids = [scene % len(CLASSES)]
    bits = np.zeros((TILES, len(CLASSES)), np.bool_)
    bits[scene % TILES, ids] = True
    values: dict[str, Any] = {
        "scene_id": f"{region}-w{1000 + scene}",
        "state": region,
        "osm_id": f"way/{1000 + scene}",
        "anchor_class": ids[0],
        "longitude": footprint.longitude,
        "latitude": footprint.latitude,
        "bounds": footprint.bounds,
        "class_ids": ids,
        "class_shares": [0.5],
        "labelled_share": 0.5,
        "tile_labels": np.packbits(bits, axis=1).tobytes(),
        "geometry": shapely.box(*footprint.bounds).wkb,
        "naip_items": [f"naip-{scene}"],
        "naip_date": date(2022, 6, 1),
        "naip_gsd": 0.6,
        "sentinel2_items": [f"s2-{scene}"],
        "sentinel2_date": date(2023, 6, 1),
        "cloud_cover": 1.0,
        "days_between": 365,
        "fallback": True,
        "black_lr": 0.0,
        "cloud_lr": 0.0,
        "filled_lr": 0.0,
        "black_hr": [0.0] * TILES,
        "lr": lr_jpeg(scene),
        "hr": [tile_jpeg(scene, tile) for tile in range(TILES)],
    }
    return values | changes


def fetched(numbers: Sequence[int] = range(3), region: str = "CA") -> pa.Table:
    """Rows of FETCHED."""
    return pa.Table.from_pylist([row(number, region) for number in numbers], schema=FETCHED.schema)


def items_of(scenes: pa.Table) -> pa.Table:
    """The items that scenes name, schema ITEMS, all else null."""
    columns = ("naip_items", "sentinel2_items")
    names = {name for column in columns for own in values(scenes, column) for name in own}
    return pa.Table.from_pylist([{"item_id": name} for name in sorted(names)], schema=ITEMS.schema)


def build(root: AnyPlace, splits: dict[str, str] | None = None, **scenes: int) -> AnyPlace:
    """A data set with so many scenes of each region: build(root, CA=5, WA=2).

    Args:
        root: where, a folder or a bucket.
        splits: split of each region; no split manifest if None.
        **scenes: number of scenes by region.
    """
    described = []
    for region, count in scenes.items():
        rows = fetched(range(count), region)
        paths = []
        for shard in plan_shards(region, count):
            path = shard_path(root, shard.name)
            paths.append(path)
            part = rows.slice(shard.first, shard.scenes)
            write_shard(path, part, CLASSES, METADATA)
            place: dict[str, Any] = {
                "shard": pa.array([path.name] * shard.scenes),
                "row": pa.array(range(shard.scenes), pa.int32()),
            }
            columns = part.select(STORED.names)
            for name, column in place.items():
                columns = columns.append_column(name, column)
            described.append(columns.cast(PLACED.schema))
        write_index(index_path(root, region), paths)
    table = with_neighbours(pa.concat_tables(described))
    for declared, rows in {
        SCENES: table,
        CANDIDATES: table.select(CANDIDATES.names),
        ITEMS: items_of(table),
        REJECTIONS: REJECTIONS.empty(),
        COVERAGE: COVERAGE.empty(),
        FUNNEL: FUNNEL.empty(),
    }.items():
        parquet.write(root / "manifests" / f"{declared.name}.parquet", rows, declared, METADATA)
    if splits is not None:
        chosen = [splits[str(state)] for state in table["state"].to_pylist()]
        rows = table.select(["scene_id"]).append_column("split", pa.array(chosen)).cast(SPLITS.schema)
        parquet.write(root / "manifests" / "splits.parquet", rows, SPLITS, METADATA)
    return root


def written(path: Path, table: pa.Table) -> None:
    """Write a manifest that no build would write, whole all the same: another program's edit, sealed."""
    metadata = {**(table.schema.metadata or {}), seal.KEY.encode(): seal.BLANK.encode()}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    seal.seal(path)
