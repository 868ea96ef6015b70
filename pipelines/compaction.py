"""Puts many small data sets together: each scene once, shards full, images copied as they are.

It goes region by region, and each region is published by itself: whoever kills it loses the region under
way, and the same command goes on. Which part gives a scene, and every byte written, depends on the parts
alone, not on the order in which they are named.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from gl10m.manifest import parquet
from gl10m.manifest.columns import values, where, where_not
from gl10m.manifest.near_duplicates import with_neighbours
from gl10m.manifest.outcome import Ledger
from gl10m.manifest.provenance import digest
from gl10m.manifest.schema import FETCHED, PLACED, SCENES, STORED
from gl10m.scene.rejection import STAGES, Reason
from gl10m.storage.place import Place
from gl10m.store.index import IndexedShard, index_shard, write_index
from gl10m.store.layout import PlannedShard, StoreError, index_path, plan_shards
from gl10m.store.reader import EVERY_IMAGE
from gl10m.store.region_index import DataSetNotFoundError, open_index, regions_of
from gl10m.store.shard import write_shard
from pipelines.execution.fragments import RECEIPTS, Receipts
from pipelines.execution.journal import Journal
from pipelines.execution.lock import WORK, locked
from pipelines.execution.publication import Publication, transaction_in
from pipelines.part import Making, Part, class_map_of, making_in, making_metadata, read_part
from pipelines.publish import DECLARED, ordered
from pipelines.region import named_items
from pipelines.shards import CONTENT

LAST = STAGES[-1]
"""Stage at which a scene that several parts have is let go but once."""

Chosen = Mapping[str, tuple[Part, int]]
"""Scene id to the part that gives it, and its row in that part's index."""


class OverlappingPartsError(ValueError):
    """Two parts were made of the same build, among others: its rows would be counted twice."""


def compact(root: Place, parts: Sequence[Place]) -> str:
    """Put data sets together into one.

    Args:
        root: where; a data set that stands there already is a part, too.
        parts: other data sets, which are only read.

    Returns:
        What was done, a line a region.

    Raises:
        DataSetNotFoundError: a part is no data set.
        MixedClassMapError: the parts were labelled with different class maps.
        OverlappingPartsError: two parts contain the same build beside others.
        StoreError: a part is damaged; nothing of its region is published.
        BuildLockedError: somebody else writes into the data set.
    """
    lines = []
    class_map_of(parts)  # what is no part is refused before anything is made
    with locked(root):
        Journal(root).sweep()
        transaction_in(root).recover()
        here = _regions(root)
        class_map, names = class_map_of([*parts, *([root] if here else [])])
        for region in sorted({region for part in parts for region in regions_of(part)}):
            own = [read_part(part, region) for part in parts if region in regions_of(part)]
            standing = read_part(root, region) if region in here else None
            fresh = _fresh(own, standing)
            if fresh:
                joined = sorted(
                    [*fresh, *([standing] if standing else [])], key=lambda part: part.making.parts
                )
                lines.append(_compact_region(root, joined, class_map, names))
            else:
                lines.append(f"{region}: all parts are in already")
    return "\n".join([*lines, f"Next: gl10m split --root {root}"])


def _regions(root: Place) -> list[str]:
    try:
        return regions_of(root)
    except DataSetNotFoundError:
        return []


def _fresh(parts: Sequence[Part], standing: Part | None) -> list[Part]:
    """Parts that are not in the data set yet, each once.

    Raises:
        OverlappingPartsError: one is in half.
    """
    known = set(standing.making.parts) if standing else set()
    fresh = []
    for part in sorted(parts, key=lambda part: (-len(part.making.parts), part.making.parts)):
        own = set(part.making.parts)
        if own <= known:
            continue
        if own & known:
            raise OverlappingPartsError(
                f"{part.root} holds builds of {part.region} that are in already, together with others that "
                "are not. Name the data sets that it was put together from, or begin with an empty --root."
            )
        known |= own
        fresh.append(part)
    return fresh


