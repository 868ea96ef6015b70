"""What a stage gives back: every row it read, kept, rejected or failed."""

from dataclasses import dataclass, field

import pyarrow as pa

from gl10m.manifest.schema import REJECTIONS
from gl10m.scene.rejection import Reason


class RowAccountError(AssertionError):
    """A stage lost or invented a row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The account of one stage over one partition: read = kept + rejected + failed."""

    stage: str
    """One of `gl10m.scene.rejection.STAGES`."""

    read: int
    """Rows that came in."""

    kept: pa.Table
    """Rows that go on, in the schema that the stage's docstring names."""

    dropped: pa.Table = field(default_factory=REJECTIONS.empty)
    """Rows rejected or failed, schema REJECTIONS."""

    def __post_init__(self) -> None:
        """Check the account.

        Raises:
            RowAccountError: the rows that came out are not the rows that went in.
        """
        if self.read != self.kept.num_rows + self.dropped.num_rows:
            raise RowAccountError(
                f"stage {self.stage}: kept + rejected + failed must equal read; "
                f"{self.kept.num_rows} + {self.dropped.num_rows} != {self.read}"
            )


class Ledger:
    """Collects the rows that a stage drops."""

    def __init__(self, stage: str, state: str) -> None:
        self._stage, self._state = stage, state
        self._rows: list[tuple[str, str, str, str]] = []

    def reject(self, subject: str, reason: Reason, detail: str = "") -> None:
        """Note a row let go for a reason of the closed list."""
        self._note(subject, "rejected", reason.value, detail)

    def fail(self, subject: str, code: str, detail: str = "") -> None:
        """Note a row that could not be finished and will be tried again at the next run."""
        self._note(subject, "failed", code, detail)

    def _note(self, subject: str, outcome: str, reason: str, detail: str) -> None:
        self._rows.append((subject, outcome, reason, detail))

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def table(self) -> pa.Table:
        """All notes, schema REJECTIONS, in the order they were made."""
        if not self._rows:
            return REJECTIONS.empty()
        subjects, outcomes, reasons, details = zip(*self._rows, strict=True)
        columns = {
            "stage": [self._stage] * len(self),
            "state": [self._state] * len(self),
            "subject": subjects,
            "outcome": outcomes,
            "reason": reasons,
            "detail": details,
        }
        return pa.table(columns, schema=REJECTIONS.schema)
