"""The index: where in which shard every image of a region lies, so that one read fetches one tile.

It is made from the shards' bytes alone, so that a lost index costs one reading of the shards.
"""

import itertools
import json
import mmap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from isal import isal_zlib

from gl10m.manifest import seal
from gl10m.manifest.parquet import replacing
from gl10m.scene.grid import TILES
from gl10m.storage.checksum import sha256_of
from gl10m.storage.contents import at_hand
from gl10m.storage.place import Place
from gl10m.store.codec import MAX_IMAGE_BYTES
from gl10m.store.layout import (
    LENGTH_PREFIX,
    STORE_VERSION,
    ShardName,
    StoreError,
    index_schema,
)
from gl10m.store.shard import REMEDY, column, open_shard, read_group

_INDEXED = ["scene_id", "class_ids", "bounds", "tile_labels", "lr", "hr"]


@dataclass(frozen=True, slots=True)
class ShardFile:
    """One shard as its region's index knows it."""

    name: str
    """File name in data/."""
    size: int
    """Bytes."""
    sha256: str
    """Of the whole file, hexadecimal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexedShard:
    """One shard and the byte ranges of its images."""

    file: ShardFile
    class_names: tuple[str, ...]
    rows: pa.Table
    """Schema `index_schema`; `shard` is the shard's number in its name."""


def index_shard(place: Place) -> IndexedShard:
    """Locate every image of a shard in its bytes.

    Each image is read through Parquet, page checksums verified, and looked up in the raw file: what the index
    then says of a range is what stands there, length prefix included.

    Args:
        place: a shard; one in a bucket is copied to this machine meanwhile.

    Raises:
        FileNotFoundError: there is no such shard.
        StoreError: it is damaged, or its images do not stand as they are, one scene a page.
    """
    number = ShardName.parse(place.name).number
    with at_hand(place) as path, open_shard(path) as file, path.open("rb") as raw:
        class_names = class_names_of(file.schema_arrow.metadata or {}, path)
        groups = []
        first_row = 0
        with mmap.mmap(raw.fileno(), 0, access=mmap.ACCESS_READ) as content:
            for group in range(file.num_row_groups):
                rows = read_group(path, file, group, _INDEXED)
                found = _locate(path, content, file.metadata.row_group(group), rows)
                groups.append(_index_rows(rows, found, number, first_row, len(class_names)))
                first_row += rows.num_rows
        described = ShardFile(path.name, path.stat().st_size, sha256_of(path))
    return IndexedShard(file=described, class_names=class_names, rows=pa.concat_tables(groups))


def write_index(path: Place, shards: Iterable[Place | IndexedShard]) -> None:
    """Write the index of a region, whole or not at all. The same shards give the same bytes.

    Args:
        path: index/CA.arrow of a data set; its stem is the region.
        shards: all shards of the region, indexed already or to be indexed now.

    Raises:
        FileNotFoundError: a shard is missing.
        StoreError: a shard is damaged, the shards are not the whole of the region, or they disagree on the
            classes.
        OSError: the folder cannot be written.
    """
    parts = [shard if isinstance(shard, IndexedShard) else index_shard(shard) for shard in shards]
    parts.sort(key=lambda part: part.file.name)
    names = [ShardName.parse(part.file.name) for part in parts]
    if not names or names != [ShardName(path.stem, number, len(names)) for number in range(len(names))]:
        listed = ", ".join(map(str, names)) or "none"
        raise StoreError(f"an index covers all shards of its region; {path.name} got {listed}. {REMEDY}")
    if len({part.class_names for part in parts}) > 1:
        raise StoreError(f"the shards of {path.stem} name different classes. Build the region again.")
    rows = pa.concat_tables([part.rows for part in parts]).combine_chunks()
    scenes = [str(name) for name in rows["scene_id"].to_pylist()]
    if any(after <= before for before, after in itertools.pairwise(scenes)):
        raise StoreError(
            f"the shards of {path.stem} do not hold its scenes once each, sorted by id. {REMEDY}"
        )
    about = {
        "gl10m.store_version": str(STORE_VERSION),
        "gl10m.class_names": json.dumps(parts[0].class_names),
        "gl10m.shards": json.dumps([asdict(part.file) for part in parts]),
        seal.KEY: seal.BLANK,
    }
    described = rows.replace_schema_metadata(about)
    with replacing(path) as temporary:
        with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, described.schema) as writer:
            writer.write_table(described)
        seal.seal(temporary)


def class_names_of(metadata: Mapping[bytes, bytes], path: Place) -> tuple[str, ...]:
    """The classes that the metadata of a shard or an index names, by id.

    Raises:
        StoreError: there is no such list.
    """
    try:
        names = json.loads(metadata[b"gl10m.class_names"])
        whole = isinstance(names, list) and names and all(isinstance(name, str) for name in names)
    except (KeyError, ValueError):
        whole = False
    if not whole:
        raise StoreError(f"{path} does not say its classes in gl10m.class_names. {REMEDY}")
    return tuple(names)


