"""What the engine costs, how far it scales, and what a full build would take.

    python benchmarks/scheduling.py engine --osm FILE --world WORLD --out OUT    builds, 1 and 2 workers
    python benchmarks/scheduling.py simulate --built ROOT --out OUT              8, 64, 512 workers
    python benchmarks/scheduling.py forecast --out OUT                           hours, bytes, limits

WORLD and its OSM file are those of `gl10m build --states CA --source synthetic --root demo`: `demo/world` and
`demo/world/osm/CA.osm.pbf`. The world is served by a process of its own whose CPU time is not counted.

engine: `scheduling_build.py` for each build. Builds of four times as many scenes give the costs of a scene
and what a second worker brings: one is of all, by one worker and by two; in the other every LR image is
ruled out. simulate: `scheduling_simulation.py`, the build of 273,250 candidates with the recorded durations,
scaled to the CPU time of their kind, as on a machine that does nothing else and waits for no network: the
shortest tasks, and the hardest for a
scheduler. forecast: a discrete-event run of the same build from unit costs, with the bandwidth of nodes and
of the provider shared.
"""

import argparse
import heapq
import json
import os
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

CANDIDATES, PAIRS = 273_250, 104_020
"""The paper's."""

WORKERS = (8, 64, 512)
OVERHEAD, SPEED_UP = 0.05, 1.8
"""Goals: CPU time of the engine over that of the stages; two workers over one on two cores."""

HERE = Path(__file__).parent
DENSE = "[footprints]\nthinning_degrees = 0.004\n"
ALL_INVALID = "[lr]\ninvalid_classes = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]\n"


@contextmanager
def served(world: Path) -> Iterator[tuple[str, int]]:
    """The world behind a server of its own: its address and its process."""
    code = (
        "import time\nfrom pathlib import Path\nfrom pipelines.world.server import serve\n"
        f"with serve(Path({str(world)!r})) as address:\n"
        "    print(address, flush=True)\n    time.sleep(36000)\n"
    )
    server = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        yield (server.stdout.readline().strip() if server.stdout else ""), server.pid
    finally:
        server.kill()
        server.wait()


