"""How far a build is, read from its journal and its log: while it runs and afterwards."""

import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gl10m.manifest import parquet
from gl10m.report import funnel
from gl10m.scene.rejection import STAGES
from gl10m.storage.contents import readable
from gl10m.storage.place import Place, below
from pipelines.execution.fragments import Receipts, answered
from pipelines.execution.journal import Journal
from pipelines.execution.lock import is_locked
from pipelines.execution.logbook import last, log_path
from pipelines.execution.telling import span


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionProgress:
    """How far one region is."""

    state: str
    asked: int | None
    """Matched candidates; None if they are not matched yet."""
    kept: int
    rejected: int
    failed: int
    """Scenes that the next run tries again."""
    reasons: dict[str, int]
    """Of those rejected and failed, the most frequent first."""
    stages: dict[str, dict[str, int]]
    """Rows kept and dropped by each stage before the images that is done."""

    @property
    def finished(self) -> int:
        """Scenes that no run asks for again."""
        return self.kept + self.rejected

    def __str__(self) -> str:
        """One line, and one of reasons where there are any."""
        share = ", candidates not matched yet"
        if self.asked is not None:
            share = f" of {self.asked:,} matched candidates"
        line = (
            f"{self.state}: {self.finished:,} finished{share}: {self.kept:,} kept, "
            f"{self.rejected:,} rejected, {self.failed:,} to try again"
        )
        told = ", ".join(f"{reason} {count:,}" for reason, count in self.reasons.items())
        return f"{line}\n    {told}" if told else line


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a build is."""

    root: str
    running: bool
    """Whether a build holds the data set at this moment."""
    stage: dict[str, Any] | None
    """The stage told of last: name, done, total, rate, seconds left; None where this machine has no log."""
    last_event: dict[str, Any] | None
    """The last line of the log."""
    regions: tuple[RegionProgress, ...]
    provenance: dict[str, Any]
    """What the manifests say of their making: configuration, inputs, software, licences; empty before."""

    def as_json(self) -> str:
        """All of it, as one JSON object."""
        regions = [{**asdict(region), "finished": region.finished} for region in self.regions]
        return json.dumps({**asdict(self), "regions": regions}, indent=1, ensure_ascii=False)

    def __str__(self) -> str:
        """A few lines."""
        lines = [f"build in {self.root}: {'running' if self.running else 'not running'}"]
        if self.stage is not None:
            lines.append(f"{'now' if self.running else 'last'}: {_told(self.stage)}")
        if self.last_event is not None:
            lines.append(f"log, {self.last_event.get('time')}: {self.last_event.get('message')}")
        return "\n".join([*lines, *map(str, self.regions)])


def look(root: Place) -> Progress:
    """The state of a build.

    Raises:
        FileNotFoundError: no build was ever started there.
    """
    journal = Journal(root)
    running = is_locked(root)
    # A command that was refused may have left its lock, and nothing else.
    if not (running or any(path.name != "lock" for path in below(journal.folder, "*"))):
        raise FileNotFoundError(
            f"no build was started in {root}. Start one with `gl10m build`, or name its folder with --root."
        )
    receipts = Receipts(journal)
    loaded = receipts.outcomes()
    folders = below(journal.folder / "stages", "[A-Z][A-Z]")
    log = log_path(root)
    return Progress(
        root=str(root),
        running=running,
        stage=last(log, "stage"),
        last_event=last(log),
        regions=tuple(_region(folder, receipts.asked(folder.name), loaded) for folder in folders),
        provenance=_provenance(root),
    )


def describe(root: Place) -> str:
    """The state of a build as text.

    Raises:
        FileNotFoundError: no build was ever started there.
    """
    lines = [str(look(root))]
    if (root / "manifests" / "funnel.parquet").exists():
        lines += ["", "last published build:", funnel.describe_root(root)]
    return "\n".join(lines)


def _region(folder: Place, asked: "pa.ChunkedArray[Any] | None", outcomes: pa.Table) -> RegionProgress:
    mine = outcomes.slice(0, 0) if asked is None else answered(outcomes, asked)
    counts, reasons = Counter[str](), Counter[str]()
    told = ["outcome", "reason"]
    counted = (
        mine.group_by(told).aggregate([([], "count_all")]).sort_by([(name, "ascending") for name in told])
    )
    for row in counted.to_pylist():
        counts[row["outcome"]] += row["count_all"]
        if row["outcome"] != "kept":
            reasons[str(row["reason"])] += row["count_all"]
    stages = _stages(folder)
    return RegionProgress(
        state=folder.name,
        asked=stages.get("matching", {}).get("kept"),
        kept=counts["kept"],
        rejected=counts["rejected"],
        failed=counts["failed"],
        reasons=dict(reasons.most_common()),
        stages=stages,
    )


def _stages(folder: Place) -> dict[str, dict[str, int]]:
    """Rows that the stages before the images kept and dropped; of each file only the footer is read."""
    found = {}
    for stage in STAGES:
        counts = {
            end: pq.read_metadata(readable(path)).num_rows
            for end in ("kept", "dropped")
            for path in below(folder, f"{stage}-*.{end}.parquet")[:1]
        }
        if counts:
            found[stage] = counts
    return found


def _provenance(root: Place) -> dict[str, Any]:
    path = root / "manifests" / "scenes.parquet"
    if not path.exists():
        return {}
    try:
        about = parquet.metadata_of(path)
        names = ("configuration", "inputs", "software", "licences")
        told = {name: json.loads(about.get(f"gl10m.{name}", "{}")) for name in names}
    except ValueError:  # damaged: `gl10m verify` says so
        return {}
    return {"version": about.get("gl10m.version"), **told}


def _told(stage: dict[str, Any]) -> str:
    """A stage as the log told it, with what remained then."""
    left = stage.get("seconds_left")
    rest = f", {span(float(left))} left" if left else ""
    rate = stage.get("per_second")
    pace = f", {rate:.3g}/s" if rate else ""
    return f"{stage['stage']} {stage['done']:,} of {stage['total']:,} {stage['unit']}{pace}{rest}"
