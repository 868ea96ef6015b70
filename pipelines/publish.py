"""From accounts to a data set: shards, indexes and manifests, published together or not at all."""

import json
from typing import Any

import pyarrow as pa

from gl10m.manifest import parquet
from gl10m.manifest.columns import values, where_not
from gl10m.manifest.near_duplicates import with_neighbours
from gl10m.manifest.provenance import Provenance
from gl10m.manifest.schema import (
    BUILD_MANIFESTS,
    CANDIDATES,
    COVERAGE,
    ITEMS,
    PLACED,
    REJECTIONS,
)
from gl10m.report.card import write_card
from gl10m.scene.class_map import ClassMap
from gl10m.scene.rejection import STAGES
from gl10m.storage.place import Place
from pipelines.account import Account
from pipelines.execution.fragments import RECEIPTS, Receipts, rejections_of
from pipelines.execution.journal import Journal, declared_table
from pipelines.execution.lock import WORK
from pipelines.execution.notes import forget
from pipelines.execution.publication import Publication, transaction_in
from pipelines.execution.software import software
from pipelines.region import named_items
from pipelines.shards import stage_region

ABOUT = ("configuration", "inputs", "licences", "software", "parts")
"""What the metadata of a manifest say of its making, by region but for the licences."""

DECLARED = {declared.name: declared for declared in BUILD_MANIFESTS}
"""Manifests that a build writes, by name."""


class MixedClassMapError(ValueError):
    """The regions of one data set must share one class map."""


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
        DamagedTableError: a table of the journal has changed since it was written.
    """
    journal, transaction = Journal(root), transaction_in(root)
    regions = {item.region for item in accounts}
    kept_about = about_other_regions(root, regions, class_map)
    tables: dict[str, list[pa.Table]] = {name: [_others(root, name, regions)] for name in DECLARED}
    # Who is near to whom is told anew: a scene of this build may stand beside one of another region.
    tables["scenes"] = [table.select(PLACED.names) for table in tables["scenes"]]
    shards: set[str] = set()
    for item in sorted(accounts, key=lambda account: account.region):
        # Shards say of their making what manifests say, of their region alone.
        about = _provenance([item], {name: {} for name in ABOUT}, class_map)
        scenes, names = stage_region(root, item, transaction, class_map.names, about)
        transaction.upload()
        shards |= names
        lost = [declared_table(path, REJECTIONS) for path in item.plan.dropped]
        tables["scenes"].append(scenes)
        tables["candidates"].append(declared_table(item.plan.candidates, CANDIDATES))
        tables["rejections"] += [*lost, rejections_of(item.receipts)]
        tables["items"].append(named_items(scenes, declared_table(item.plan.items, ITEMS)))
        tables["coverage"].append(declared_table(item.plan.coverage, COVERAGE))
        tables["funnel"].append(item.funnel)
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
        configuration[item.region] = item.configuration
        made_with[item.region] = software()
        inputs |= {f"{item.region}.{name}": value for name, value in item.inputs.items()}
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
