"""SIGKILL at random moments: of the driver, of a worker, of a scheduler, of all at once."""

import contextlib
import math
import os
import random
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.torture.arena import Arena, Ended, finish, gone, kill_session, workers_of
from tests.torture.running_cluster import RunningCluster, running_cluster

STAGES = ("before the stages", "in the stages", "in the images", "in the publication", "after the end")
"""Where a build was when it was hurt."""

LASTS = {"before the stages": 0.4, "in the stages": 0.15, "in the images": 0.4, "in the publication": 0.08}
"""About what share of the time of a build each takes: kills are spread over it."""


@dataclass(slots=True)
class Tally:
    """What was done and what came of it."""

    seed: int
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By target and moment."""
    faults: list[str] = field(default_factory=list)
    endured: Counter[str] = field(default_factory=Counter)
    """Builds that went on to their end by themselves, by target."""
    until: float = math.inf
    """Moment of `time.monotonic` after which nothing more is hurt."""

    @property
    def over(self) -> bool:
        """Whether it is time to end."""
        return time.monotonic() > self.until

    def note(self, fault: str) -> None:
        """Remember a fault and tell it at once."""
        self.faults.append(fault)
        print(fault, flush=True)

    def __str__(self) -> str:
        targets = sorted({target for target, _ in self.kills})
        lines = [f"seed {self.seed}: {self.kills.total()} kills, {len(self.faults)} faults"]
        for target in targets:
            counts = [f"{self.kills[target, stage]} {stage}" for stage in STAGES if self.kills[target, stage]]
            lines.append(
                f"  {target}: {', '.join(counts)}; {self.endured[target]} builds went on by themselves"
            )
        return "\n".join([*lines, *self.faults])


Kill = Callable[[int, RunningCluster | None], bool]
"""Kills something of a build, given its process and the cluster it uses; whether there was anything to kill."""


def _driver(build: int, _: RunningCluster | None) -> bool:
    return _shoot(build)


def _all(build: int, _: RunningCluster | None) -> bool:
    kill_session(build)
    return True


def _worker(build: int, cluster: RunningCluster | None) -> bool:
    workers = cluster.worker_processes if cluster else workers_of(build)
    return bool(workers) and _shoot(workers[0])


def _scheduler(_: int, cluster: RunningCluster | None) -> bool:
    return cluster is not None and _shoot(cluster.scheduler.pid)


def _worker_host(_: int, cluster: RunningCluster | None) -> bool:
    if cluster is not None:
        kill_session(cluster.workers.pid)
    return cluster is not None


EMBEDDED: dict[str, Kill] = {
    "driver and its scheduler": _driver,
    "driver, scheduler and workers at once": _all,
    "worker": _worker,
}
ON_A_CLUSTER: dict[str, Kill] = {
    "driver of a running cluster": _driver,
    "worker of a running cluster": _worker,
    "scheduler of a running cluster": _scheduler,
    "all workers of a running cluster": _worker_host,
}


def _shoot(number: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(number, signal.SIGKILL)
        return True
    return False


def stage_of(root: Path) -> str:
    """How far a build has come, by what lies in its journal."""
    own = root / ".gl10m"
    if (own / "receipts.parquet").exists():
        return "after the end"
    if (own / "staging").exists() or (own / "commit.txt").exists():
        return "in the publication"
    if any(own.glob("stages/*/keys-*")):
        return "in the images"
    return "in the stages" if any(own.glob("stages/*/*")) else "before the stages"


def embedded(arena: Arena, number: int, seed: int, tally: Tally) -> None:
    """Hurt builds that bring their own cluster."""
    chance = random.Random(seed)
    for turn in range(number):
        if tally.over:
            return
        target = list(EMBEDDED)[turn % len(EMBEDDED)]
        workers = chance.choice((1, 2))
        _hurt(arena, chance, target, EMBEDDED[target], tally, ("--workers", str(workers)))


def on_a_cluster(arena: Arena, number: int, seed: int, tally: Tally) -> None:
    """Hurt builds that use a running cluster, and that cluster."""
    chance = random.Random(seed)
    for turn in range(number):
        if tally.over:
            return
        target = list(ON_A_CLUSTER)[turn % len(ON_A_CLUSTER)]
        with running_cluster(arena.place()) as cluster:
            _hurt(arena, chance, target, ON_A_CLUSTER[target], tally, cluster.arguments, cluster)


def _hurt(
    arena: Arena,
    chance: random.Random,
    target: str,
    kill: Kill,
    tally: Tally,
    arguments: tuple[str, ...],
    cluster: RunningCluster | None = None,
) -> None:
    """One build, one kill, and the same command again."""
    trial, aim = arena.place(), chance.choice(STAGES[:-1])
    delay = chance.uniform(0.0, LASTS[aim]) * arena.seconds
    building = arena.start(trial, *arguments)
    _wait(building, trial / "root", aim, delay)
    while not kill(building.pid, cluster) and building.poll() is None:
        time.sleep(0.05)  # its workers have not started yet
    stage = stage_of(trial / "root")
    tally.kills[target, stage] += 1
    ended = finish(building)
    fault = None if gone(building.pid) else "processes are left behind"
    if ended.code == 0:
        tally.endured[target] += 1
        fault = fault or arena.fault(trial)
    elif not fault:
        fault = _refusal(ended) or arena.rerun(trial, "--workers", "1")
    if fault:
        tally.note(f"FAULT {target} {delay:.2f} s after {aim!r}, {stage} ({trial.name}): {fault}")
    else:
        arena.clear(trial)


def _wait(building: "subprocess.Popen[str]", root: Path, aim: str, delay: float) -> None:
    """Until a build has come to a stage, and then for a while."""
    while building.poll() is None and STAGES.index(stage_of(root)) < STAGES.index(aim):
        time.sleep(0.01)
    until = time.monotonic() + delay
    while building.poll() is None and time.monotonic() < until:
        time.sleep(0.005)


def _refusal(ended: Ended) -> str | None:
    """What is wrong with the words of a build that could not go on."""
    if ended.code < 0:
        return None
    said = [line for line in ended.said.splitlines() if line.startswith("gl10m:")]
    remedy = any(words in ended.said for words in ("same command again", "Start one with `dask scheduler`"))
    clear = len(said) == 1 and remedy and "Traceback" not in ended.said
    return None if clear else f"ended with {ended.code} and said {ended.said[-3000:]}"
