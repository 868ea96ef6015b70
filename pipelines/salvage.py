"""Takes the whole scenes out of a damaged shard into the journal, where the next publication finds them."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from gl10m.manifest.columns import values, where
from gl10m.manifest.schema import FETCHED, REJECTIONS, STORED
from gl10m.scene.grid import TILES
from gl10m.storage.client import ObjectNotFoundError
from gl10m.storage.contents import at_hand
from gl10m.storage.place import Place
from gl10m.store.byte_source import LocalFiles
from gl10m.store.index import index_shard
from gl10m.store.layout import StoreError
from gl10m.store.reader import EVERY_IMAGE, RegionReader
from gl10m.store.region_index import RegionIndex
from gl10m.store.shard import open_shard, read_group
from pipelines.execution.fragments import make_fragment
from pipelines.execution.journal import Journal

BATCH = 32
"""Scenes of one fragment: some 100 MB."""


def salvage(
    path: Place,
    index: RegionIndex | None,
    listed: pa.Table | None,
    keys: Mapping[str, str],
    journal: Journal,
) -> int | None:
    """Write the whole scenes of a damaged shard into fragments.

    With index and scenes manifest each scene is judged by the checksums of its images; otherwise by the
    checksums of the shard's own pages, sixteen scenes at a time.

    Args:
        path: the shard.
        index: of its region; None where that is damaged.
        listed: schema SCENES; None where the manifest is damaged.
        keys: scene id to scene key; scenes without one are not kept.
        journal: takes the fragments.

    Returns:
        How many scenes were kept; None where there is no index and the shard is not damaged at all.
    """
    try:
        with at_hand(path) as local:
            if index is None and _reads(local):
                return None
            if index is None or listed is None:
                scenes = _by_pages(local)
            else:
                scenes = _by_images(local, index, where(listed, "shard", {local.name}))
            return sum(_keep(rows, keys, journal) for rows in scenes)
    except (ObjectNotFoundError, FileNotFoundError):
        return 0


def is_whole(path: Place) -> bool:
    """Whether a shard can be read to its last image, judged without an index."""
    try:
        with at_hand(path) as local:
            return _reads(local)
    except (ObjectNotFoundError, FileNotFoundError):
        return False


def _keep(rows: pa.Table, keys: Mapping[str, str], journal: Journal) -> int:
    """Commit a few scenes, schema FETCHED, that have a key."""
    known = where(rows, "scene_id", keys.keys())
    if known.num_rows:
        own = {str(name): keys[str(name)] for name in values(known, "scene_id")}
        journal.write_fragment(make_fragment(own, known, REJECTIONS.empty()))
    return known.num_rows


def _reads(local: Path) -> bool:
    """Whether every image of a shard stands where its own Parquet has it, page checksums verified."""
    try:
        index_shard(local)
    except StoreError:
        return False
    return True


def _by_images(local: Path, index: RegionIndex, listed: pa.Table) -> Iterator[pa.Table]:
    """Scenes whose 101 images have the checksums of the index, BATCH at a time, schema FETCHED."""
    rows = {str(name): row for row, name in enumerate(index.scene_ids)}
    source = LocalFiles(local.parent)
    reader = RegionReader(index, source)
    waiting: list[dict[str, Any]] = []
    for stored in listed.select(STORED.names).to_pylist():
        with contextlib.suppress(StoreError, KeyError):
            lr, *hr = reader.encoded(rows[str(stored["scene_id"])], EVERY_IMAGE)
            waiting.append({**stored, "lr": lr, "hr": hr})
        if len(waiting) == BATCH:
            yield pa.Table.from_pylist(waiting, schema=FETCHED.schema)
            waiting = []
    source.close()
    if waiting:
        yield pa.Table.from_pylist(waiting, schema=FETCHED.schema)


def _by_pages(local: Path) -> Iterator[pa.Table]:
    """Scenes of the row groups that read without a fault, schema FETCHED."""
    try:
        file = open_shard(local)
    except StoreError:
        return
    with file:
        for group in range(file.num_row_groups):
            try:
                rows = read_group(local, file, group, FETCHED.names)
            except StoreError:
                continue
            for start in range(0, rows.num_rows, BATCH):
                yield _fetched(rows.slice(start, BATCH))


def _fetched(stored: pa.Table) -> pa.Table:
    """Rows of a shard in schema FETCHED."""
    rows = stored.to_pylist()
    for row in rows:
        row["lr"] = row["lr"]["bytes"]
        row["hr"] = [image["bytes"] for image in row["hr"]]
    return pa.Table.from_pylist([row for row in rows if len(row["hr"]) == TILES], schema=FETCHED.schema)
