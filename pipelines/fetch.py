"""One batch of matched candidates: LR and its checks first, HR only for the survivors, then a fragment."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace

import pyarrow as pa
from distributed import KilledWorker

from gl10m.manifest.columns import values, where
from gl10m.manifest.outcome import Ledger
from gl10m.manifest.provenance import digest
from gl10m.manifest.schema import FETCHED
from gl10m.storage.client import StorageError
from gl10m.storage.place import Place
from pipelines.config import BuildParameters
from pipelines.execution.fragments import RECEIPTS, make_fragment
from pipelines.execution.journal import Journal, UnwritableJournalError
from pipelines.execution.software import PIXELS, versions
from pipelines.execution.tasks import as_it_is
from pipelines.execution.workplace import ForeignWorkerError, Workplace
from pipelines.region import Sources, named_items
from pipelines.sources.hosts import wait_for_hosts
from pipelines.sources.patience import Patience
from pipelines.sources.retrying import Tally, announce_retries, counted
from pipelines.stages.consistency import check_pairs
from pipelines.stages.hr import fetch_hr
from pipelines.stages.lr import fetch_lr

VERSIONS = {"lr": 2, "hr": 2, "consistency": 1}
"""Version of the code of each stage; raised when its pixels change, so that a rerun fetches them again."""

SMALLEST, LARGEST = 4, 32
"""Scenes in a batch, of small builds and of large ones: what a killed worker loses, 2 to 14 seconds."""

BATCHES = 512
"""Batches of a region that are worth having, so that many workers have something to do."""

FATAL = (StorageError, UnwritableJournalError, ForeignWorkerError)
"""What no other batch will fare better with: the data set cannot be written, or not with these bytes."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Batch:
    """A batch of neighbours; travels to a worker."""

    region: str
    keys: dict[str, str]
    """Scene id to scene key."""
    matched: pa.Table
    """Schema MATCHED."""
    items: pa.Table
    """Schema ITEMS: the items that these rows name."""
    sources: Sources
    parameters: BuildParameters
    journal: Journal
    patience: Patience
    workplace: Workplace

    def __repr__(self) -> str:
        # Dask logs the tasks that fail; their sources may be asked with a query that is nobody's business.
        return f"Batch({self.region}, {', '.join(self.keys)})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What came of a batch; travels back."""

    kept: int
    rejected: int
    failed: int
    cause: str
    """Why the first of the failed scenes failed; empty if none did."""
    tally: Tally
    """Faults that its worker met since its last batch."""
    seconds: float
    """How long its worker was at it."""
    fragment: pa.Table | None
    """What the build has to commit, since the worker does not see the journal."""
    path: Place | None
    """Where the worker committed it."""
    receipts: pa.Table
    """Schema RECEIPTS, of what was committed."""


class SourcesDownError(ConnectionError):
    """Batch after batch fails altogether, so that going on would only burn hours."""


@dataclass(slots=True)
class Watch:
    """Looks after the batches of a build as they end."""

    hopeless_batches: int
    """As in `Patience`."""
    tally: Tally = field(default_factory=Tally)
    """Faults of all workers."""
    in_a_row: int = 0
    """Batches with failed scenes and no good one since the last good scene."""

    def note(self, kept: int, failed: int, cause: str) -> None:
        """Count a batch. One whose scenes were all rejected says nothing.

        Raises:
            SourcesDownError: too many have failed in a row.
        """
        if kept:
            self.in_a_row = 0
        elif failed:
            self.in_a_row += 1
        if self.in_a_row >= self.hopeless_batches:
            raise SourcesDownError(
                f"the last {self.in_a_row} batches of scenes failed altogether; the last one: {cause}. What "
                "was fetched is kept: run the same command again when the source answers."
            )


def parameters_key(parameters: BuildParameters) -> str:
    """Digest of what decides the pixels of a scene once its items are chosen."""
    return digest([VERSIONS, versions(PIXELS), asdict(parameters.lr), asdict(parameters.hr)])


