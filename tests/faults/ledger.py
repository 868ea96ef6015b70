"""What was done to builds and what came of it: a row a fault, and the table of all."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fault, over one build or several."""

    fault: str
    """In words, with its rate where it has one."""
    builds: int = 1
    requests: int = 0
    """That reached the server or the proxy, first runs and reruns."""
    injected: int
    """Faults, by whoever injects them."""
    survived: int
    """Builds whose first run was complete."""
    failed: Counter[str] = field(default_factory=Counter)
    """What the first runs lost, by reason: scenes that failed, builds that stopped or were killed."""
    reruns: int = 0
    lost: int = 0
    """Rows of the undisturbed data set that the last run did not bring back."""
    same: int
    """Builds whose end has the bytes of the undisturbed one, its journal, and nothing beside."""
    seconds: float
    """First runs and reruns."""
    undisturbed: float
    """Seconds of as many undisturbed builds."""
    wrong: tuple[str, ...] = ()
    """What must not be."""

    def __add__(self, other: "Row") -> "Row":
        """The same fault, done to more builds."""
        return Row(
            fault=self.fault,
            builds=self.builds + other.builds,
            requests=self.requests + other.requests,
            injected=self.injected + other.injected,
            survived=self.survived + other.survived,
            failed=self.failed + other.failed,
            reruns=self.reruns + other.reruns,
            lost=self.lost + other.lost,
            same=self.same + other.same,
            seconds=self.seconds + other.seconds,
            undisturbed=self.undisturbed + other.undisturbed,
            wrong=self.wrong + other.wrong,
        )

    def __str__(self) -> str:
        """As a line of the table."""
        failed = ", ".join(f"{count} {why}" for why, count in sorted(self.failed.items())) or "0"
        cells = (
            self.fault,
            self.builds,
            f"{self.requests:,}",
            f"{self.injected:,}",
            self.survived,
            failed,
            self.reruns,
            self.lost,
            self.same,
            f"{self.seconds:.0f}",
            f"{self.undisturbed:.0f}",
        )
        return f"| {' | '.join(map(str, cells))} |"


TITLES = (
    "fault",
    "builds",
    "requests",
    "faults",
    "survived at once",
    "failed in the first run",
    "reruns",
    "rows lost",
    "same bytes",
    "s",
    "s undisturbed",
)


@dataclass(slots=True)
class Ledger:
    """All rows, in the order of trying; each is told when it is known."""

    seed: int
    rows: list[Row] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    """What this machine does not allow, and why."""

    def take(self, rows: Iterable[Row]) -> None:
        """Note rows as they come."""
        for row in rows:
            self.rows.append(row)
            print(row, *row.wrong, sep="\n", flush=True)

    @property
    def wrong(self) -> list[str]:
        """Whatever must not be, over all rows."""
        return [f"{row.fault}: {why}" for row in self.rows for why in row.wrong]

    def __str__(self) -> str:
        """The table, its totals, and what is wrong."""
        head = [f"| {' | '.join(TITLES)} |", "|---|" + "--:|" * 4 + "---|" + "--:|" * 5]
        totals = (
            f"seed {self.seed}: {sum(row.builds for row in self.rows):,} builds, "
            f"{sum(row.injected for row in self.rows):,} faults, "
            f"{sum(row.survived for row in self.rows):,} builds survived at once, "
            f"{sum(row.reruns for row in self.rows):,} reruns, "
            f"{sum(row.lost for row in self.rows):,} rows lost, "
            f"{sum(row.same for row in self.rows):,} ends with the same bytes"
        )
        skipped = [f"skipped: {what}: {why}" for what, why in self.skipped.items()]
        wrong = [f"WRONG {why}" for why in self.wrong]
        return "\n".join([*head, *map(str, self.rows), "", totals, *skipped, *wrong])
