"""The chain, from OSM extracts to a published data set, on Dask."""

import contextlib
import errno
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
from distributed import Client, KilledWorker

from gl10m.manifest import parquet
from gl10m.manifest.columns import values, where
from gl10m.manifest.schema import SCENES
from gl10m.report import funnel
from gl10m.storage.place import Place
from pipelines import config, plan
from pipelines.account import Account
from pipelines.execution.cluster import check_scheduler, cluster, dashboard
from pipelines.execution.fragments import RECEIPTS, Receipts, note_keys
from pipelines.execution.journal import Journal
from pipelines.execution.lock import locked
from pipelines.execution.logbook import logbook
from pipelines.execution.publication import transaction_in
from pipelines.execution.software import differences, software
from pipelines.execution.tasks import TaskFailure, run
from pipelines.execution.telling import Telling, say
from pipelines.execution.workplace import OutOfReachError, Workplace, software_before
from pipelines.fetch_all import fetch_all, scene_keys
from pipelines.inputs import (
    BuildRequest,
    check_sources,
    find_extract,
    open_sources,
    osm_files,
    read_class_map,
)
from pipelines.publish import about_other_regions, publish
from pipelines.region import RegionJob, RegionPlan, prepare
from pipelines.sources.extracts import Extract
from pipelines.sources.retrying import Tally, announce_retries, counted
from pipelines.world.demo import assemble, demo_region

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")
_LOG = logging.getLogger("gl10m")


class WorkerLostError(RuntimeError):
    """The process that worked on a task died, and so did those that tried it again."""


class UnwritableDataSetError(OSError):
    """The data set cannot be written: the disk is full, fails, or refuses."""


REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
"""What a disk says when there is no room, or when it fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildReport:
    """What came of a build."""

    text: str
    failed: int
    """Scenes that the next run will try again."""


def build(request: BuildRequest) -> BuildReport:
    """Build, or go on building, a data set.

    Raises:
        UnknownRegionError: a region is no state and has no OSM file.
        SourceError: sources that do not go together.
        ClusterUnavailableError: no scheduler answers where one was named.
        BuildLockedError: another build writes into the same folder.
        SourcesDownError: batch after batch failed; what was fetched is kept.
        UnwritableDataSetError: the disk is full, or fails; what was fetched is kept.
        OSError: the folder cannot be written, or a source cannot be reached.
    """
    announce_retries()
    check_sources(request)
    files = osm_files(request)
    parameters, patience = config.load(request.config), config.load_patience(request.config)
    class_map = read_class_map(request.class_map)
    if request.scheduler is not None:
        check_scheduler(request.scheduler)
    telling = Telling()
    with locked(request.root), _disk_told(request.root), contextlib.ExitStack() as stack:
        log = stack.enter_context(logbook(request.root))
        journal = Journal(request.root)
        journal.sweep()
        transaction_in(request.root).recover()
        about_other_regions(request.root, set(request.regions), class_map)
        client = stack.enter_context(cluster(request.workers, request.scheduler))
        _announce(client, request, log)
        if request.synthetic:
            _make_world(client, request, telling)
        sources = open_sources(request, stack, parameters.searched_cloud_percent, patience)
        extracts = {region: find_extract(request, region, files, patience) for region in request.regions}
        _tell_of_other_software(journal)
        workplace = Workplace.of(journal)
        jobs = [
            RegionJob(
                region=region,
                osm=extract.path.resolve(),
                osm_sha256=extract.sha256,
                class_map=class_map,
                sources=sources,
                parameters=parameters,
                limit=request.limit,
                journal=Journal(request.root.resolve()),
                workplace=workplace,
            )
            for region, extract in extracts.items()
        ]
        plans = _prepare(client, jobs, telling)
        keys = {region: scene_keys(made, parameters, sources) for region, made in plans.items()}
        for region, named in keys.items():
            note_keys(journal, region, named)
        if request.dry_run:
            text = plan.describe(request.regions, request.root, parameters, request.limit)
            return BuildReport(text=text, failed=0)
        tally = fetch_all(client, request.root, jobs, plans, keys, patience=patience, telling=telling)
        accounts = _accounts(request, jobs, plans, keys, extracts)
        with telling.stage("publishing", len(accounts), "regions", "shards and manifests") as told:
            workplace.close(journal)
            publish(request.root, accounts, class_map)
            told.advance(len(accounts))
        tally.add(counted())
        failed = _failed(accounts)
        text = _summary(request.root, failed, tally, telling)
        _LOG.info("published", extra={"facts": {"event": "published", "seconds": telling.seconds}})
    return BuildReport(text=text, failed=failed.total())


def _announce(client: Client, request: BuildRequest, log: Path) -> None:
    """Say, and write into the log, where a build can be watched."""
    address = dashboard(client)
    facts = {
        "event": "begun",
        "regions": list(request.regions),
        "scheduler": str(request.scheduler or "this machine"),
        "dashboard": address,
        "software": software(),
    }
    _LOG.info("build of %s", ",".join(request.regions), extra={"facts": facts})
    say(f"dashboard: {address}")
    say(f"log: {log}; `gl10m status --root {request.root}` tells how far it is")


def _tell_of_other_software(journal: Journal) -> None:
    """Say that other versions than those of the last build make what depends on them anew."""
    if changed := differences(software(), software_before(journal)):
        _LOG.warning(
            "other software than when %s was built last (%s): what its versions decide is made again, images "
            "included where they decide pixels. To keep what there is, stop, install the versions of then, "
            "and run the same command again.",
            journal.root,
            ", ".join(changed),
        )


@contextlib.contextmanager
def _disk_told(root: Place) -> Iterator[None]:
    """Tell what a disk refuses, wherever it does, in words that help.

    Raises:
        UnwritableDataSetError: there is no room, or the disk fails; the old data set stands.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in REFUSALS:
            raise
        where = f"{root}: {error.filename}" if error.filename else str(root)
        raise UnwritableDataSetError(
            f"{where} cannot be written ({error.strerror or error}). What was fetched is kept, and the data "
            "set that stood there before still does: make room there, or mend the disk, and run the same "
            "command again."
        ) from error


