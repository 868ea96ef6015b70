"""From fragments to a data set: shards, index and manifests, published together or not at all."""

import heapq
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gl10m.manifest import parquet
from gl10m.manifest.columns import values, where, where_not
from gl10m.manifest.near_duplicates import with_neighbours
from gl10m.manifest.provenance import Provenance, digest
from gl10m.manifest.schema import (
    CANDIDATES,
    COVERAGE,
    FETCHED,
    FUNNEL,
    ITEMS,
    MATCHED,
    PLACED,
    REJECTIONS,
    SCENES,
    STORED,
    Table,
)
from gl10m.report.card import write_card
from gl10m.scene.class_map import ClassMap
from gl10m.scene.rejection import STAGES
from gl10m.storage.place import Place, below, readable
from gl10m.store.index import write_index
from gl10m.store.layout import StoreError, plan_shards
from gl10m.store.reader import open_index
from gl10m.store.shard import open_shard, read_rows, write_shard
from pipelines.execution.fragments import RECEIPTS, Receipts, account, read_scene
from pipelines.execution.journal import Journal, Publication, transaction_in
from pipelines.execution.ledger import forget
from pipelines.execution.lock import WORK
from pipelines.execution.software import software
from pipelines.region import RegionPlan, named_items

_LOG = logging.getLogger("gl10m")

IMAGE_STAGES = ("lr", "hr", "consistency")
"""Stages whose account stands in the receipts, in order."""

ABOUT = ("configuration", "inputs", "licences", "software", "parts")
"""What the metadata of a manifest say of its making, by region but for the licences."""

CONTENT = "gl10m.content"
"""Metadata key of a shard: digest of its scenes' keys, labels and provenance; the same means no change."""

DECLARED = {
    "candidates": CANDIDATES,
    "rejections": REJECTIONS,
    "scenes": SCENES,
    "items": ITEMS,
    "coverage": COVERAGE,
    "funnel": FUNNEL,
}
"""Manifests that a build writes."""


class MixedClassMapError(ValueError):
    """The regions of one data set must share one class map."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What a build knows of one region when all its scenes have been asked for."""

    plan: RegionPlan
    keys: Mapping[str, str]
    """Scene id to scene key of every matched candidate."""
    receipts: pa.Table
    """Schema RECEIPTS, of these keys."""
    configuration: Mapping[str, Any]
    inputs: Mapping[str, str]
    licences: tuple[str, ...]


def publish(root: Place, accounts: list[Account], class_map: ClassMap) -> pa.Table:
    """Write the data set of these regions; regions built earlier stay as they are.

    Args:
        root: the data set.
        accounts: one for each region of this build.
        class_map: the classes of the data set.

    Returns:
        Schema FUNNEL, of all regions of the data set.

    Raises:
        MixedClassMapError: the data set already holds regions of another class map.
    """
    journal, transaction = Journal(root), transaction_in(root)
    regions = {item.plan.region for item in accounts}
    kept_about = about_other_regions(root, regions, class_map)
    tables: dict[str, list[pa.Table]] = {name: [_others(root, name, regions)] for name in DECLARED}
    # Who is near to whom is told anew: a scene of this build may stand beside one of another region.
    tables["scenes"] = [table.select(PLACED.names) for table in tables["scenes"]]
    shards: set[str] = set()
    for item in sorted(accounts, key=lambda account: account.plan.region):
        scenes, names = _write_region(root, item, transaction, class_map)
        transaction.upload()
        shards |= names
        lost = [_read(path, REJECTIONS) for path in item.plan.dropped]
        tables["scenes"].append(scenes)
        tables["candidates"].append(_read(item.plan.candidates, CANDIDATES))
        tables["rejections"] += [*lost, account(item.receipts)]
        tables["items"].append(named_items(scenes, _read(item.plan.items, ITEMS)))
        tables["coverage"].append(_read(item.plan.coverage, COVERAGE))
        tables["funnel"].append(_funnel(item))
    metadata = _provenance(accounts, kept_about, class_map)
    final = {name: ordered(name, pa.concat_tables(tables[name])) for name in DECLARED}
    final["scenes"] = with_neighbours(final["scenes"])
    for name, declared in DECLARED.items():
        target = transaction.stage(f"manifests/{name}.parquet")
        parquet.write(target, final[name], declared, metadata)
    _stage_receipts(journal, accounts, regions, transaction)
    obsolete = [
        f"data/{path.name}"
        for region in regions
        for path in (root / "data").glob(f"{region}-*.parquet")
        if path.name not in shards
    ]
    empty = regions - set(values(final["scenes"], "state"))
    transaction.publish(obsolete + [f"index/{region}.arrow" for region in empty])
    write_card(root)
    for path in journal.fragments.glob("*.parquet"):
        path.unlink()
    forget(journal)
    journal.sweep()  # a worker given up for lost may have been writing still
    return final["funnel"]


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
    by_id = dict(zip(values(stored, "scene_id"), values(stored, "scene_key"), strict=True))
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


def _write_region(
    root: Place, item: Account, transaction: Publication, class_map: ClassMap
) -> tuple[pa.Table, set[str]]:
    """Stage the shards and the index of one region.

    Returns:
        Rows of schema PLACED, and the names of the region's shards.
    """
    region = item.plan.region
    kept = where(item.receipts, "outcome", {"kept"})
    ids = sorted(str(name) for name in values(kept, "scene_id"))
    rows = where(_read(item.plan.matched, MATCHED), "scene_id", ids).sort_by("scene_id").combine_chunks()
    pixels = _Pixels.of(root, region, {item.keys[name] for name in ids})
    names, about = class_map.names, _shard_metadata(item, class_map)
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


