"""What was killed, when, and what came of it: the table that the trials print."""

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """What was done and what came of it."""

    seed: int
    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By target and moment."""
    faults: list[str] = field(default_factory=list)
    endured: Counter[str] = field(default_factory=Counter)
    """Runs that went on to their end by themselves, by target."""
    until: float = math.inf
    """Moment of `time.monotonic` after which nothing more is hurt."""
    _moments: dict[str, Sequence[str]] = field(default_factory=dict)
    _faulty: Counter[str] = field(default_factory=Counter)

    @property
    def over(self) -> bool:
        """Whether it is time to end."""
        return time.monotonic() > self.until

    def hit(self, target: str, moment: str, among: Sequence[str]) -> None:
        """Count a kill.

        Args:
            target: what was killed.
            moment: how far it was.
            among: all moments of this target, in their order.
        """
        self._moments[target] = among
        self.kills[target, moment] += 1

    def note(self, target: str, fault: str) -> None:
        """Remember a fault and tell it at once."""
        self.faults.append(f"FAULT {target} {fault}")
        self._faulty[target] += 1
        print(self.faults[-1], flush=True)

    def of(self, target: str) -> int:
        """Kills of one target."""
        return sum(self.kills[target, moment] for moment in self._moments.get(target, ()))

    def __str__(self) -> str:
        width = max(map(len, self._moments), default=0)
        lines = [f"seed {self.seed}: {self.kills.total()} kills, {len(self.faults)} faults"]
        if self._moments:
            lines.append(f"  {'killed':<{width}}  kills  faults  ended all the same  moments")
        for target, among in self._moments.items():
            told = ", ".join(f"{self.kills[target, one]} {one}" for one in among if self.kills[target, one])
            counts = f"{self.of(target):>5}  {self._faulty[target]:>6}  {self.endured[target]:>18}"
            lines.append(f"  {target:<{width}}  {counts}  {told}")
        return "\n".join([*lines, *self.faults])