def _failed(accounts: list[Account]) -> Counter[str]:
    """Scenes that the next run will try again, by cause."""
    failed = (where(item.receipts, "outcome", {"failed"}) for item in accounts)
    return Counter(str(reason) for table in failed for reason in values(table, "reason"))


def _make_world(client: Client, request: BuildRequest, telling: Telling) -> None:
    """Render the demo world of the regions that have none yet."""
    world = request.world.resolve()
    _all(client, _DemoRegion(world), list(request.regions), "rendering the demo world", telling)
    assemble(world)


@dataclass(frozen=True, slots=True)
class _DemoRegion:
    """Renders one region; a class so that it travels to a worker."""

    world: Path

    def __call__(self, region: str) -> None:
        demo_region(region, self.world)


def _prepare(client: Client, jobs: list[RegionJob], telling: Telling) -> dict[str, RegionPlan]:
    """The stages before the images, one task a region."""
    plans = _all(client, prepare, jobs, "OSM to matched candidates", telling)
    return {plan.region: plan for plan in sorted(plans, key=lambda plan: plan.region)}


def _all(
    client: Client, function: Callable[[_Task], _Result], tasks: list[_Task], what: str, telling: Telling
) -> list[_Result]:
    """Results of tasks that must all go well.

    Raises:
        WorkerLostError: a worker died too often.
        Exception: what the first failed task raised.
    """
    results = []
    with telling.stage(what, len(tasks), "regions") as told:
        for task, result in run(client, function, tasks):
            if not isinstance(result, TaskFailure):
                results.append(result)
            elif isinstance(result.cause, OutOfReachError):
                results.append(function(task))  # the files lie here
            else:
                raise _told(result.cause, what)
            told.advance(1)
    return results


def _told(cause: BaseException, what: str) -> BaseException:
    """What a task raised; of a worker that died, in words that help."""
    if not isinstance(cause, KilledWorker):
        return cause
    return WorkerLostError(
        f"{what}: the process at work died several times over, for want of memory or by a damaged input. "
        "Check the OSM file with `osmium fileinfo -e FILE`, or give fewer --workers; then run the same "
        "command again."
    )


def _accounts(
    request: BuildRequest,
    jobs: list[RegionJob],
    plans: dict[str, RegionPlan],
    keys: dict[str, dict[str, str]],
    extracts: dict[str, Extract],
) -> list[Account]:
    """Everything that is known of each region once its scenes have been asked for."""
    receipts = Receipts(Journal(request.root)).load()
    return [
        _account(
            request,
            job,
            plans[job.region],
            keys[job.region],
            extract=extracts[job.region],
            receipts=receipts,
        )
        for job in jobs
    ]


def _account(
    request: BuildRequest,
    job: RegionJob,
    plan: RegionPlan,
    keys: dict[str, str],
    *,
    extract: Extract,
    receipts: pa.Table,
) -> Account:
    mine = where(receipts, "scene_key", keys.values())
    return Account(
        plan=plan,
        keys=keys,
        receipts=_completed(mine, keys, job.region),
        configuration={**job.parameters.record(), "limit": job.limit},
        inputs={
            **extract.provenance,
            "lr": job.sources.lr_name,
            "hr": job.sources.hr_name,
            "lr_items": job.sources.lr_catalogue,
            "hr_items": job.sources.hr_catalogue,
        },
        licences=tuple(sorted({extract.licence, *request.imagery_licences})),
    )


def _completed(receipts: pa.Table, keys: dict[str, str], region: str) -> pa.Table:
    """Receipts with a failed one for each scene of which the journal holds none."""
    known = set(values(receipts, "scene_key"))
    lost = [
        {
            "scene_key": key,
            "scene_id": name,
            "state": region,
            "outcome": "failed",
            "stage": "lr",
            "reason": "RECEIPT_LOST",
            "detail": "what came of it cannot be read back from the journal",
        }
        for name, key in sorted(keys.items())
        if key not in known
    ]
    return pa.concat_tables([receipts, pa.Table.from_pylist(lost, schema=RECEIPTS.schema)])


def _summary(root: Place, failed: Counter[str], tally: Tally, telling: Telling) -> str:
    lines = [funnel.describe_root(root), f"\n{telling}"]
    lines += [text for text in (tally.traffic, str(tally)) if text]
    if failed:
        causes = ", ".join(f"{cause} {count:,}" for cause, count in failed.most_common())
        lines.append(
            f"\n{failed.total():,} scenes could not be fetched ({causes}); manifests/rejections.parquet says "
            "why. Run the same command again to try them once more."
        )
    elif not parquet.read(root / "manifests" / "scenes.parquet", SCENES, ["scene_id"]).num_rows:
        lines.append("\nno scene came through; manifests/rejections.parquet says why, row by row")
    else:
        split = (root / "manifests" / "splits.parquet").exists()
        again = ", again, since scenes may have come or gone" if split else ""
        lines.append(f"\nNext: gl10m split --root {root}{again}")
    return "\n".join(lines)
