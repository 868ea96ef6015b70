"""SIGKILL at the very call by which a command changes what is on the disk, which a moment seldom hits.

`strace` counts the calls of the main thread, which writes, and kills the process at the n-th, before the
kernel carries it out.
"""

import random
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.torture.arena import finish
from tests.torture.tally import Tally
from tests.torture.trials import Trials, judge

MAKING = ("mkdir", "fsync", "rename", "unlink", "unlinkat", "rmdir", "ftruncate", "msync")
"""Calls that change what is there, or make it sure, whatever they are called with."""

OPENING, WRITING = "openat", ("write", "pwrite64")
"""Calls that do so where they make a file, or write into one of the working folder."""

_CALL = re.compile(r"(?P<name>[a-z0-9_]+)\((?P<rest>.*)")


def at_calls(trials: Trials, number: int, seed: int, tally: Tally) -> int:
    """Kill a command at so many of its calls, drawn by the seed, each time from its beginning.

    Args:
        trials: of a command that was watched undisturbed.
        number: kills.
        seed: of the draw.
        tally: takes what is found.

    Returns:
        How many such calls the command has.
    """
    points = list(_points(trials))
    chance = random.Random(f"{seed} calls of {trials.command.name}")
    for call, turn in chance.sample(points, min(number, len(points))):
        if tally.over:
            break
        trial = trials.place()
        kill = ("strace", "-qq", "-o", "/dev/null", f"-einject={call}:signal=SIGKILL:when={turn}")
        hit = finish(trials.command.start(trial, kill)).code < 0
        judge(trials, trial, f"at {call} number {turn}", tally, hit=hit)
    return len(points)


def _points(trials: Trials) -> Iterator[tuple[str, int]]:
    """The calls of an undisturbed run that change something: name, and how many of this name with it."""
    trial = trials.place()
    log, names = trial / "calls", ",".join((*MAKING, OPENING, *WRITING))
    trace = ("strace", "-qq", "-y", "-s", "0", "-o", str(log), f"-e{names}")
    ended = finish(trials.command.start(trial, trace))
    if ended.code != 0:
        raise RuntimeError(
            f"{trials.command.name} ended with {ended.code} under strace: {ended.said[-2000:]}"
        )
    turns: Counter[str] = Counter()
    for line in log.read_text(errors="replace").splitlines():
        found = _CALL.match(line)
        if found is not None:
            turns[found["name"]] += 1
            if _changes(found["name"], found["rest"], trial / "work"):
                yield found["name"], turns[found["name"]]
    shutil.rmtree(trial)


def _changes(call: str, rest: str, work: Path) -> bool:
    if call == OPENING:
        return "O_CREAT" in rest
    return call in MAKING or f"<{work}" in rest