@dataclass(frozen=True, slots=True)
class _Range:
    """Where one image stands."""

    offset: int
    length: int
    crc32: int


def _locate(
    path: Path, content: mmap.mmap, group: pq.RowGroupMetaData, rows: pa.Table
) -> Iterator[tuple[_Range, list[_Range]]]:
    """The ranges of each scene's LR image and of its tiles, for one row group."""
    lr = column(rows, "lr").field("bytes")
    hr = column(rows, "hr").flatten().field("bytes")
    counts = set(column(rows, "hr").value_lengths().to_pylist())
    if counts != {TILES} or lr.null_count or hr.null_count:
        raise StoreError(f"{path} has a scene without one LR image and {TILES} HR tiles. {REMEDY}")
    lr_ranges = _find(path, content, _column(path, group, "lr.bytes"), lr)
    hr_ranges = _find(path, content, _column(path, group, "hr.list.element.bytes"), hr)
    for scene, found in enumerate(lr_ranges):
        tiles = hr_ranges[scene * TILES : (scene + 1) * TILES]
        for tile, after in itertools.pairwise(tiles):
            if after.offset != tile.offset + tile.length + LENGTH_PREFIX:
                raise StoreError(f"the tiles of scene {scene} in {path} do not lie back to back. {REMEDY}")
        yield found, tiles


def _find(path: Path, content: mmap.mmap, chunk: tuple[int, int], images: pa.BinaryArray) -> list[_Range]:
    """Look up images, in their order, in the bytes of a column chunk."""
    position, end = chunk
    ranges = []
    for image in images:
        encoded = memoryview(image.as_buffer()).cast("B")
        length = len(encoded)
        if not 0 < length <= MAX_IMAGE_BYTES:
            raise StoreError(f"{path} holds an image of {length} bytes; an image has 1 to {MAX_IMAGE_BYTES}.")
        # Between two images stands a length prefix, between two pages a header of some 40 bytes besides.
        offset = content.find(encoded, position + LENGTH_PREFIX, end)
        prefix = length.to_bytes(LENGTH_PREFIX, "little")
        if offset < 0 or content[offset - LENGTH_PREFIX : offset] != prefix:
            raise StoreError(
                f"{path} does not hold its images as they are, behind their lengths: it was compressed or "
                f"rewritten by another program. {REMEDY}"
            )
        ranges.append(_Range(offset, length, isal_zlib.crc32(encoded)))
        position = offset + length
    return ranges


def _column(path: Path, group: pq.RowGroupMetaData, name: str) -> tuple[int, int]:
    """First byte and end of a column's pages."""
    for number in range(group.num_columns):
        chunk = group.column(number)
        if chunk.path_in_schema == name:
            return chunk.data_page_offset, chunk.data_page_offset + chunk.total_compressed_size
    raise StoreError(f"{path} has no column {name}. {REMEDY}")


def _index_rows(
    rows: pa.Table,
    found: Iterator[tuple[_Range, list[_Range]]],
    shard: int,
    first_row: int,
    classes: int,
) -> pa.Table:
    lr, hr = zip(*found, strict=True)
    count = len(lr)
    label = np.zeros((count, classes), np.uint8)
    for scene, ids in enumerate(rows["class_ids"].to_pylist()):
        if ids and max(ids) >= classes:
            raise StoreError(f"a scene has class {max(ids)}, but the shard names {classes} classes. {REMEDY}")
        label[scene, ids or []] = 1
    lengths = np.array([[tile.length for tile in tiles] for tiles in hr], np.int32)
    sums = np.array([[image.crc32 for image in (first, *tiles)] for first, tiles in zip(lr, hr, strict=True)])
    columns: dict[str, Any] = {
        "scene_id": rows["scene_id"],
        "shard": [shard] * count,
        "row": range(first_row, first_row + count),
        "lr_offset": [image.offset for image in lr],
        "lr_length": [image.length for image in lr],
        "hr_offset": [tiles[0].offset for tiles in hr],
        "hr_length": _lists(lengths, pa.int32()),
        "crc32": _lists(sums.astype(np.uint32), pa.uint32()),
        "label": _lists(label, pa.uint8()),
        "bounds": rows["bounds"],
        "tile_labels": rows["tile_labels"],
    }
    return pa.table(columns, schema=index_schema(classes))


def _lists(values: np.ndarray[Any, Any], kind: pa.DataType) -> "pa.FixedSizeListArray[Any, None]":
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel(), kind), values.shape[1])
