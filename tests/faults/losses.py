"""Workers and schedulers that are lost while images are fetched, and workers lost on a bad network."""

import contextlib
import random
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace

from tests.faults.account import followed, in_folder
from tests.faults.ledger import Row
from tests.faults.network import OPEN, bad_network, patience
from tests.faults.signed import PATIENT
from tests.torture.arena import Arena, finish
from tests.torture.kills import EMBEDDED, LASTS, ON_A_CLUSTER, Kill, hurt, kill_every, wait_for_stage
from tests.torture.running_cluster import RunningCluster, running_cluster, two_workers

AIM, ALL_WORKERS = "in the images", "all workers of a running cluster"


def lost(arena: Arena, seed: int, times: int) -> Iterator[Row]:
    """A row for each part of a build or of a running cluster that is killed, each so often."""
    chance = random.Random(seed)
    for target, kill in EMBEDDED.items():
        yield _sum([_embedded(arena, target, kill, chance) for _ in range(times)])
    for target, kill in ON_A_CLUSTER.items():
        if target != ALL_WORKERS:  # without any worker a build waits until one comes
            yield _sum([_on_a_cluster(arena, target, kill, chance) for _ in range(times)])
    yield _sum([_all_workers_replaced(arena, chance) for _ in range(times)])
    yield _massacre(arena)
    yield _sum([_on_a_bad_network(arena, chance, seed + number) for number in range(times)])


def _sum(rows: list[Row]) -> Row:
    total = rows[0]
    for row in rows[1:]:
        total += row
    return total


def _delay(arena: Arena, chance: random.Random) -> float:
    return chance.uniform(0.0, LASTS[AIM]) * arena.seconds


def _embedded(arena: Arena, target: str, kill: Kill, chance: random.Random) -> Row:
    return _killed(arena, f"{target} killed", kill, chance, ("--workers", "2"), None)


def _on_a_cluster(arena: Arena, target: str, kill: Kill, chance: random.Random) -> Row:
    with running_cluster(arena.place()) as cluster:
        return _killed(arena, f"{target} killed", kill, chance, cluster.arguments, cluster)


def _all_workers_replaced(arena: Arena, chance: random.Random) -> Row:
    """As where a batch system ends a job of workers and begins the next one."""
    folder = arena.place()
    with running_cluster(folder) as cluster, contextlib.ExitStack() as others:

        def replaced(build: int, own: RunningCluster | None) -> bool:
            done = ON_A_CLUSTER[ALL_WORKERS](build, own)
            others.enter_context(two_workers(cluster.address, folder))
            return done

        fault = f"{ALL_WORKERS} killed, others come"
        return _killed(arena, fault, replaced, chance, cluster.arguments, cluster)


def _killed(
    arena: Arena,
    fault: str,
    kill: Kill,
    chance: random.Random,
    arguments: tuple[str, ...],
    cluster: RunningCluster | None,
    **environment: str,
) -> Row:
    """One build and one kill, and the same command again, with a cluster of its own."""
    trial = arena.place()
    if environment:
        arguments = (*arguments, "--config", patience(trial, PATIENT))
    again = arguments if cluster is None else ("--workers", "2")
    course = in_folder(arena, trial, fault, lambda: arena.run(trial, *again, **environment), lambda: 1)
    done = hurt(arena, trial, kill, arguments, cluster, aim=AIM, delay=_delay(arena, chance), **environment)
    row = followed(course, done.ended)
    arena.clear(trial)
    return replace(row, wrong=(*row.wrong, *([done.fault] if done.fault else [])))


def _on_a_bad_network(arena: Arena, chance: random.Random, seed: int) -> Row:
    kinds = [word for kind in OPEN for word in ("--kind", kind)]
    with bad_network(0.1, seed, *kinds) as network:
        fault = "worker killed, and all kinds of faults at 10%"
        row = _killed(
            arena, fault, EMBEDDED["worker"], chance, ("--workers", "2"), None, http_proxy=network.address
        )
        tally = network.tally()
    return replace(row, requests=int(tally["requests"]), injected=row.injected + int(tally["faults"]))


def _massacre(arena: Arena) -> Row:
    trial = arena.place()
    shot = 0
    course = in_folder(
        arena,
        trial,
        "a worker killed every 2 s",
        lambda: arena.run(trial, "--workers", "2"),
        lambda: shot,
    )
    began = time.monotonic()
    building: subprocess.Popen[str] = arena.start(trial, "--workers", "2")
    wait_for_stage(building, trial / "root", AIM)
    shot = kill_every(2.0, building)
    row = followed(course, replace(finish(building), seconds=time.monotonic() - began))
    arena.clear(trial)
    return row
