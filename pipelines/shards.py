"""The shards of a region: written from fragments and from shards published before, or left as they stand."""

import heapq
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from gl10m.manifest import parquet
from gl10m.manifest.columns import paired, values, where
from gl10m.manifest.provenance import digest
from gl10m.manifest.schema import FETCHED, MATCHED, PLACED, STORED
from gl10m.storage.contents import readable
from gl10m.storage.place import Place, below
from gl10m.store.index import write_index
from gl10m.store.layout import StoreError, plan_shards
from gl10m.store.region_index import open_index
from gl10m.store.shard import open_shard, read_rows, write_shard
from pipelines.account import Account
from pipelines.execution.fragments import Receipts, read_scene
from pipelines.execution.journal import Journal, declared_table
from pipelines.execution.publication import Publication

_LOG = logging.getLogger("gl10m")

CONTENT = "gl10m.content"
"""Metadata key of a shard: digest of its scenes' keys, labels and provenance; the same means no change."""


def available(root: Place, receipts: pa.Table) -> set[str]:
    """Keys of kept scenes whose images are at hand, in a fragment or in a published shard.

    Args:
        root: the data set.
        receipts: schema RECEIPTS.
    """
    kept = where(receipts, "outcome", {"kept"})
    journal = Receipts(Journal(root))
    found = {key for key, _, _ in journal.payload(set(values(kept, "scene_key")))}
    # A fragment may hold the same scene read in another way: the shards hold what was published.
    stored = where(journal.published(), "outcome", {"kept"})
    by_id = paired(stored, "scene_id", "scene_key")
    for names in _published(root, set(values(stored, "state"))).values():
        found |= {by_id[name] for name in names if name in by_id}
    return found


def _published(root: Place, regions: Iterable[str]) -> dict[Place, list[str]]:
    """Scene ids of each published shard that can be read, in the order of the shards.

    The shards are asked, not the manifest: whatever else is lost, the images in them are at hand.
    """
    shards: dict[Place, list[str]] = {}
    for region in sorted(regions):
        for path in below(root / "data", f"{region}-*.parquet"):
            try:
                with open_shard(path) as shard:
                    shards[path] = values(shard.read(columns=["scene_id"]), "scene_id")
            except (StoreError, OSError, pa.ArrowException) as error:
                _LOG.warning("%s cannot be read and is fetched again (%s)", path, type(error).__name__)
    return shards


def stage_region(
    root: Place, item: Account, transaction: Publication, names: tuple[str, ...], about: Mapping[str, str]
) -> tuple[pa.Table, set[str]]:
    """Stage the shards and the index of one region.

    Args:
        root: the data set.
        item: the region's account.
        transaction: publishes what is staged.
        names: of the classes by id.
        about: what the shards say of their own making, see `Provenance.metadata`.

    Returns:
        Rows of schema PLACED, and the names of the region's shards.

    Raises:
        DamagedTableError: the matches in the journal have changed since they were written.
    """
    region = item.region
    kept = where(item.receipts, "outcome", {"kept"})
    ids = sorted(str(name) for name in values(kept, "scene_id"))
    rows = (
        where(declared_table(item.plan.matched, MATCHED), "scene_id", ids)
        .sort_by("scene_id")
        .combine_chunks()
    )
    pixels = _Pixels.of(root, region, {item.keys[name] for name in ids})
    paths: list[Place] = []
    for planned in plan_shards(region, len(ids)):
        members = rows.slice(planned.first, planned.scenes)
        keys = {name: item.keys[name] for name in values(members, "scene_id")}
        content = digest([names, list(keys.values()), members.to_pylist(), about])
        path = root / "data" / str(planned.name)
        if _content(path) != content:
            path = transaction.stage(f"data/{planned.name}")
            write_shard(path, _relabelled(members, pixels.rows(keys)), names, {**about, CONTENT: content})
        paths.append(path)
    if paths and not _is_indexed(root / "index" / f"{region}.arrow", paths):
        write_index(transaction.stage(f"index/{region}.arrow"), paths)
    return _scenes(paths), {path.name for path in paths}


def _is_indexed(path: Place, shards: list[Place]) -> bool:
    """Whether an index stands, whole, and is of just these files."""
    try:
        index = open_index(path)
    except (StoreError, FileNotFoundError):
        return False
    own = [(shard.name, shard.size) for shard in index.shards]
    here = path.parent.parent / "data"
    return own == [(shard.name, shard.stat().st_size) for shard in shards if shard.parent == here]


def _relabelled(matched: pa.Table, fetched: Iterator[pa.Table]) -> Iterator[pa.Table]:
    """Images with the labels and places of this build: another class map fetches no image again.

    Args:
        matched: schema MATCHED, sorted by scene id.
        fetched: the same scenes one by one, schema FETCHED, in the same order.
    """
    images = FETCHED.names[len(MATCHED.names) :]
    for number, row in enumerate(fetched):
        known = matched.slice(number, 1)
        columns = [known[name] for name in MATCHED.names] + [row[name] for name in images]
        yield pa.Table.from_arrays(columns, schema=FETCHED.schema)


@dataclass(frozen=True, slots=True)
class _Pixels:
    """Where the fetched rows of a region's scenes lie: in fragments, or in shards published before."""

    fragments: dict[str, tuple[Place, int]]
    """Scene key to file and row."""
    shards: dict[Place, list[str]]
    """Published shards with the ids of their scenes."""

    @classmethod
    def of(cls, root: Place, region: str, keys: set[str]) -> "_Pixels":
        fragments = {key: (path, row) for key, path, row in Receipts(Journal(root)).payload(keys)}
        return cls(fragments, _published(root, [region]))

    def rows(self, keys: Mapping[str, str]) -> Iterator[pa.Table]:
        """The fetched rows of some scenes, schema FETCHED, one at a time, in the order of their ids."""
        old = {name for name, key in keys.items() if key not in self.fragments}
        fresh = sorted((name, *self.fragments[key]) for name, key in keys.items() if name not in old)
        merged = heapq.merge(
            ((name, read_scene(path, row)) for name, path, row in fresh),
            self._stored(old),
            key=lambda scene: scene[0],
        )
        for _, table in merged:
            yield table

    def _stored(self, wanted: set[str]) -> Iterator[tuple[str, pa.Table]]:
        for shard, names in self.shards.items():
            here = wanted.intersection(names)
            for batch in read_rows(shard, here) if here else ():
                for row, name in enumerate(values(batch, "scene_id")):
                    yield str(name), batch.slice(row, 1)


def _content(shard: Place) -> str | None:
    """The content digest of a published shard, or None where there is none to be read."""
    try:
        return parquet.metadata_of(shard).get(CONTENT)
    except parquet.ManifestError:
        return None


def _scenes(paths: list[Place]) -> pa.Table:
    """Rows of PLACED from the shards themselves, so that manifest and shards cannot disagree."""
    columns = STORED.names
    parts = [PLACED.empty()]
    for path in paths:
        with pq.ParquetFile(readable(path)) as file:
            rows = file.read(columns=columns).select(columns)
        shard = pa.array([path.name] * rows.num_rows, pa.string())
        number = pa.array(range(rows.num_rows), pa.int32())
        table = rows.append_column("shard", shard).append_column("row", number)
        parts.append(table.cast(PLACED.schema))
    return pa.concat_tables(parts)