def _compact_region(root: Place, parts: list[Part], class_map: str, names: Sequence[str]) -> str:
    """Write and publish one region."""
    region, transaction = parts[0].region, transaction_in(root)
    chosen = _choose(parts)
    making = parts[0].making
    for part in parts[1:]:
        making = making.joined(part.making)
    about = making_metadata({region: making}, class_map)
    ids = sorted(chosen)
    shards = []
    for planned in plan_shards(region, len(ids)):
        members = {name: chosen[name] for name in ids[planned.first : planned.first + planned.scenes]}
        shards.append(_shard(root, planned, members, names, about, transaction=transaction))
        transaction.upload()
    write_index(transaction.stage(f"index/{region}.arrow"), shards)
    makings = {**_other_makings(root, region), region: making}
    _stage_manifests(
        root, parts, chosen, shards, making_metadata(makings, class_map), transaction=transaction
    )
    _stage_receipts(root, region, parts, chosen, transaction)
    planned_names = {shard.file.name for shard in shards}
    before = {path.name for path in (root / "data").glob(f"{region}-*.parquet")}
    transaction.publish([f"data/{name}" for name in before - planned_names])
    twice = sum(part.index.rows.num_rows for part in parts) - len(chosen)
    found = f"{len(chosen)} scenes of {len(parts)} parts in {len(shards)} shards"
    return f"{region}: {found}; {twice} were there once more"


def _choose(parts: Sequence[Part]) -> dict[str, tuple[Part, int]]:
    """The part that gives each scene: most labelled ground, since an extract's border cuts polygons off."""
    best: dict[str, tuple[tuple[float, str], Part, int]] = {}
    for part in parts:
        shares = dict(
            zip(
                *(values(part.tables["scenes"], name) for name in ("scene_id", "labelled_share")), strict=True
            )
        )
        sums = part.index.column("crc32").tolist()
        for row, name in enumerate(part.index.scene_ids):
            rank = (-shares[name], digest([sums[row], list(part.making.parts)]))
            if name not in best or rank < best[name][0]:
                best[name] = (rank, part, row)
    return {name: (part, row) for name, (_, part, row) in best.items()}


def _shard(
    root: Place,
    planned: PlannedShard,
    members: Chosen,
    names: Sequence[str],
    about: Mapping[str, str],
    *,
    transaction: Publication,
) -> IndexedShard:
    """One shard: the one that stands, if it holds just this, else written from the parts.

    Raises:
        StoreError: what was written is not what the parts hold.
    """
    sums = [part.index.column("crc32")[row].tolist() for part, row in members.values()]
    stored = [_stored(part, row) for part, row in members.values()]
    content = digest([list(names), sums, pa.concat_tables(stored).to_pylist(), dict(about)])
    path = root / "data" / str(planned.name)
    if not path.exists() or parquet.metadata_of(path).get(CONTENT) != content:
        path = transaction.stage(f"data/{planned.name}")
        write_shard(path, _rows(members, stored), names, {**about, CONTENT: content})
    indexed = index_shard(path)
    if indexed.rows["crc32"].to_pylist() != sums:
        raise StoreError(f"{planned.name} was not written as its parts have it; run the same command again")
    return indexed


def _stored(part: Part, row: int) -> pa.Table:
    """What the scenes manifest of a part says of one scene, schema STORED."""
    return part.tables["scenes"].slice(row, 1).select(STORED.names)


def _rows(members: Chosen, stored: Sequence[pa.Table]) -> Iterator[pa.Table]:
    """The scenes one by one, schema FETCHED: their images' bytes as they lie in the parts."""
    for (part, row), known in zip(members.values(), stored, strict=True):
        lr, *hr = part.reader.encoded(row, EVERY_IMAGE)
        yield pa.Table.from_pylist([{**known.to_pylist()[0], "lr": lr, "hr": hr}], schema=FETCHED.schema)


def _other_makings(root: Place, region: str) -> dict[str, Making]:
    """How the other regions of the data set were made."""
    others = [other for other in _regions(root) if other != region]
    return {other: making_in(root, open_index(index_path(root, other))) for other in others}


