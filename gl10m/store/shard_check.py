"""Is one shard what its index says? Size, footer and scenes; deep: every byte, every image."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from gl10m.manifest.columns import where
from gl10m.manifest.schema import STORED
from gl10m.scene.grid import TILES
from gl10m.storage.contents import at_hand
from gl10m.storage.place import Place
from gl10m.store.byte_source import LocalFiles
from gl10m.store.codec import SIDE
from gl10m.store.index import index_shard
from gl10m.store.layout import SHARDS, ShardName, StoreError, shard_path
from gl10m.store.problem import MANIFEST_REMEDY, Problem, without_remedy
from gl10m.store.reader import RegionReader
from gl10m.store.region_index import INDEX_REMEDY, RegionIndex
from gl10m.store.shard import REMEDY, open_shard


def check_shard(
    root: Place, index: RegionIndex, number: int, scenes: pa.Table | None, *, deep: bool
) -> list[Problem]:
    """Compare one shard with its index, and deep with the scenes manifest.

    Args:
        root: the data set.
        index: of the shard's region.
        number: of the shard in the index.
        scenes: schema SCENES; None where the manifest cannot be read.
        deep: read every byte and decode every image.

    Raises:
        StorageError: the object store refuses, or does not answer.
    """
    shard = index.shards[number]
    file = f"{SHARDS}/{shard.name}"
    path = shard_path(root, ShardName.parse(shard.name))
    if not path.is_file():
        return [Problem(file, None, "it is missing.", REMEDY)]
    size = path.stat().st_size
    if size != shard.size:
        return [Problem(file, None, f"it has {size} bytes; the index says {shard.size}.", REMEDY)]
    own = index.rows.filter(pa.array(index.column("shard") == number))
    problems = []
    try:
        with open_shard(path) as opened:
            if _scenes_by_footer(opened.metadata) != _scenes_by_index(opened.metadata, own):
                problems.append(Problem(file, None, "it holds other scenes than the index says.", REMEDY))
    except (StoreError, OSError, MemoryError) as error:
        problems.append(Problem(file, None, _told(error), REMEDY))
    if deep:
        problems += _check_deep(path, file, index, number, scenes)
    return problems


def _check_deep(
    path: Place, file: str, index: RegionIndex, number: int, scenes: pa.Table | None
) -> list[Problem]:
    """All that takes the bytes; one fault hides no other."""
    try:
        with at_hand(path) as local:
            problems = list(_check_images(local.parent, file, index, number))
            problems += _check_bytes(local, file, index, number)
            if scenes is not None:
                problems += _check_columns(local, scenes)
    except (OSError, MemoryError) as error:
        return [Problem(file, None, _told(error), REMEDY)]
    return problems


def _scenes_by_footer(footer: pq.FileMetaData) -> list[tuple[int, str | None, str | None]]:
    """Number of scenes, first and last id of each row group, by the statistics of the footer."""
    found = []
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        told = group.column(0).statistics
        found.append((group.num_rows, told.min if told else None, told.max if told else None))
    return found


def _scenes_by_index(footer: pq.FileMetaData, own: pa.Table) -> list[tuple[int, str | None, str | None]]:
    """The same by the index, row groups cut as in the footer; what is left over makes one more."""
    names, found, first = own["scene_id"].to_pylist(), [], 0
    for number in range(footer.num_row_groups):
        rows = footer.row_group(number).num_rows
        part = names[first : first + rows]
        found.append((len(part), part[0] if part else None, part[-1] if part else None))
        first += rows
    rest = names[first:]
    return found + ([(len(rest), rest[0], rest[-1])] if rest else [])


def _check_images(shards: Path, file: str, index: RegionIndex, number: int) -> Iterator[Problem]:
    """Read every image of a shard by its byte range, compare its checksum and decode it."""
    source = LocalFiles(shards)
    reader = RegionReader(index, source)
    pixels = np.empty((TILES, SIDE, SIDE, 3), np.uint8)
    for row in np.flatnonzero(index.column("shard") == number).tolist():
        scene = index.rows["scene_id"][row].as_py()
        try:
            reader.lr(row, pixels[0])
        except StoreError as error:
            yield Problem(file, scene, without_remedy(error), REMEDY)
        try:
            reader.hr(row, range(TILES), pixels)
        except StoreError:
            yield from _damaged_tiles(reader, row, file, scene, pixels[:1])
    source.close()


def _damaged_tiles(
    reader: RegionReader, row: int, file: str, scene: str | None, pixels: NDArray[np.uint8]
) -> Iterator[Problem]:
    """Each damaged tile of a scene that has one."""
    for tile in range(TILES):
        try:
            reader.hr(row, [tile], pixels)
        except StoreError as error:
            yield Problem(file, scene, without_remedy(error), REMEDY)


def _check_bytes(local: Path, file: str, index: RegionIndex, number: int) -> Iterator[Problem]:
    """Compare a shard's digest, and its index with the one that its own Parquet gives."""
    try:
        found = index_shard(local)
    except (StoreError, MemoryError, pa.ArrowException) as error:
        yield Problem(file, None, _told(error), REMEDY)
        return
    if found.file.sha256 != index.shards[number].sha256:
        yield Problem(file, None, "it does not have the SHA-256 that the index says.", REMEDY)
    own = index.rows.filter(pa.array(index.column("shard") == number))
    if not found.rows.equals(own):
        yield Problem(file, None, "the index tells other byte ranges or labels than the file.", INDEX_REMEDY)


def _check_columns(local: Path, scenes: pa.Table) -> Iterator[Problem]:
    """The manifest says of each scene of a shard what the shard says."""
    here = where(scenes, "shard", {local.name}).sort_by("row").select(STORED.names)
    try:
        with open_shard(local) as shard:
            stored = shard.read(columns=STORED.names).select(STORED.names).cast(here.schema)
    except (StoreError, pa.ArrowException, OSError, MemoryError):
        return  # the check of the bytes has told it
    if not stored.combine_chunks().equals(here.combine_chunks()):
        what = f"it does not say of {local.name} what the shard itself says."
        yield Problem("manifests/scenes.parquet", None, what, MANIFEST_REMEDY)


def _told(error: BaseException) -> str:
    if isinstance(error, StoreError):
        return without_remedy(error)
    return f"it cannot be read ({type(error).__name__}: {error})."
