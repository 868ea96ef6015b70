"""Do the manifests agree with the indexes and with each other?"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

import pyarrow as pa

from gl10m.manifest import parquet
from gl10m.manifest.columns import values
from gl10m.manifest.near_duplicates import with_neighbours
from gl10m.manifest.schema import (
    BUILD_MANIFESTS,
    CANDIDATES,
    FUNNEL,
    ITEMS,
    PLACED,
    REJECTIONS,
    SCENES,
    SPLITS,
    Table,
)
from gl10m.storage.client import ObjectNotFoundError
from gl10m.storage.contents import at_hand
from gl10m.storage.place import Place
from gl10m.store.problem import MANIFEST_REMEDY, SPLIT_REMEDY, Problem


def read_manifests(root: Place) -> tuple[dict[str, pa.Table], list[Problem]]:
    """Read all manifests of a data set, every byte of each compared with its checksum.

    Returns:
        Tables by name, those that are whole; and what is wrong with the others.

    Raises:
        StorageError: the object store refuses, or does not answer.
    """
    tables, problems = {}, []
    for declared in (*BUILD_MANIFESTS, SPLITS):
        try:
            with at_hand(root / _file(declared)) as local:
                tables[declared.name] = parquet.read(local, declared)
        except (parquet.ManifestNotFoundError, ObjectNotFoundError) as error:
            # A data set need not be split; one in a bucket is, if its register says so.
            named = (root / _file(declared)).exists()
            if declared is not SPLITS or named:
                what = str(error) if named else "it is missing."
                problems.append(Problem(_file(declared), None, what, _remedy(declared)))
        except (parquet.ManifestError, OSError, MemoryError) as error:
            what = str(error).removesuffix(parquet.RESTORE).strip()
            problems.append(Problem(_file(declared), None, what, _remedy(declared)))
    return tables, problems


def check_manifests(
    tables: Mapping[str, pa.Table], indexed: Mapping[str, tuple[str, int]], *, complete: bool, deep: bool
) -> list[Problem]:
    """Compare manifests with the indexes and with each other.

    Args:
        tables: by name, those that can be read.
        indexed: shard and row of each scene, by its id.
        complete: whether all indexes could be read; otherwise no scene is called a stranger.
        deep: also compute anew which scene is nearest to which.
    """
    problems: list[Problem] = []
    scenes = tables.get("scenes")
    if scenes is not None:
        problems += _check_scenes(scenes, indexed, complete=complete)
        problems += _check_named(scenes, tables)
        if deep and not with_neighbours(scenes.select(PLACED.names)).cast(SCENES.schema).equals(scenes):
            problems.append(_problem(SCENES, "it names other nearest scenes than there are."))
    if "splits" in tables and complete:
        problems += _check_splits(tables["splits"], set(indexed))
    if "funnel" in tables:
        problems += _check_funnel(tables["funnel"], tables)
    return problems


def _check_scenes(
    rows: pa.Table, indexed: Mapping[str, tuple[str, int]], *, complete: bool
) -> Iterator[Problem]:
    """The scenes of the manifest and of the indexes are the same, at the same places, once each."""
    listed: set[str] = set()
    strangers: list[str] = []
    for row in rows.select(["scene_id", "shard", "row"]).to_pylist():
        scene, place = row["scene_id"], (row["shard"], row["row"])
        if scene in listed:
            yield _problem(SCENES, "the scene is listed twice.", scene)
        elif scene not in indexed:
            strangers.append(scene)
        elif indexed[scene] != place:
            what = f"the manifest has it at row {place[1]} of {place[0]}, the index at row "
            yield _problem(SCENES, f"{what}{indexed[scene][1]} of {indexed[scene][0]}.", scene)
        listed.add(scene)
    if strangers and complete:
        yield _problem(SCENES, f"{len(strangers)} scenes, as {strangers[0]}, are in no index.")
    missing = sorted(set(indexed) - listed)
    if missing:
        yield _problem(SCENES, f"{len(missing)} scenes of the index, as {missing[0]}, are missing.")


def _check_named(scenes: pa.Table, tables: Mapping[str, pa.Table]) -> Iterator[Problem]:
    """Every scene was a candidate, and every item that it names is told."""
    if "candidates" in tables:
        known = values(tables["candidates"], "scene_id")
        if len(set(known)) != len(known):
            yield _problem(CANDIDATES, "a candidate is listed twice.")
        missing = _missing(values(scenes, "scene_id"), known)
        if missing:
            yield _problem(CANDIDATES, f"{len(missing)} scenes, as {missing[0]}, are no candidates.")
    if "items" in tables:
        for name in ("naip_items", "sentinel2_items"):
            named = [item for items in values(scenes, name) for item in items]
            missing = _missing(named, values(tables["items"], "item_id"))
            if missing:
                yield _problem(ITEMS, f"{len(missing)} items of scenes, as {missing[0]}, are missing.")


def _check_splits(splits: pa.Table, scenes: set[str]) -> Iterator[Problem]:
    """Every scene has one split, and no scene that is gone has any."""
    names = values(splits, "scene_id")
    listed = set(names)
    without, gone = scenes - listed, listed - scenes
    if len(listed) != len(names):
        yield _problem(SPLITS, f"{len(names) - len(listed)} scenes are listed twice.")
    if without:
        yield _problem(SPLITS, f"{len(without)} scenes, as {min(without)}, have no split.")
    if gone:
        yield _problem(SPLITS, f"it names {len(gone)} scenes that are not there.")


def _check_funnel(funnel: pa.Table, tables: Mapping[str, pa.Table]) -> Iterator[Problem]:
    """The account of each stage adds up to the rows of the other manifests."""
    rows = funnel.to_pylist()
    for row in rows:
        if row["read"] != row["kept"] + row["rejected"] + row["failed"]:
            yield _problem(FUNNEL, f"{row['stage']} of {row['state']} lost or invented rows.")
    if "rejections" in tables:
        names = ("stage", "state", "outcome")
        columns = [values(tables["rejections"], name) for name in names]
        told = Counter(zip(*columns, strict=True))
        counted = {
            (row["stage"], row["state"], outcome): row[outcome]
            for row in rows
            for outcome in ("rejected", "failed")
            if row[outcome]
        }
        if dict(told) != counted:
            yield _problem(REJECTIONS, "it has other rows than the funnel counts.")
    if "scenes" in tables and rows:
        kept = Counter(values(tables["scenes"], "state"))
        last = {row["state"]: row["kept"] for row in rows if row["stage"] == rows[-1]["stage"]}
        if {state: count for state, count in last.items() if count} != dict(kept):
            yield _problem(FUNNEL, "its last stage kept other numbers of scenes than there are.")


def _missing(wanted: Iterable[str], known: Iterable[str]) -> list[str]:
    """Different texts of the one that are not in the other, sorted."""
    return sorted(set(wanted).difference(known))


def _file(declared: Table) -> str:
    return f"manifests/{declared.name}.parquet"


def _remedy(declared: Table) -> str:
    return SPLIT_REMEDY if declared is SPLITS else MANIFEST_REMEDY


def _problem(declared: Table, what: str, scene: str | None = None) -> Problem:
    return Problem(_file(declared), scene, what, _remedy(declared))
