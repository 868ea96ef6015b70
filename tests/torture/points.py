"""SIGKILL at every point where a driver changes what is on the disk: each fsync, rename and unlink in turn.

`strace` counts the calls of the driver's main thread, which publishes, and kills the process at the n-th, before
the kernel carries it out.
"""

import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.torture.arena import Arena, finish
from tests.torture.kills import STAGES, stage_of
from tests.torture.running_cluster import running_cluster
from tests.torture.tally import Tally

CALLS = "fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,link,ftruncate"
"""System calls by which a file comes, goes, or is made sure."""


TARGET = "driver at its n-th fsync, rename or unlink"
"""Its name in the tally."""


def every_point(arena: Arena, tally: Tally, *, step: int = 1, first: int = 1) -> int:
    """Kill a driver at each of its points from the state in which all is fetched and nothing published.

    Args:
        arena: where.
        tally: takes what is found.
        step: try every so many points.
        first: the point to begin with.

    Returns:
        How many points the driver has.
    """
    with running_cluster(arena.place()) as cluster:
        fetched = _fetched(arena, cluster.arguments)
        points = list(_calls(arena, fetched, cluster.arguments))
        for number in range(first, len(points) + 1, step):
            if tally.over:
                break
            call, turn = points[number - 1]
            trial = arena.place()
            shutil.copytree(fetched, trial)
            kill = ["strace", "-qq", "-o", "/dev/null", f"-einject={call}:signal=SIGKILL:when={turn}"]
            ended = finish(arena.start(trial, *cluster.arguments, before=kill))
            stage = stage_of(trial / "root")
            fault = None if ended.code < 0 else f"was not killed: {ended.said}"
            fault = fault or arena.rerun(trial, *cluster.arguments)
            tally.hit(TARGET, stage, STAGES)
            if fault:
                tally.note(TARGET, f"{turn}th {call}, point {number} of {len(points)}, {stage}: {fault}")
            else:
                arena.clear(trial)
    return len(points)


def _fetched(arena: Arena, arguments: tuple[str, ...]) -> Path:
    """A data set whose images lie in fragments, and whose publication has not begun."""
    trial = arena.place()
    # The driver's first link is a semaphore of multiprocessing; its first file in staging is far behind it.
    kill = ["strace", "-qq", "-o", "/dev/null", "-P", str(trial / "root" / ".gl10m" / "staging" / "data")]
    ended = finish(arena.start(trial, *arguments, before=[*kill, "-einject=mkdir:signal=SIGKILL:when=1"]))
    assert ended.code < 0, ended.said
    assert arena.committed(trial) == set(arena.ranges)
    return trial


def _calls(arena: Arena, fetched: Path, arguments: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """The calls of an undisturbed driver: name, and how many of this name there were with it."""
    trial = arena.place()
    shutil.copytree(fetched, trial)
    log = trial / "calls"
    ended = finish(arena.start(trial, *arguments, before=["strace", "-qq", "-o", str(log), f"-e{CALLS}"]))
    assert ended.code == 0, ended.said
    turns: Counter[str] = Counter()
    for line in log.read_text().splitlines():
        call = line.partition("(")[0]
        if call in CALLS.split(","):
            turns[call] += 1
            yield call, turns[call]
    arena.clear(trial)
