"""Data sets for `benchmarks/loader.py`: scenes of aerial detail, and an index of the paper's size."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import rasterio

from gl10m.manifest import parquet, seal
from gl10m.manifest.schema import SPLITS
from gl10m.scene.grid import TILES
from gl10m.store import codec
from gl10m.store.index import write_index
from gl10m.store.layout import index_path, plan_shards, shard_path
from gl10m.store.region_index import open_index
from gl10m.store.shard import write_shard
from tests.store.small_scenes import CLASSES, METADATA, fetched

PAPER_SCENES = 104_020
PAPER_REGIONS = 48
SHARD_BYTES = 435_000_000
DIFFERENT = 256


def textures(count: int = DIFFERENT) -> list[bytes]:
    """Encoded images with as much detail as an aerial one."""
    generator = np.random.default_rng(0)
    fields = generator.integers(40, 200, (count, 3, 9, 9)).repeat(30, 2).repeat(30, 3)[:, :, :268, :268]
    noise = generator.normal(0, 7, (count, 1, 268, 268))
    images = np.clip(fields + noise, 0, 255).astype(np.uint8)
    return [codec.encode_tile(image) for image in images]


def crops(folder: Path) -> list[bytes]:
    """Tiles cut out of all NAIP rasters of a folder, encoded as the store does it."""
    images = []
    for path in sorted(folder.rglob("m_*.tif")):
        with rasterio.open(path) as raster:
            pixels = raster.read([1, 2, 3])
        _, height, width = pixels.shape
        # Real ground is scarce: tiles overlap, so that there are some hundreds of different ones.
        places = [(y, x) for y in range(0, height - 267, 67) for x in range(0, width - 267, 67)]
        found = [pixels[:, y : y + 268, x : x + 268] for y, x in places]
        images += [codec.encode_tile(np.ascontiguousarray(tile)) for tile in found if tile.min(0).any()]
    if not images:
        raise SystemExit(f"no NAIP raster m_*.tif of 268 x 268 pixels in {folder}")
    return images


def build(root: Path, scenes: int, images: list[bytes]) -> None:
    """Write a data set of one region with these tiles in turn."""
    order = np.random.default_rng(1).permutation(len(images))
    rows = fetched(range(scenes))
    tiles = [
        [images[order[(scene * 37 + tile) % len(images)]] for tile in range(TILES)] for scene in range(scenes)
    ]
    lr = codec.encode_lr(codec.decode(images[0]))
    for name, values in {"hr": tiles, "lr": [lr] * scenes}.items():
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(place, rows.schema.field(name), pa.array(values, rows.schema.field(name).type))
    paths = []
    for shard in plan_shards("CA", scenes):
        paths.append(shard_path(root, shard.name))
        write_shard(paths[-1], rows.slice(shard.first, shard.scenes), CLASSES, METADATA)
    write_index(index_path(root, "CA"), paths)


def full_size(root: Path, small: Path, scenes: int = PAPER_SCENES) -> None:
    """Indexes of the paper's size and its splits, with empty files of the right length for shards.

    Args:
        root: where.
        small: a data set; its first scene is repeated, with names, places and shards of its own.
        scenes: how many in all.
    """
    for folder in ("data", "index"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    first = open_index(min((small / "index").glob("*.arrow"))).rows
    names: list[str] = []
    for number in range(PAPER_REGIONS):
        region = f"{chr(65 + number // 26)}{chr(65 + number % 26)}"
        names += _region(root, region, first, scenes // PAPER_REGIONS + (number < scenes % PAPER_REGIONS))
    splits = pa.table({"scene_id": names, "split": ["train"] * len(names)}).cast(SPLITS.schema)
    parquet.write(root / "manifests" / "splits.parquet", splits, SPLITS, METADATA)


def _region(root: Path, region: str, first: pa.Table, count: int) -> list[str]:
    """Write the index of one region and empty shards; the ids of its scenes."""
    ids = [f"{region}-w{10_000_000 + scene}" for scene in range(count)]
    rows = pa.concat_tables([first.slice(0, 1)] * count)
    places = np.arange(count)
    for name, values in {"scene_id": ids, "shard": places // 128, "row": places % 128}.items():
        place, field = rows.schema.get_field_index(name), rows.schema.field(name)
        rows = rows.set_column(place, field, pa.array(values, field.type))
    files = [
        {"name": str(part.name), "size": SHARD_BYTES, "sha256": "0" * 64}
        for part in plan_shards(region, count)
    ]
    for file in files:
        with (root / "data" / str(file["name"])).open("wb") as empty:
            empty.truncate(SHARD_BYTES)
    about: dict[bytes | str, bytes | str] = {
        **(first.schema.metadata or {}),
        b"gl10m.shards": json.dumps(files),
        seal.KEY.encode(): seal.BLANK,
    }
    described = rows.combine_chunks().replace_schema_metadata(about)
    path = index_path(root, region)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, described.schema) as writer:
        writer.write_table(described)
    seal.seal(path)
    return ids