def measured(script: str, *arguments: str | Path) -> dict[str, Any]:
    """The JSON object that a script prints."""
    ended = subprocess.run(
        [sys.executable, HERE / script, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise RuntimeError(ended.stderr[-3000:])
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return found


def engine(asked: argparse.Namespace) -> None:
    """Builds of the demo world, and the costs that come of them."""
    with served(asked.world) as (address, server), tempfile.TemporaryDirectory(dir=asked.out) as folder:
        place = ["--osm", asked.osm, "--stac-url", address, "--state", asked.state]
        place += ["--server", str(server)]
        runs = {}
        for workers, more in ((1, ()), (2, ()), (2, ("--clocks",))):
            name = f"{workers}{'c' if more else ''}"
            root = ["--root", Path(folder) / name]
            runs[name] = measured("scheduling_build.py", *place, *root, "--workers", str(workers), *more)
        for name, text, *more in (
            ("dense", DENSE, "--workers", "2"),
            ("dense, 1 worker", DENSE, "--workers", "1"),
            ("dense, held", DENSE, "--workers", "1", "--held"),
            ("rejecting", DENSE + ALL_INVALID, "--workers", "2"),
        ):
            config = Path(folder) / f"{name}.toml"
            config.write_text(text, encoding="utf-8")
            root = ["--root", Path(folder) / name, "--config", config]
            runs[name] = measured("scheduling_build.py", *place, *root, *more)
    (asked.out / "engine.json").write_text(json.dumps(runs), encoding="utf-8")
    (asked.out / "costs.json").write_text(json.dumps(costs(runs)), encoding="utf-8")
    print_engine(runs)


def costs(runs: dict[str, Any]) -> dict[str, list[float]]:
    """Seconds of each kind of scene: recorded ones, scaled to the CPU seconds of their kind."""
    found = {}
    for fate, name in (("kept", "dense"), ("rejected", "rejecting")):
        fetch = runs[name]["stages"]["fetch"]
        scenes = sum(batch[0] for batch in fetch["batches"])
        recorded = [seconds / number for number, _, seconds in fetch["batches"]]
        scale = fetch["stages_cpu"] / scenes / mean(recorded)
        found[fate] = [round(seconds * scale, 4) for seconds in recorded]
    return found


def row(*cells: object) -> str:
    """A row of a table."""
    return f"| {' | '.join(str(cell) for cell in cells)} |"


def print_engine(runs: dict[str, Any]) -> None:
    print(
        row("build", "scenes", "wall s", "stages", "driver and scheduler", "workers' Dask", "engine / stages")
    )
    print("|---|--:|--:|--:|--:|--:|--:|")
    names = {
        "1": "1 worker",
        "2": "2 workers",
        "2c": "2 workers, Dask's clocks as by default",
        "dense, held": "1 worker on one core, dense",
        "dense, 1 worker": "1 worker, dense",
        "dense": "2 workers, dense",
    }
    for name, words in names.items():
        fetch = runs[name]["stages"]["fetch"]
        scenes = sum(batch[0] for batch in fetch["batches"])
        own = [fetch[part] for part in ("stages_cpu", "driver_engine", "worker_engine")]
        share = (own[1] + own[2]) / own[0]
        print(row(words, scenes, f"{fetch['wall']:.1f}", *(f"{cpu:.2f}" for cpu in own), f"{share:.1%}"))
    held, one, two = (runs[name]["stages"]["fetch"] for name in ("dense, held", "dense, 1 worker", "dense"))
    print(f"\ngoal: engine at most {OVERHEAD:.0%}; load {runs['dense']['load']:.1f}")
    print(f"two workers against one on one core, wall: {held['wall'] / two['wall']:.2f} (goal {SPEED_UP})")
    used = one["stages_cpu"] / one["wall"]
    print(f"two workers against one, which uses {used:.2f} cores: {one['wall'] / two['wall']:.2f}")
    print(f"CPU s of the world's server beside two: {two['server_cpu']:.1f} of {two['wall']:.1f} wall s")
    shares = two["of_a_worker"]
    print(f"the same by CPU: all work over that of the busier worker {sum(shares) / max(shares):.2f}")
    print(f"stages' CPU s, one worker {one['stages_cpu']:.2f}, two together {two['stages_cpu']:.2f}")
    print(f"peak memory of a worker: {max(two['peak_MiB'])} MiB")


def simulate(asked: argparse.Namespace) -> None:
    """The real scheduler and loop over sleeping stages."""
    built = ["--built", asked.built, "--costs", asked.out / "costs.json", "--state", asked.state]
    runs = [
        measured("scheduling_simulation.py", "run", *built, "--workers", "64", "--empty", "--seconds", "20")
    ]
    for workers in reversed(WORKERS):
        faster = max(WORKERS) / workers
        more = ["--workers", str(workers), "--faster", str(faster), "--seconds", str(asked.seconds)]
        runs.append(measured("scheduling_simulation.py", "run", *built, *more))
    (asked.out / "simulation.json").write_text(json.dumps(runs), encoding="utf-8")
    print_simulation(runs)


def print_simulation(runs: list[dict[str, Any]]) -> None:
    columns = ("workers", "time", "tasks", "wall s", "tasks/s", "workers busy")
    print(row(*columns, "scheduler, ms", "driver, ms", "worker, ms", "scheduler, MiB", "driver, MiB"))
    print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for run in runs:
        tasks = run["tasks"]
        speed = f"{run['faster']:.0f}x" if run["slept"] else "none"
        each = [f"{run[part] / tasks * 1e3:.2f}" for part in ("scheduler_cpu", "driver_cpu", "worker_cpu")]
        memory = [f"{run[part]:.0f}" for part in ("scheduler_MiB", "driver_MiB")]
        pace = (f"{tasks:,}", f"{run['wall']:.0f}", f"{run['rate']:.0f}", f"{run['busy']:.1%}")
        print(row(run["workers"], speed, *pace, *each, *memory))
    print()
    print(row("workers", "tasks/s asked for", "a scheduler's core does", "a driver's core does", "headroom"))
    print("|--:|--:|--:|--:|--:|")
    for run in runs[1:]:
        asked = run["workers"] / (run["slept"] * run["faster"] / run["tasks"])
        most = [run["tasks"] / run[part] for part in ("scheduler_cpu", "driver_cpu")]
        print(
            row(run["workers"], f"{asked:.1f}", *(f"{rate:.0f}" for rate in most), f"{min(most) / asked:.1f}")
        )
    print(f"\nload {runs[1]['load']:.1f}")


@dataclass
class Forecast:
    """Unit costs and lines of a full build."""

    kept_cpu: float
    rejected_cpu: float
    node_gbit: float
    cores_a_node: int
    provider_gbit: float
    round_trip: float
    publish_seconds: float
    """Of the driver, a scene; it is one process."""
    lr_requests: float = 4.5
    hr_requests: float = 13.3
    lr_bytes: float = 1.3e6
    hr_bytes: float = 49.5e6
    round_trips: float = 6.0
    """One after the other in a complete scene: those of ranges go out together."""
    used: dict[str, float] = field(default_factory=dict)

    def run(self, workers: int, batch: int) -> dict[str, float]:
        """Batches on workers, event by event; two lines are shared: a node's, and the provider's."""
        chance = random.Random(0)  # noqa: S311 - not for secrets
        nodes = max(1, workers // self.cores_a_node)
        node_free, provider_free = [0.0] * nodes, 0.0
        free = [(0.0, worker) for worker in range(workers)]
        total = {"cpu": 0.0, "bytes": 0.0, "requests": 0.0, "waited": 0.0}
        end, left = 0.0, CANDIDATES
        while left:
            now, worker = heapq.heappop(free)
            scenes = min(batch, left)
            left -= scenes
            kept = sum(chance.random() < PAIRS / CANDIDATES for _ in range(scenes))
            size = scenes * self.lr_bytes + kept * self.hr_bytes
            cpu = kept * self.kept_cpu + (scenes - kept) * self.rejected_cpu
            node = worker % nodes
            node_free[node] = max(node_free[node], now) + size * 8 / (self.node_gbit * 1e9)
            provider_free = max(provider_free, now) + size * 8 / (self.provider_gbit * 1e9)
            # A scene is read while the one before it is computed: the longer of both counts.
            alone = max(cpu, (kept * self.round_trips + scenes * 2) * self.round_trip)
            done = max(now + alone, node_free[node], provider_free)
            total["cpu"] += cpu
            total["bytes"] += size
            total["requests"] += scenes * self.lr_requests + kept * self.hr_requests
            end = max(end, done)
            heapq.heappush(free, (done, worker))
        return {
            "hours": end / 3600,
            "cpu_hours": total["cpu"] / 3600,
            "terabytes": total["bytes"] / 1e12,
            "requests": total["requests"],
            "worker": total["cpu"] / workers / end,
            "node": total["bytes"] * 8 / (self.node_gbit * 1e9) / nodes / end,
            "provider": total["bytes"] * 8 / (self.provider_gbit * 1e9) / end,
            "gbit": total["bytes"] * 8 / end / 1e9,
            "per_second": total["requests"] / end,
            "publish": PAIRS * self.publish_seconds / 3600,
        }


def forecast(asked: argparse.Namespace) -> None:
    """What a full build would take."""
    known = json.loads((asked.out / "costs.json").read_text(encoding="utf-8"))
    runs = json.loads((asked.out / "engine.json").read_text(encoding="utf-8"))
    two = runs["2"]
    published = sum(batch[1] for batch in two["stages"]["fetch"]["batches"])
    case = Forecast(
        kept_cpu=mean(known["kept"]),
        rejected_cpu=mean(known["rejected"]),
        node_gbit=asked.node_gbit,
        cores_a_node=asked.cores,
        provider_gbit=asked.provider_gbit,
        round_trip=asked.round_trip,
        publish_seconds=two["seconds"]["publishing"] / published,
    )
    print(
        f"units: {case.kept_cpu:.3f} CPU s a complete scene, {case.rejected_cpu * 1e3:.0f} CPU ms one that "
        f"LR rules out, {case.publish_seconds * 1e3:.0f} ms to publish one; LR {case.lr_requests} requests, "
        f"{case.lr_bytes / 1e6} MB; HR {case.hr_requests} requests, {case.hr_bytes / 1e6} MB"
    )
    print(
        f"lines: {asked.node_gbit:g} Gbit/s a node of {asked.cores} workers, "
        f"{asked.provider_gbit:g} Gbit/s of the provider, {asked.round_trip * 1e3:.0f} ms a round trip\n"
    )
    print(
        row(
            "workers",
            "imagery, h",
            "CPU h",
            "requests",
            "TB",
            "Gbit/s",
            "requests/s",
            "CPU",
            "nodes",
            "provider",
        )
        + " limit | publishing, h |"
    )
    print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|--:|")
    for workers in WORKERS:
        made = case.run(workers, 32)
        busy = {name: made[name] for name in ("worker", "node", "provider")}
        words = {"worker": "CPU", "node": "line of a node", "provider": "provider's line"}
        totals = (f"{made['cpu_hours']:.1f}", f"{made['requests'] / 1e6:.2f} M", f"{made['terabytes']:.2f}")
        rates = (
            f"{made['gbit']:.1f}",
            f"{made['per_second']:,.0f}",
            *(f"{share:.0%}" for share in busy.values()),
        )
        limit = words[max(busy, key=lambda name: busy[name])]
        print(row(workers, f"{made['hours']:.2f}", *totals, *rates, limit, f"{made['publish']:.2f}"))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["engine", "simulate", "forecast"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--osm", type=Path)
    parser.add_argument("--world", type=Path)
    parser.add_argument("--built", type=Path, help="a finished build, whose rows and items are drawn from")
    parser.add_argument("--state", default="CA")
    parser.add_argument("--seconds", type=float, default=150, help="of a simulation at most")
    parser.add_argument("--node-gbit", type=float, default=10)
    parser.add_argument("--cores", type=int, default=16, help="workers of a node")
    parser.add_argument("--provider-gbit", type=float, default=60)
    parser.add_argument("--round-trip", type=float, default=0.03)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    print(f"{asked.what}: {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    {"engine": engine, "simulate": simulate, "forecast": forecast}[asked.what](asked)


if __name__ == "__main__":
    main()