def _stage_manifests(
    root: Place,
    parts: Sequence[Part],
    chosen: Chosen,
    shards: Sequence[IndexedShard],
    about: Mapping[str, str],
    *,
    transaction: Publication,
) -> None:
    """Rows of this region from the parts, of the others as they stand."""
    region = parts[0].region
    others = {name: _standing(root, name, region) for name in DECLARED}
    own = {name: pa.concat_tables([part.tables[name] for part in parts]) for name in DECLARED}
    ledger = _duplicates(parts)
    scenes = pa.concat_tables([others["scenes"].select(PLACED.names), _placed(chosen, shards)])
    tables = {
        "scenes": scenes,
        "candidates": pa.concat_tables([others["candidates"], _best(own["candidates"], "scene_id")]),
        "rejections": pa.concat_tables([others["rejections"], own["rejections"], ledger.table]),
        "items": _best(named_items(scenes, pa.concat_tables([others["items"], own["items"]])), "item_id"),
        "coverage": pa.concat_tables([others["coverage"], _distinct(own["coverage"])]),
        "funnel": pa.concat_tables([others["funnel"], _summed(own["funnel"], region, len(ledger))]),
    }
    for name, declared in DECLARED.items():
        rows = ordered(name, tables[name])
        rows = with_neighbours(rows) if declared is SCENES else rows
        parquet.write(transaction.stage(f"manifests/{name}.parquet"), rows, declared, about)


def _standing(root: Place, name: str, region: str) -> pa.Table:
    """Rows of a manifest that belong to other regions; of items all."""
    declared = DECLARED[name]
    if not _regions(root):
        return declared.empty()
    rows = parquet.read(root / "manifests" / f"{name}.parquet", declared)
    return rows if name == "items" else where_not(rows, "state", {region})


def _duplicates(parts: Sequence[Part]) -> Ledger:
    """A rejection for each time that a scene is there once more."""
    region = parts[0].region
    ledger = Ledger(LAST, region)
    times = Counter(name for part in parts for name in part.index.scene_ids)
    for name, count in sorted(times.items()):
        for _ in range(count - 1):
            ledger.reject(name, Reason.DUPLICATE, "another part of this data set has the scene, too")
    return ledger


def _placed(chosen: Chosen, shards: Sequence[IndexedShard]) -> pa.Table:
    """The chosen scenes with their places in the new shards, schema PLACED."""
    rows = []
    for shard in shards:
        for number, name in enumerate(values(shard.rows, "scene_id")):
            known = _stored(*chosen[name]).to_pylist()[0]
            rows.append({**known, "shard": shard.file.name, "row": number})
    return pa.Table.from_pylist(rows, schema=PLACED.schema)


def _best(table: pa.Table, key: str) -> pa.Table:
    """One row a name: of rows that differ the one with more labelled ground, then the first by digest."""
    best: dict[str, tuple[tuple[float, str], int]] = {}
    for place, row in enumerate(table.to_pylist()):
        rank = (-float(row.get("labelled_share") or 0), digest(row))
        if row[key] not in best or rank < best[row[key]][0]:
            best[row[key]] = (rank, place)
    return table.take(pa.array(sorted(place for _, place in best.values()), pa.int64()))


def _distinct(table: pa.Table) -> pa.Table:
    """Each row once, in an order of its own: the ground that each part's sensors show."""
    rows = {digest(row): place for place, row in enumerate(table.to_pylist())}
    return table.take(pa.array([rows[key] for key in sorted(rows)], pa.int64()))


def _summed(funnel: pa.Table, region: str, twice: int) -> pa.Table:
    """The account of all parts; scenes that were there twice are let go at the last stage."""
    rows: list[dict[str, Any]] = []
    columns = ("read", "kept", "rejected", "failed")
    for stage in STAGES:
        own = where(funnel, "stage", {stage})
        if own.num_rows:
            rows.append(
                {"stage": stage, "state": region, **{name: sum(values(own, name)) for name in columns}}
            )
    if rows and twice:
        rows[-1]["kept"] -= twice
        rows[-1]["rejected"] += twice
    return pa.Table.from_pylist(rows, schema=funnel.schema)


def _stage_receipts(
    root: Place, region: str, parts: Sequence[Part], chosen: Chosen, transaction: Publication
) -> None:
    """Receipts of what the shards hold and of what was let go: a later build asks for no image twice."""
    tables = [where_not(Receipts(Journal(root)).published(), "state", {region})]
    for part in parts:
        given = {name for name, (giver, _) in chosen.items() if giver is part}
        kept = where(where(part.receipts, "outcome", {"kept"}), "scene_id", given)
        tables += [kept, where_not(where_not(part.receipts, "outcome", {"kept"}), "scene_id", chosen.keys())]
    found = pa.concat_tables(tables).sort_by("scene_key")
    target = transaction.stage(f"{WORK}/{Receipts(Journal(root)).path.name}")
    parquet.write(target, _best(found, "scene_key"), RECEIPTS, {})
