"""The real scheduler and the real loop of the build over simulated stages. See scheduling.py.

    python benchmarks/scheduling_simulation.py run --built ROOT --costs FILE --workers 512 [--faster 1]
    python benchmarks/scheduling_simulation.py workers --scheduler-file FILE --count 256  (by the first)

The scheduler is `dask scheduler` in a process of its own. The driver draws batches as a build does, with
the rows and items of a real build (ROOT), and runs them through `pipelines.execution.tasks.run`. Workers
are Dask's own `Worker` objects, hundreds in a process, each with one place to work in; in the place of the
stages they sleep, without a thread, for durations recorded from a real build. `--faster F` divides the
durations by F, so that a scheduler of few workers is asked for as many tasks a second as one of F times as
many.
"""

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import pyarrow.parquet as pq
from distributed import Client, Worker

from gl10m.manifest.schema import ITEMS, MATCHED
from pipelines import fetch as fetching
from pipelines.config import BuildParameters
from pipelines.execution.cluster import LOCAL
from pipelines.execution.fragments import RECEIPTS
from pipelines.execution.journal import Journal
from pipelines.execution.tasks import TaskFailure, run
from pipelines.execution.workplace import Workplace
from pipelines.fetch import Batch, batches
from pipelines.region import Sources
from pipelines.sources.patience import PATIENT
from pipelines.sources.stac import StacImagery

CANDIDATES, PAIRS = 273_250, 104_020
"""The paper's: asked for, and kept."""

PROCESSES = 2
"""Processes that hold the workers."""


@dataclass(frozen=True)
class Slept:
    """What travels back in the place of `Fetched`: as many rows, and how long it is to take."""

    seconds: float
    receipts: Any


@dataclass(frozen=True)
class Simulated:
    """Stands in the place of `fetch`."""

    durations: dict[str, list[float]]
    """Recorded seconds of a scene that was kept, and of one that its LR image ruled out."""
    faster: float

    def __call__(self, batch: Batch) -> Slept:
        chance = random.Random(min(batch.keys))  # noqa: S311 - not for secrets
        total = 0.0
        for _ in batch.keys:
            fate = "kept" if chance.random() < PAIRS / CANDIDATES else "rejected"
            total += chance.choice(self.durations[fate])
        rows = [
            {
                "scene_key": key,
                "scene_id": name,
                "state": batch.region,
                "outcome": "kept",
                "stage": "consistency",
                "reason": None,
                "detail": None,
            }
            for name, key in batch.keys.items()
        ]
        return Slept(total / self.faster, RECEIPTS.empty().from_pylist(rows, schema=RECEIPTS.schema))


