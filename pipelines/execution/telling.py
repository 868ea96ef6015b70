"""How a build tells of its stages: a bar on a terminal, lines elsewhere, both in the log."""

import contextlib
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tqdm import tqdm

EVERY_SECONDS = 10.0
"""How often a stage is told of where no bar is drawn, and in the log."""

_LOG = logging.getLogger("gl10m")


@dataclass(slots=True)
class Stage:
    """A stage under way: how much is done, how fast, what remains."""

    name: str
    total: int
    unit: str
    """What is counted, in the plural."""
    counts: Counter[str] = field(default_factory=Counter)
    """What became of them so far, such as kept and rejected."""
    done: int = 0
    begun: float = field(default_factory=time.monotonic)
    told: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.begun

    @property
    def facts(self) -> dict[str, object]:
        """What `gl10m status` reads back from the log."""
        rate = self.done / self.seconds if self.done and self.seconds else None
        return {
            "event": "stage",
            "stage": self.name,
            "unit": self.unit,
            "done": self.done,
            "total": self.total,
            **self.counts,
            "seconds": round(self.seconds, 3),
            "per_second": rate and round(rate, 4),
            "seconds_left": rate and round((self.total - self.done) / rate, 1),
        }

    def __str__(self) -> str:
        """One line."""
        counted = "".join(f", {number:,} {name}" for name, number in self.counts.items())
        pace, facts = "", self.facts
        if facts["per_second"]:
            pace = f", {facts['per_second']:.3g}/s"
        if facts["seconds_left"]:
            pace += f", {span(float(str(facts['seconds_left'])))} left"
        return f"{self.name}: {self.done:,} of {self.total:,} {self.unit}{counted}{pace}"


def span(seconds: float) -> str:
    """A length of time as people say it: 42 s, 3 min, 5.2 h."""
    if seconds < 100:  # noqa: PLR2004
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"  # noqa: PLR2004


@dataclass(slots=True)
class Telling:
    """Tells of the stages of one build, and remembers how long each took."""

    seconds: dict[str, float] = field(default_factory=dict)
    """By stage, in order."""

    @contextlib.contextmanager
    def stage(self, name: str, total: int, unit: str, opening: str = "") -> "Iterator[Told]":
        """Tell of one stage while it lasts.

        Args:
            name: of the stage.
            total: how many there are to do.
            unit: what is counted, in the plural.
            opening: how its first line goes on; "12 scenes" if not given.
        """
        say_without_bar(f"{name}: {opening or f'{total:,} {unit}'}")
        stage = Stage(name, total, unit)
        shown: tqdm[Any] = tqdm(total=total, desc=name, unit=f" {unit}", disable=None)
        _LOG.info("%s", stage, extra={"facts": stage.facts})
        with shown as bar:
            told = Told(stage, bar)
            try:
                yield told
            finally:
                self.seconds[name] = self.seconds.get(name, 0.0) + stage.seconds
                _LOG.info("%s", stage, extra={"facts": stage.facts})

    def __str__(self) -> str:
        """The seconds of each stage in one line."""
        return "seconds: " + ", ".join(f"{name} {took:,.1f}" for name, took in self.seconds.items())


@dataclass(slots=True)
class Told:
    """A stage, and the bar that shows it."""

    stage: Stage
    bar: "tqdm[Any]"

    def advance(self, number: int, **counts: int) -> None:
        """Note what is done.

        Args:
            number: of units.
            counts: what became of them.
        """
        stage = self.stage
        stage.done += number
        stage.counts.update(counts)
        self.bar.update(number)
        self.bar.set_postfix(stage.counts, refresh=False)
        if time.monotonic() - stage.told > EVERY_SECONDS:
            stage.told = time.monotonic()
            _LOG.info("%s", stage, extra={"facts": stage.facts})
            say_without_bar(str(stage))


def say(line: str) -> None:
    """One line on standard error, above the bar if one is drawn."""
    tqdm.write(line, file=sys.stderr)


def say_without_bar(line: str) -> None:
    """One line on standard error where no bar is drawn, so that whoever reads it knows how far a build is."""
    if not sys.stderr.isatty():
        say(line)