def _funnel(item: Account) -> pa.Table:
    """The account of all stages of one region, schema FUNNEL."""
    rows = list(item.plan.counts)
    reading = len(item.keys)
    dropped = where_not(item.receipts, "outcome", {"kept"}).to_pylist()
    for stage in IMAGE_STAGES:
        here = [row["outcome"] for row in dropped if row["stage"] == stage]
        row: dict[str, Any] = {
            "stage": stage,
            "state": item.plan.region,
            "read": reading,
            "kept": reading - len(here),
            "rejected": here.count("rejected"),
            "failed": here.count("failed"),
        }
        rows.append(row)
        reading = row["kept"]
    return pa.Table.from_pylist(rows, schema=FUNNEL.schema)


def _read(path: Place, declared: Table) -> pa.Table:
    """A table of the journal in its declared schema."""
    return pq.read_table(readable(path)).select(declared.names).cast(declared.schema)


def _others(root: Place, name: str, regions: set[str]) -> pa.Table:
    """Rows of an existing manifest that belong to other regions than these."""
    declared = DECLARED[name]
    path = root / "manifests" / f"{name}.parquet"
    if not _other_regions(root, regions):
        return declared.empty()
    table = parquet.read(path, declared)
    if name == "items":
        return named_items(_others(root, "scenes", regions), table)
    return where_not(table, "state", regions)


def ordered(name: str, table: pa.Table) -> pa.Table:
    """Rows in an order that no worker has a say in."""
    if name == "items":
        rows = table.sort_by([("collection", "ascending"), ("item_id", "ascending")])
        names = values(rows, "item_id")
        first = [i for i, item in enumerate(names) if i == 0 or names[i - 1] != item]
        return rows.take(pa.array(first, pa.int64()))
    if name == "coverage":
        return table.sort_by([("state", "ascending"), ("sensor", "ascending")])
    if name in {"rejections", "funnel"}:
        rank = pa.array([STAGES.index(stage) for stage in values(table, "stage")], pa.int8())
        ranked = table.append_column("rank", rank)
        keys = ["state", "rank", *(["subject"] if name == "rejections" else [])]
        return ranked.sort_by([(key, "ascending") for key in keys]).drop_columns(["rank"])
    return table.sort_by("scene_id")


def _shard_metadata(item: Account, class_map: ClassMap) -> dict[str, str]:
    """What a shard says of its own making: as the manifests do, of its region alone."""
    return _provenance([item], {name: {} for name in ABOUT}, class_map)


def about_other_regions(root: Place, regions: set[str], class_map: ClassMap) -> dict[str, Any]:
    """Configuration, inputs, licences, software and parts of regions built earlier into the same data set.

    Args:
        root: the data set.
        regions: of this build; what is written down of them is replaced.
        class_map: of this build.

    Raises:
        MixedClassMapError: they were labelled with another class map.
        ManifestError: they are there, but their manifest is not, or is damaged.
    """
    others = _other_regions(root, regions)
    found: dict[str, Any] = {name: {} for name in ABOUT}
    if not others:
        return found
    path = root / "manifests" / "scenes.parquet"
    names = ", ".join(sorted(others))
    try:
        about = parquet.metadata_of(path)
        about.setdefault("gl10m.parts", "{}")  # of a data set that was not put together
        written = {name: json.loads(about[f"gl10m.{name}"]) for name in found}
    except (parquet.ManifestError, KeyError, ValueError) as error:
        raise parquet.ManifestError(
            f"{path} is missing or damaged, and {root} also holds {names}, of which this build knows "
            f"nothing. Build them together with one command, --states {','.join(sorted(others | regions))}."
        ) from error
    if written["inputs"].get("class_map") != class_map.digest:
        raise MixedClassMapError(
            f"{root} holds {names} labelled with another class map. Regions of one data set share one map: "
            "give this build another folder with --root, or build all regions again."
        )
    found["licences"] = written["licences"]
    for name in ("configuration", "software", "parts"):
        found[name] = {region: value for region, value in written[name].items() if region in others}
    found["inputs"] = {
        name: value for name, value in written["inputs"].items() if name.partition(".")[0] in others
    }
    return found


def _other_regions(root: Place, regions: set[str]) -> set[str]:
    """Regions whose shards lie in the data set beside those of this build."""
    present = {path.name[:2] for path in (root / "data").glob("[A-Z][A-Z]-*.parquet")}
    return present - regions


def _provenance(accounts: list[Account], others: dict[str, Any], class_map: ClassMap) -> dict[str, str]:
    configuration, inputs = dict(others["configuration"]), dict(others["inputs"])
    made_with = dict(others["software"])
    licences = set(others["licences"])
    for item in accounts:
        configuration[item.plan.region] = item.configuration
        made_with[item.plan.region] = software()
        inputs |= {f"{item.plan.region}.{name}": value for name, value in item.inputs.items()}
        licences |= set(item.licences)
    inputs["class_map"] = class_map.digest
    parts = {"gl10m.parts": json.dumps(others["parts"], sort_keys=True)} if others["parts"] else {}
    return (
        parts
        | Provenance(
            configuration=configuration,
            inputs=inputs,
            licences=tuple(sorted(licences)),
            software=made_with,
        ).metadata()
    )


def _stage_receipts(
    journal: Journal, accounts: list[Account], regions: set[str], transaction: Publication
) -> None:
    """Receipts of this build and of the regions built earlier."""
    earlier = Receipts(journal).load()
    others = where_not(earlier, "state", regions)
    table = pa.concat_tables([others, *(item.receipts for item in accounts)]).sort_by("scene_key")
    target = transaction.stage(f"{WORK}/{Receipts(journal).path.name}")
    parquet.write(target, table, RECEIPTS, {})