def fetch(batch: Batch) -> Fetched:
    """Fetch, check, encode and commit one batch, once every host may be asked.

    Raises:
        ForeignWorkerError: this worker's versions are not the build's.
        UnwritableJournalError: the disk is full, or refuses.
    """
    begun = time.monotonic()
    batch.workplace.check()
    announce_retries()
    wait_for_hosts(batch.patience.circuit_seconds)
    parameters = batch.parameters
    lr = fetch_lr(batch.matched, batch.items, batch.sources.lr, batch.region, parameters.lr)
    hr = fetch_hr(lr.kept, batch.items, batch.sources.hr, batch.region, parameters.hr)
    checked = check_pairs(hr.kept, batch.region)
    dropped = pa.concat_tables([lr.dropped, hr.dropped, checked.dropped])
    fragment = make_fragment(batch.keys, checked.kept, dropped)
    here = batch.workplace.sees(batch.journal)
    path = batch.journal.write_fragment(fragment) if here else None
    outcomes = values(fragment, "outcome")
    failed = where(dropped, "outcome", {"failed"})
    return Fetched(
        kept=outcomes.count("kept"),
        rejected=outcomes.count("rejected"),
        failed=failed.num_rows,
        cause=str(values(failed, "detail")[0]) if failed.num_rows else "",
        tally=counted(),
        seconds=time.monotonic() - begun,
        fragment=None if here else fragment,
        path=path,
        receipts=fragment.select(RECEIPTS.names),
    )


def scene_by_scene(batch: Batch, cause: BaseException) -> Sequence[Batch]:
    """A batch taken apart, because it failed or killed its worker; what fails every batch stays one."""
    if isinstance(cause, FATAL):
        return []
    if len(batch.keys) == 1:
        return as_it_is(batch, cause)
    rows = [_rows(batch.matched, number, 1) for number in range(batch.matched.num_rows)]
    return [
        replace(
            batch,
            keys={name: batch.keys[name] for name in values(row, "scene_id")},
            matched=row,
            items=named_items(row, batch.items),
        )
        for row in rows
    ]


def give_up(batch: Batch, cause: BaseException) -> Fetched:
    """The scenes of a batch as failed ones: they are accounted for, and the next run tries them again.

    Args:
        batch: of one scene, or of several that failed for one cause.
        cause: what came of it.
    """
    lost = isinstance(cause, KilledWorker)
    code = "WORKER_LOST" if lost else "TASK_FAILED"
    said = f"{type(cause).__name__}: {cause}"
    if lost:
        said = "its worker process died, and so did those that tried it again"
    ledger = Ledger("lr", batch.region)
    for name in batch.keys:
        ledger.fail(name, code, said)
    fragment = make_fragment(batch.keys, FETCHED.empty(), ledger.table)
    return Fetched(
        kept=0,
        rejected=0,
        failed=len(batch.keys),
        cause=said,
        tally=Tally(),
        seconds=0.0,
        fragment=fragment,
        path=None,
        receipts=fragment.select(RECEIPTS.names),
    )


def batches(matched: pa.Table, items: pa.Table, keys: dict[str, str]) -> list[tuple[pa.Table, pa.Table]]:
    """Group candidates so that neighbours, which share rasters, are read together.

    Args:
        matched: schema MATCHED.
        items: schema ITEMS, of the region.
        keys: scene id to scene key of the scenes to fetch.

    Returns:
        Rows and the items that they name, at most LARGEST rows each.
    """
    size = min(LARGEST, max(SMALLEST, len(keys) // BATCHES))
    wanted = where(matched, "scene_id", keys)
    first = [names[0] for names in values(wanted, "naip_items")]
    order = wanted.append_column("quad", pa.array(first, pa.string())).sort_by(
        [("quad", "ascending"), ("latitude", "descending"), ("scene_id", "ascending")]
    )
    groups = []
    for start in range(0, order.num_rows, size):
        rows = _rows(order, start, size).drop_columns(["quad"])
        groups.append((rows, named_items(rows, items)))
    return groups


def _rows(table: pa.Table, start: int, number: int) -> pa.Table:
    """Some rows with buffers of their own: a slice travels to a worker with all rows of its table."""
    return table.take(pa.array(range(start, min(start + number, table.num_rows)), pa.int64()))
