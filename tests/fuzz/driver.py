"""Runs trials in a process that may die; this one never does, and keeps the tally."""

import json
import os
import selectors
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.fuzz.subject import SUBJECTS

SILENCE_SECONDS = 120
"""A child that says nothing for so long hangs, on a machine however busy."""

MOST_DEATHS = 20
"""Deaths of one subject's children after which the rest of it is left out."""

Plan = list[tuple[str, int, int]]
"""Subject, number of the first input, how many."""


@dataclass
class Tally:
    """What became of all inputs."""

    seed: int
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    peak: int = 0
    """Memory of the largest child, MB."""

    def add(self, place: str, number: int, kind: str, finding: str = "", name: str = "") -> None:
        self.counts.setdefault(place, Counter())["finding" if finding else kind] += 1
        if finding:
            self.findings.append(f"{place} {number} ({name}): {finding}")

    @property
    def total(self) -> int:
        return sum(counts.total() for counts in self.counts.values())

    def __str__(self) -> str:
        kinds = ("same", "other", "refused", "finding")
        lines = [f"seed {self.seed}", f"{'reader':34}{'inputs':>8}" + "".join(f"{kind:>9}" for kind in kinds)]
        for place, counts in self.counts.items():
            told = "".join(f"{counts[kind]:>9}" for kind in kinds)
            lines.append(f"{place:34}{counts.total():>8}{told}")
        lines.append(f"{'all':34}{self.total:>8}; the largest child took {self.peak} MB")
        lines += [f"skipped {place}: {why}" for place, why in self.skipped.items()]
        return "\n".join([*lines, *self.findings])


def spread(count: int, subjects: Sequence[str] = SUBJECTS) -> Plan:
    """So many inputs over all subjects, as evenly as may be."""
    each, rest = divmod(count, len(subjects))
    return [
        (place, 0, each + (number < rest)) for number, place in enumerate(subjects) if each + (number < rest)
    ]


def run(plan: Plan, seed: int) -> Tally:
    """Try all inputs of a plan; after a death in a new child from the next input on."""
    tally, left, deaths = Tally(seed), list(plan), Counter[str]()
    while left:
        place, number, why = _child(left, seed, tally)
        if place is None:
            break
        deaths[place] += 1
        if number >= 0:
            tally.add(place, number, "dead", why)
        else:
            tally.findings.append(f"{place}: its inputs cannot be made ({why})")
        left = _after(left, place, number)
        if deaths[place] >= MOST_DEATHS or number < 0:
            left = [part for part in left if part[0] != place]
    return tally


def _after(plan: Plan, place: str, number: int) -> Plan:
    """What is left of a plan behind one input."""
    start = next(at for at, part in enumerate(plan) if part[0] == place)
    _, first, count = plan[start]
    rest = first + count - number - 1
    return ([(place, number + 1, rest)] if rest > 0 else []) + plan[start + 1 :]


def _child(plan: Plan, seed: int, tally: Tally) -> tuple[str | None, int, str]:
    """Run a child to its end; the input at which it died, and of what. None where it came to its end."""
    command = [sys.executable, "-m", "tests.fuzz.child", str(seed)]
    command += [f"{place},{first},{count}" for place, first, count in plan]
    root = Path(__file__).parents[2]
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
    environment = {**os.environ, **single, "PYTHONPATH": str(root), "TOKENIZERS_PARALLELISM": "false"}
    place, number = "", -1
    with (
        subprocess.Popen(
            command, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as child,
        selectors.DefaultSelector() as waiting,
    ):
        assert child.stdout is not None
        assert child.stderr is not None
        waiting.register(child.stdout, selectors.EVENT_READ)
        waiting.register(child.stderr, selectors.EVENT_READ)
        buffer, said = b"", b""
        while waiting.get_map():
            ready = waiting.select(SILENCE_SECONDS)
            if not ready:
                child.kill()
                return place, number, f"hangs for {SILENCE_SECONDS} s"
            for key, _ in ready:
                came = os.read(key.fd, 1 << 16)
                if not came:
                    waiting.unregister(key.fileobj)
                elif key.fileobj is child.stderr:
                    said = (said + came)[-2000:]
                else:
                    *lines, buffer = (buffer + came).split(b"\n")
                    for line in lines:
                        place, number = _heard(json.loads(line), tally, (place, number))
        status = child.wait()
    if status == 0:
        return None, 0, ""
    last = said.decode(errors="replace").strip().splitlines()[-1:] or [""]
    return place, number, f"dies with status {status}: {last[0][:200]}"


def _heard(message: dict[str, Any], tally: Tally, at: tuple[str, int]) -> tuple[str, int]:
    if "at" in message:
        place, number = message["at"]
        return str(place), int(number)
    if "skipped" in message:
        tally.skipped[message["skipped"][0]] = message["skipped"][1]
        return at
    place, number = message["done"]
    tally.add(place, number, message["kind"], message["finding"], message["name"])
    tally.peak = max(tally.peak, message["peak"])
    return at
