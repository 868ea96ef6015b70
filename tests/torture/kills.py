"""SIGKILL at random moments: of the driver, of a worker, of a scheduler, of all at once."""

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.torture.arena import PATIENCE, Arena, Ended, finish, gone, kill_session, unclear, workers_of
from tests.torture.running_cluster import RunningCluster, running_cluster
from tests.torture.tally import Tally

STAGES = ("before the stages", "in the stages", "in the images", "in the publication", "after the end")
"""Where a build was when it was hurt."""

LASTS = {"before the stages": 0.4, "in the stages": 0.15, "in the images": 0.4, "in the publication": 0.08}
"""About what share of the time of a build each takes: kills are spread over it."""


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


@dataclass(frozen=True, slots=True)
class Hurt:
    """A build under which something was killed."""

    ended: Ended
    stage: str
    """How far it was."""
    fault: str | None
    """What is wrong with its end."""


def hurt(
    arena: Arena,
    trial: Path,
    kill: Kill,
    arguments: Sequence[str],
    cluster: RunningCluster | None = None,
    *,
    aim: str,
    delay: float,
    **environment: str,
) -> Hurt:
    """One build and one kill, so many seconds after it came to a stage."""
    began = time.monotonic()
    building = arena.start(trial, *arguments, **environment)
    wait_for_stage(building, trial / "root", aim, delay)
    while not kill(building.pid, cluster) and building.poll() is None:
        time.sleep(0.05)  # its workers have not started yet
    stage = stage_of(trial / "root")
    ended = replace(finish(building), seconds=time.monotonic() - began)
    return Hurt(ended, stage, None if gone(building.pid) else "processes are left behind")


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
    done = hurt(arena, trial, kill, arguments, cluster, aim=aim, delay=delay)
    tally.hit(target, done.stage, STAGES)
    fault = done.fault
    if done.ended.code == 0:
        tally.endured[target] += 1
        fault = fault or arena.fault(trial)
    elif not fault:
        fault = unclear(done.ended) or arena.rerun(trial, "--workers", "1")
    if fault:
        tally.note(target, f"{delay:.2f} s after {aim!r}, {done.stage} ({trial.name}): {fault}")
    else:
        arena.clear(trial)


def wait_for_stage(building: "subprocess.Popen[str]", root: Path, aim: str, delay: float = 0.0) -> None:
    """Until a build has come to a stage, and then for a while."""
    while building.poll() is None and STAGES.index(stage_of(root)) < STAGES.index(aim):
        time.sleep(0.01)
    until = time.monotonic() + delay
    while building.poll() is None and time.monotonic() < until:
        time.sleep(0.005)


def kill_every(seconds: float, building: "subprocess.Popen[str]") -> int:
    """Shoot a worker again and again while a build runs; gives how often."""
    chance, shot, over = random.Random(7), 0, time.monotonic() + PATIENCE
    while building.poll() is None and time.monotonic() < over:
        with contextlib.suppress(IndexError, ProcessLookupError):
            os.kill(chance.choice(workers_of(building.pid)), signal.SIGKILL)
            shot += 1
        with contextlib.suppress(subprocess.TimeoutExpired):
            building.wait(timeout=seconds)
    return shot
