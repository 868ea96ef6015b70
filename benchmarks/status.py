"""What a look at a large build costs: `gl10m status` beside a journal as the paper's, written by its own writers.

    python benchmarks/status.py [--scenes 300000] [--rounds 5]

Two data sets: one whose build is running, with its scenes in fragments of 32 and in notes but for the last 31 fragments,
and one that is published, with its scenes in receipts and manifests. Wall and CPU seconds and peak memory of the
whole command, the smallest of the rounds; files are in the page cache. The goal is 1 s and 1 GiB. Images are a
few bytes: the command reads none.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from gl10m.manifest import parquet
from gl10m.manifest.outcome import Ledger, Outcome
from gl10m.manifest.schema import FUNNEL, REJECTIONS
from gl10m.scene.rejection import STAGES, Reason
from pipelines.execution.fragments import RECEIPTS, Receipts, make_fragment, note_keys
from pipelines.execution.journal import Journal, key_of
from pipelines.execution.lock import locked
from pipelines.execution.notes import NOTED, noting
from tests.store.small_scenes import fetched

BATCH = 32
KEPT = 12
"""Of a batch: the paper kept 104,020 of 273,250 candidates."""

REASONS = (Reason.CLOUDY_LR, Reason.BLACK_LR)
GOAL = "goal 1 s, 1,024 MiB"
QUIET = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]


def batches(scenes: int, region: str) -> Iterator[tuple[pa.Table, pa.Table]]:
    """Rows of the kept scenes of a batch, schema FETCHED, and of the others, schema REJECTIONS."""
    rows = fetched(range(KEPT), region)
    for name, value in (("lr", b"lr"), ("hr", [b"hr"] * 100)):
        place = rows.schema.get_field_index(name)
        rows = rows.set_column(
            place, rows.schema.field(name), pa.array([value] * KEPT, rows.schema.field(name).type)
        )
    for first in range(0, scenes, BATCH):
        names = [f"{region}-w{200_000_000 + number}" for number in range(first, min(first + BATCH, scenes))]
        kept = rows.slice(0, len(names[:KEPT])).set_column(0, rows.schema.field(0), pa.array(names[:KEPT]))
        ledger = Ledger("lr", region)
        for place, name in enumerate(names[KEPT:]):
            if place:
                ledger.reject(name, REASONS[place % len(REASONS)], "34.5 % of the footprint, at most 5 %")
            else:
                ledger.fail(name, "SOURCE_TIMEOUT", "no answer within 30 s")
        yield kept, ledger.table


def running(root: Path, scenes: int, region: str) -> pa.Table:
    """The journal of a build that has asked for all scenes; its receipts."""
    journal, keys, tables = Journal(root), dict[str, str](), list[pa.Table]()
    last = -(-scenes // BATCH) - NOTED + 1  # those that wait for their note
    with noting(journal) as notes:
        for number, (kept, dropped) in enumerate(batches(scenes, region)):
            names = [*kept["scene_id"].to_pylist(), *dropped["subject"].to_pylist()]
            own = {name: key_of(name) for name in names}
            fragment = make_fragment(own, kept, dropped)
            path = journal.write_fragment(fragment)
            receipts = fragment.select(RECEIPTS.names)
            if number < last:
                notes.add(path, receipts)
            keys |= own
            tables.append(receipts)
    note_keys(journal, region, keys)
    receipts = pa.concat_tables(tables)
    stages(journal, region, receipts)
    return receipts


def stages(journal: Journal, region: str, matched: pa.Table) -> None:
    """The outcome of each stage before the images, one row a scene."""
    rows = matched.select(["scene_id", "state"])
    for stage in STAGES[: STAGES.index("lr")]:
        outcome = Outcome(stage=stage, read=rows.num_rows, kept=rows)
        journal.stage(stage, region, key_of(stage), lambda outcome=outcome: outcome)


def published(root: Path, receipts: pa.Table, region: str) -> None:
    """The journal and the manifests of a finished build."""
    journal = Journal(root)
    columns = (receipts[name].to_pylist() for name in ("scene_id", "scene_key"))
    note_keys(journal, region, dict(zip(*columns, strict=True)))
    stages(journal, region, receipts)
    parquet.write(Receipts(journal).path, receipts.sort_by("scene_key"), RECEIPTS, {})
    lost = receipts.filter(pc.not_equal(receipts["outcome"], "kept")).rename_columns({"scene_id": "subject"})
    parquet.write(root / "manifests/rejections.parquet", lost.select(REJECTIONS.names), REJECTIONS, {})
    parquet.write(root / "manifests/funnel.parquet", FUNNEL.empty(), FUNNEL, {})


def look(root: Path, rounds: int, *options: str) -> str:
    """Least wall seconds, CPU seconds and most memory of the command."""
    wall, cpu, memory = [], [], []
    command = [sys.executable, "-m", "gl10m", "status", "--root", str(root), *options]
    for _ in range(rounds):
        began = time.perf_counter()
        process = os.posix_spawn(sys.executable, command, os.environ, file_actions=QUIET)
        _, code, used = os.wait4(process, 0)
        wall.append(time.perf_counter() - began)
        assert code == 0
        cpu.append(used.ru_utime + used.ru_stime)
        memory.append(used.ru_maxrss / 1024)
    return f"{min(wall):.2f} s wall, {min(cpu):.2f} s CPU, {max(memory):,.0f} MiB"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--scenes", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gl10m-status-") as folder:
        at_work, finished = Path(folder) / "running", Path(folder) / "published"
        receipts = running(at_work, asked.scenes, "CA")
        published(finished, receipts, "CA")
        fragments = len(list((at_work / ".gl10m/fragments").glob("*.parquet")))
        print(f"{receipts.num_rows:,} scenes; {fragments:,} fragments; load {os.getloadavg()[0]:.1f}; {GOAL}")
        with locked(at_work):
            for options in ((), ("--json",)):
                print(f"running {' '.join(options)}: {look(at_work, asked.rounds, *options)}")
        for options in ((), ("--json",)):
            print(f"published {' '.join(options)}: {look(finished, asked.rounds, *options)}")


if __name__ == "__main__":
    main()