class Sleeper(Executor):
    """Does a task at once and hands its result over when its time is up."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        done: Future[Any] = Future()
        message = fn(*args, **kwargs)
        slept = message.get("result") if isinstance(message, dict) else message
        seconds = slept.seconds if isinstance(slept, Slept) else 0.0
        self.loop.call_later(seconds, done.set_result, message)
        return done

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002
        """Nothing to stop."""


async def work(address: str, folder: str, count: int) -> None:
    """Workers in one process, until the scheduler goes."""
    workers = [
        Worker(
            address,
            nthreads=1,
            memory_limit=0,
            executor=Sleeper(),
            dashboard=False,
            local_directory=folder,
        )
        for _ in range(count)
    ]
    for some in range(0, count, 32):
        await asyncio.gather(*workers[some : some + 32])
    await asyncio.gather(*(worker.finished() for worker in workers))


def drawn(built: Path, size: int, region: str) -> Iterator[Batch]:
    """As many batches as the paper's candidates make: those of a real build, over and over."""
    stages = built / ".gl10m" / "stages" / region
    matched = (
        pq.read_table(next(stages.glob("matching-*.kept.parquet"))).select(MATCHED.names).cast(MATCHED.schema)
    )
    items = pq.read_table(next(stages.glob("items-*.parquet"))).select(ITEMS.names).cast(ITEMS.schema)
    names = matched["scene_id"].to_pylist()
    fetching.SMALLEST = fetching.LARGEST = size
    real = [pair for pair in batches(matched, items, dict.fromkeys(names, "")) if pair[0].num_rows == size]
    source = StacImagery(url="http://127.0.0.1:1", patience=PATIENT)
    sources = Sources(lr=source, lr_name="a", lr_catalogue="a", hr=source, hr_name="a", hr_catalogue="a")
    journal = Journal(built)
    workplace, parameters = Workplace({}, ""), BuildParameters()
    for number in range(CANDIDATES // size):
        rows, named = real[number % len(real)]
        ids = rows["scene_id"].to_pylist()
        yield Batch(
            region=region,
            keys=dict.fromkeys([f"{number}-{name}" for name in ids], f"{number:020d}"),
            matched=rows,
            items=named,
            sources=sources,
            parameters=parameters,
            journal=journal,
            patience=PATIENT,
            workplace=workplace,
        )


def cpu_of(process: int) -> float:
    """User and system seconds of a process."""
    fields = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_of(process: int) -> float:
    """Peak MiB of a process."""
    lines = Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def simulate(asked: argparse.Namespace) -> dict[str, Any]:
    """One simulated build."""
    durations = json.loads(asked.costs.read_text(encoding="utf-8"))
    if asked.empty:
        durations = {"kept": [0.0], "rejected": [0.0]}
    clocks = {
        f"DASK_{name.replace('.', '__').replace('-', '_').upper()}": str(value)
        for name, value in LOCAL.items()
    }
    clocks["DASK_DISTRIBUTED__SCHEDULER__WORK_STEALING"] = str(asked.stealing == "on")
    env = {**os.environ, **clocks, "PYTHONPATH": str(Path(__file__).parent)}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scheduler.json"
        dask_command = [sys.executable, "-m", "dask", "scheduler", "--host", "127.0.0.1", "--port", "0"]
        quiet = {"env": env, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        scheduler = subprocess.Popen([*dask_command, "--scheduler-file", file, "--no-dashboard"], **quiet)  # type: ignore[call-overload]
        while not file.exists():
            time.sleep(0.1)
        each = asked.workers // PROCESSES
        here = [sys.executable, __file__, "workers", "--scheduler-file", str(file), "--count", str(each)]
        holders = [subprocess.Popen(here, **quiet) for _ in range(PROCESSES)]  # type: ignore[call-overload]
        try:
            with Client(
                str(json.loads(file.read_text(encoding="utf-8"))["address"]), set_as_default=False
            ) as client:
                client.wait_for_workers(asked.workers, timeout=240)
                return _measured(client, durations, asked, [scheduler.pid], [each.pid for each in holders])
        finally:
            for process in (*holders, scheduler):
                process.kill()
                process.wait()


def _measured(
    client: Client,
    durations: dict[str, list[float]],
    asked: argparse.Namespace,
    scheduler: list[int],
    holders: list[int],
) -> dict[str, Any]:
    before = [cpu_of(process) for process in scheduler + holders]
    driver, begun, slept, tasks = time.process_time(), time.monotonic(), 0.0, 0
    simulated = Simulated(durations, asked.faster)
    stopped = begun + asked.seconds
    for _, result in run(client, simulated, _until(stopped, drawn(asked.built, asked.batch, asked.state))):
        if isinstance(result, TaskFailure):
            raise RuntimeError(type(result.cause).__name__)  # noqa: TRY004 - it is the task's
        slept += result.seconds
        tasks += 1
    wall = time.monotonic() - begun
    spent = [cpu_of(process) - ago for process, ago in zip(scheduler + holders, before, strict=True)]
    return {
        "workers": asked.workers,
        "faster": asked.faster,
        "batch": asked.batch,
        "tasks": tasks,
        "wall": wall,
        "rate": tasks / wall,
        "busy": slept / wall / asked.workers,
        "slept": slept,
        "scheduler_cpu": spent[0],
        "driver_cpu": time.process_time() - driver,
        "worker_cpu": sum(spent[1:]),
        "scheduler_MiB": peak_of(scheduler[0]),
        "driver_MiB": peak_of(os.getpid()),
        "load": os.getloadavg()[0],
    }


def _until(stopped: float, tasks: Iterator[Batch]) -> Iterator[Batch]:
    for task in tasks:
        if time.monotonic() > stopped:
            return
        yield task


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    workers = commands.add_parser("workers")
    workers.add_argument("--scheduler-file", required=True)
    workers.add_argument("--count", type=int, required=True)
    one = commands.add_parser("run")
    one.add_argument("--built", type=Path, required=True)
    one.add_argument("--costs", type=Path, required=True)
    one.add_argument("--state", default="CA")
    one.add_argument("--workers", type=int, default=8)
    one.add_argument("--batch", type=int, default=fetching.LARGEST)
    one.add_argument("--faster", type=float, default=1.0)
    one.add_argument("--seconds", type=float, default=1e9, help="of wall time at most")
    one.add_argument("--stealing", choices=["on", "off"], default="on")
    one.add_argument("--empty", action="store_true", help="tasks of no duration: the most that can be run")
    asked = parser.parse_args()
    if asked.command == "workers":
        with dask.config.set({"distributed.worker.profile.enabled": False}):
            address = json.loads(Path(asked.scheduler_file).read_text(encoding="utf-8"))["address"]
            asyncio.run(work(address, f"{asked.scheduler_file}.d", asked.count))
    else:
        print(json.dumps(simulate(asked)))


if __name__ == "__main__":
    # Under its own name, so that what travels to the workers is named, as in a build, and not copied.
    from scheduling_simulation import main as named

    named()
