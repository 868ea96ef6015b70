"""One build whose CPU time is told apart: what its stages take, and what the engine adds. See scheduling.py.

    python benchmarks/scheduling_build.py --osm FILE --stac-url URL --root ROOT --workers 2 [--batch 16] [--server PID]

Prints one JSON object. The build is the product's own (`pipelines.build.build`); the loop that runs its tasks
is bracketed by readings of the clocks of threads. In a worker the stages' CPU is that of the process but for
the threads that are Dask's; in the driver the engine is Dask's threads, where the embedded scheduler lives,
and the loop. Imports are a figure of their own.
"""

import argparse
import json
import os
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
from distributed import Client

from pipelines import build as building
from pipelines import fetch as fetching
from pipelines import fetch_all
from pipelines.execution import cluster as clusters
from pipelines.execution.tasks import TaskFailure, run
from pipelines.fetch import Batch, Fetched
from pipelines.inputs import BuildRequest

DASKS = ("MainThread", "IO loop", "Profile", "Dask-Offload", "Dask-Callback", "AsyncProcess", "TCP-")
"""Beginnings of the names of threads that are Dask's in a worker; in the driver but for the main one."""

CLOCKS = (
    "distributed.worker.profile.enabled",
    "distributed.admin.tick.interval",
    "distributed.admin.system-monitor.interval",
)
"""What the product slows down on a cluster of its own."""


def reading() -> dict[str, float]:
    """CPU seconds of this process, of its threads that are Dask's, and its peak memory."""
    threads = threading.enumerate()
    own = sum(_cpu(thread) for thread in threads if thread.name.startswith(DASKS))
    main = _cpu(threading.main_thread())
    return {"process": time.process_time(), "dask": own, "main": main, "MiB": _peak_mebibytes()}


def _cpu(thread: threading.Thread) -> float:
    try:
        text = Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return int(text.split()[0]) / 1e9


def _cpu_of(process: int | None) -> float:
    """CPU seconds of another process, user's and system's."""
    if process is None:
        return 0.0
    after_name = Path(f"/proc/{process}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / os.sysconf("SC_CLK_TCK")


def _peak_mebibytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def warm() -> None:
    """What a worker imports for its first task."""
    from pipelines import fetch, region  # noqa: F401, PLC0415


def held_to_one_core() -> None:
    """Keep every thread of this process, and those that it starts, on one core."""
    for thread in Path("/proc/self/task").iterdir():
        os.sched_setaffinity(int(thread.name), {0})


class Meter:
    """Stands where a build calls `tasks.run`."""

    def __init__(self, server: int | None, *, held: bool) -> None:
        self.server, self.held = server, held
        self.stages: dict[str, dict[str, Any]] = {}
        self.start_cpu = 0.0

    def run(self, client: Client, function: Any, tasks: Any, *more: Any) -> Iterator[Any]:
        name = getattr(function, "__name__", type(function).__name__)
        client.run(warm)
        if self.held:
            client.run(held_to_one_core)
        workers, here, begun = client.run(reading), reading(), time.monotonic()
        if not self.stages:
            self.start_cpu = sum(each["process"] for each in workers.values())
        serving = _cpu_of(self.server)
        in_loop, batches = 0.0, []
        inner = run(client, function, tasks, *more)
        while True:
            entered = time.thread_time()
            ended = next(inner, None)
            in_loop += time.thread_time() - entered
            if ended is None:
                break
            task, result = ended
            if isinstance(result, Fetched) and isinstance(task, Batch):
                batches.append([len(task.keys), result.kept, round(result.seconds, 3)])
            if isinstance(result, TaskFailure):
                raise RuntimeError(type(result.cause).__name__)  # noqa: TRY004 - it is the task's
            yield ended
        wall = time.monotonic() - begun
        after, there = client.run(reading), reading()
        memory = [round(each["MiB"]) for each in after.values()]
        dasks = [after[key]["dask"] - workers[key]["dask"] for key in after]
        alls = [after[key]["process"] - workers[key]["process"] for key in after]
        # Of the driver's main thread only the loop is the engine's.
        drivers = (there["dask"] - there["main"]) - (here["dask"] - here["main"]) + in_loop
        self.stages[name] = {
            "wall": wall,
            "stages_cpu": sum(alls) - sum(dasks),
            "of_a_worker": [round(a - d, 2) for a, d in zip(alls, dasks, strict=True)],
            "worker_engine": sum(dasks),
            "driver_engine": drivers,
            "loop": in_loop,
            "server_cpu": _cpu_of(self.server) - serving,
            "peak_MiB": memory,
            "batches": batches,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--osm", required=True)
    parser.add_argument("--stac-url", required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--state", default="CA")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--stealing", choices=["on", "off"])
    parser.add_argument("--server", type=int, help="process that serves the imagery; its CPU is told beside")
    parser.add_argument("--held", action="store_true", help="a worker may use one core alone")
    parser.add_argument("--clocks", action="store_true", help="Dask's clocks as they are by default")
    asked = parser.parse_args()
    if asked.batch:
        fetching.SMALLEST = fetching.LARGEST = asked.batch
    if asked.stealing:
        clusters.LOCAL["distributed.scheduler.work-stealing"] = asked.stealing == "on"
    if asked.clocks:
        for name in CLOCKS:
            clusters.LOCAL.pop(name)
    meter = Meter(asked.server, held=asked.held)
    building.run = fetch_all.run = meter.run  # type: ignore[assignment]
    begun, children = time.monotonic(), os.times()
    request = BuildRequest(
        root=asked.root,
        regions=(asked.state,),
        lr_source="stac",
        hr_source="stac",
        stac_url=asked.stac_url,
        osm=(asked.osm,),
        config=asked.config,
        workers=asked.workers,
    )
    report = building.build(request)
    seconds = dict(
        pair.rsplit(" ", 1)
        for pair in next(line for line in report.text.splitlines() if line.startswith("seconds: "))
        .removeprefix("seconds: ")
        .split(", ")
    )
    ended = os.times()
    print(
        json.dumps(
            {
                "workers": asked.workers,
                "wall": time.monotonic() - begun,
                "seconds": {name: float(took.replace(",", "")) for name, took in seconds.items()},
                "cpu": sum(ended[:4]) - sum(children[:4]),
                "start_cpu": meter.start_cpu,
                "stages": meter.stages,
                "load": os.getloadavg()[0],
                "dask": dask.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
