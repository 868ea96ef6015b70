"""All images of a build: which scenes are asked for, in which batches, and what came of each."""

import logging
from collections.abc import Mapping

import pyarrow as pa
from distributed import Client

from gl10m.manifest.columns import values, where, where_not
from gl10m.manifest.schema import ITEMS, MATCHED
from gl10m.storage.place import Place
from pipelines.config import BuildParameters
from pipelines.execution.fragments import Receipts, scene_key
from pipelines.execution.journal import Journal, declared_table, read_table
from pipelines.execution.notes import Notes, noting
from pipelines.execution.tasks import TaskFailure, run
from pipelines.execution.telling import Telling
from pipelines.fetch import (
    FATAL,
    Batch,
    Fetched,
    Watch,
    batches,
    fetch,
    give_up,
    parameters_key,
    scene_by_scene,
)
from pipelines.region import RegionJob, RegionPlan, Sources, item_marks
from pipelines.shards import available
from pipelines.sources.patience import Patience
from pipelines.sources.retrying import Tally

_LOG = logging.getLogger("gl10m")


def scene_keys(plan: RegionPlan, parameters: BuildParameters, sources: Sources) -> dict[str, str]:
    """Scene id to scene key of all matched candidates of a region.

    Args:
        plan: of the region.
        parameters: of the build.
        sources: whose items they name.

    Raises:
        DamagedTableError: a table of the journal has changed since it was written.
    """
    names = (sources.lr_name, sources.hr_name)
    columns = ["scene_id", "bounds", "naip_items", "sentinel2_items"]
    version = parameters_key(parameters)
    rows = read_table(plan.matched, columns).to_pylist()
    marks = item_marks(read_table(plan.items))
    return {str(row["scene_id"]): scene_key(row, version, names, marks) for row in rows}


def fetch_all(
    client: Client,
    root: Place,
    jobs: list[RegionJob],
    plans: dict[str, RegionPlan],
    keys: dict[str, dict[str, str]],
    *,
    patience: Patience,
    telling: Telling,
) -> Tally:
    """Ask for the images of every scene that is not finished, and commit what comes.

    Args:
        client: of the cluster that does the work.
        root: the data set.
        jobs: of the regions.
        plans: their matched candidates, by region.
        keys: scene id to scene key, by region.
        patience: how the network is asked.
        telling: tells how far it is.

    Returns:
        The faults that were met.

    Raises:
        SourcesDownError: batch after batch fails altogether.
        DamagedTableError: a table of the journal has changed since it was written.
        OSError: the data set cannot be written.
    """
    journal = Journal(root)
    Receipts(journal).note()
    receipts = Receipts(journal).load()
    at_hand = available(root, receipts)
    finished = at_hand | set(values(where(receipts, "outcome", {"rejected"}), "scene_key"))
    tasks: list[Batch] = []
    for job in jobs:
        missing = {name: key for name, key in keys[job.region].items() if key not in finished}
        plan = plans[job.region]
        matched, items = declared_table(plan.matched, MATCHED), declared_table(plan.items, ITEMS)
        for rows, named in batches(matched, items, missing):
            ids = [str(name) for name in values(rows, "scene_id")]
            tasks.append(
                Batch(
                    region=job.region,
                    keys={name: missing[name] for name in ids},
                    matched=rows,
                    items=named,
                    sources=job.sources,
                    parameters=job.parameters,
                    journal=job.journal,
                    patience=patience,
                    workplace=job.workplace,
                )
            )
    asked = {name: key for task in tasks for name, key in task.keys.items()}
    watch = Watch(patience.hopeless_batches)
    return _run_batches(client, journal, tasks, watch, telling, again=why_again(asked, receipts))


def why_again(asked: Mapping[str, str], receipts: pa.Table) -> str:
    """Why scenes that came once are asked for once more; empty where none is.

    Args:
        asked: scene id to scene key.
        receipts: of all that came, schema RECEIPTS.
    """
    came = where_not(receipts, "outcome", {"failed"})
    lost = set(asked.values()) & set(values(came, "scene_key"))
    known = set(values(came, "scene_id"))
    changed = [name for name, key in asked.items() if name in known and key not in lost]
    told = f", {len(changed):,} of them anew: parameters, items or software have changed" if changed else ""
    return told + (f", {len(lost):,} of them lost from their shards" if lost else "")


def _run_batches(
    client: Client, journal: Journal, tasks: list[Batch], watch: Watch, telling: Telling, *, again: str
) -> Tally:
    """Run the batches.

    Raises:
        SourcesDownError: one after the other fails altogether.
        OSError: the data set cannot be written.
    """
    total = sum(len(task.keys) for task in tasks)
    with (
        telling.stage("imagery", total, "scenes", f"{total:,} scenes to fetch{again}") as told,
        noting(journal) as notes,
    ):
        for batch, result in run(client, fetch, tasks, scene_by_scene):
            fetched = _committed(batch, result, notes)
            told.advance(len(batch.keys), kept=fetched.kept, rejected=fetched.rejected, failed=fetched.failed)
            watch.tally.add(fetched.tally)
            watch.note(kept=fetched.kept, failed=fetched.failed, cause=fetched.cause)
    return watch.tally


def _committed(batch: Batch, result: Fetched | TaskFailure, notes: Notes) -> Fetched:
    """What came of a batch, once the journal holds it."""
    if isinstance(result, TaskFailure):
        if isinstance(result.cause, FATAL):
            raise result.cause
        names = ", ".join(batch.keys)
        _LOG.warning("%s failed: %s", names, result.cause, exc_info=result.cause)
        fetched = give_up(batch, result.cause)
    else:
        fetched = result
    path = fetched.path
    if fetched.fragment is not None:
        path = batch.journal.write_fragment(fetched.fragment)
    if path is not None:
        notes.add(path, fetched.receipts)
    return fetched
