"""SIGKILL at random moments of any command that writes: the same command again ends in the same bytes.

What lies in its working folder tells how far a command is; kills are spread over these stages, and within each
over the time that it takes undisturbed.
"""

import os
import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.torture.arena import Ended, finish, gone, kill_session
from tests.torture.commands import Command, outside
from tests.torture.tally import Tally

TRIES = 4
"""Runs a kill may take: one that ends before it is hit is begun again."""


@dataclass(slots=True)
class Trials:
    """One command that is killed over and over, and what it does undisturbed."""

    command: Command
    folder: Path
    """Of the trials; one with a fault stays there."""
    expected: dict[str, bytes] = field(default_factory=dict)
    """What it leaves undisturbed."""
    cached: set[str] = field(default_factory=set)
    """Temporary and cached files that it leaves undisturbed."""
    seconds: dict[str, float] = field(default_factory=dict)
    """How long it is in each stage."""
    _count: int = 0

    def place(self) -> Path:
        """A folder for one trial, with what is given in its working folder."""
        self._count += 1
        trial = self.folder / f"{self.command.name.replace(' ', '-')}-{self._count:03d}"
        shutil.copytree(self.command.given, trial / "work")
        return trial

    def undisturbed(self) -> None:
        """Run it to its end, and see what it leaves and how long each stage takes.

        Raises:
            RuntimeError: it fails.
        """
        trial, watch = self.place(), time.monotonic()
        running = self.command.start(trial)
        while running.poll() is None:
            stage, now = self.command.stage_of(trial / "work"), time.monotonic()
            self.seconds[stage] = self.seconds.get(stage, 0.0) + now - watch
            watch = now
            time.sleep(0.0005)
        ended = finish(running)
        if ended.code != 0:
            raise RuntimeError(f"{self.command.name} ended with {ended.code}: {ended.said[-2000:]}")
        self.expected, self.cached = self.command.end(trial), outside(trial)
        shutil.rmtree(trial)

    def kill(self, trial: Path, aim: str, delay: float, *, alone: bool) -> tuple[bool, str | None]:
        """Start the command and kill it some time after it has come to a stage.

        Args:
            trial: where.
            aim: the stage.
            delay: seconds after its begin.
            alone: kill the process that was started, and not those that it has started.

        Returns:
            Whether it was hit, or ended before; and what is wrong already.
        """
        running, order = self.command.start(trial), self.command.moments
        began: float | None = None
        while running.poll() is None and (began is None or time.monotonic() - began < delay):
            if began is None and order.index(self.command.stage_of(trial / "work")) >= order.index(aim):
                began = time.monotonic()
            time.sleep(0.0005)
        if running.poll() is None:
            os.kill(running.pid, signal.SIGKILL) if alone else kill_session(running.pid)
        ended = finish(running)
        return ended.code == -signal.SIGKILL, None if gone(running.pid) else "processes are left behind"

    def rerun(self, trial: Path) -> str | None:
        """The same command again, and what is wrong with what came of it; None if nothing is."""
        work = trial / "work"
        standing, unsaid = dict(_identities(work, self.command.kept)), self.command.unsaid(work)
        ended = finish(self.command.start(trial))
        if fault := _refused(ended) or self.fault(trial):
            return fault
        ends = {identity for _, identity in _identities(work, ("**/*",))}
        if again := sorted(name for name, identity in standing.items() if identity not in ends):
            return f"was whole, and was written again: {', '.join(again)}"
        repeated = sorted(unsaid & set(ended.said.splitlines()))
        return f"was done, and was done again: {', '.join(repeated)}" if repeated else None

    def fault(self, trial: Path) -> str | None:
        """What a trial that is at its end has and the undisturbed one has not, or the other way round."""
        found = self.command.end(trial)
        names = found.keys() | self.expected.keys()
        if differing := sorted(name for name in names if found.get(name) != self.expected.get(name)):
            return f"differs from an undisturbed run: {', '.join(differing)}"
        strays = sorted(outside(trial) - self.cached)
        return f"left behind: {', '.join(strays)}" if strays else None


def _refused(ended: Ended) -> str | None:
    """What is wrong with how a rerun ended."""
    if ended.code != 0:
        return f"the same command again ended with {ended.code}: {ended.said[-2000:]}"
    return f"it went well and said {ended.said[-2000:]}" if "Traceback" in ended.said else None


def _identities(work: Path, patterns: tuple[str, ...]) -> Iterator[tuple[str, tuple[int, int]]]:
    """Names of files, and what stays as it is while nobody writes a file, whatever its name becomes."""
    for pattern in patterns:
        for path in work.glob(pattern):
            if path.is_file():
                found = path.stat()
                yield str(path.relative_to(work)), (found.st_ino, found.st_mtime_ns)


def hurt(trials: Trials, number: int, seed: int, tally: Tally) -> None:
    """Kill a command so often at random moments, each time from its beginning, and run it again.

    Args:
        trials: of a command that was watched undisturbed.
        number: kills.
        seed: of the moments.
        tally: takes what is found.
    """
    chance = random.Random(f"{seed} moments of {trials.command.name}")
    for turn in range(number):
        if tally.over:
            return
        _hurt(trials, chance, turn, tally)


def _hurt(trials: Trials, chance: random.Random, turn: int, tally: Tally) -> None:
    """One kill, and the same command again."""
    aim = trials.command.moments[turn % len(trials.command.moments)]
    for _ in range(TRIES):
        trial, delay = trials.place(), chance.uniform(0.0, trials.seconds.get(aim, 0.0))
        hit, fault = trials.kill(trial, aim, delay, alone=turn % 2 == 0)
        judge(trials, trial, f"{delay:.3f} s after {aim!r} began", tally, hit=hit, fault=fault)
        if hit:
            return


def judge(
    trials: Trials, trial: Path, where: str, tally: Tally, *, hit: bool, fault: str | None = None
) -> None:
    """Count a trial, run the same command again where it was hit, and tell what is wrong.

    Args:
        trials: of which this is one.
        trial: its folder; it goes unless something is wrong.
        where: it was to be hit.
        tally: takes what is found.
        hit: whether it was.
        fault: what is wrong already.
    """
    command, stage = trials.command, trials.command.stage_of(trial / "work")
    if hit:
        tally.hit(command.name, stage, command.moments)
    else:
        tally.endured[command.name] += 1
    fault = fault or (trials.rerun(trial) if hit else trials.fault(trial))
    if fault:
        tally.note(command.name, f"{where}, {stage} ({trial.name}): {fault}")
    else:
        shutil.rmtree(trial)
