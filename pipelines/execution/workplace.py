"""What a worker must have in common with the build that gives it work: versions, and for some work files.

A worker needs the package and the network. Where it does not see the folder of the data set, what it made
travels back and the build commits it.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipelines.execution.journal import Journal, written
from pipelines.execution.lock import WORK
from pipelines.execution.software import software


class ForeignWorkerError(RuntimeError):
    """A worker runs other versions than the build, so that its bytes might differ."""


class OutOfReachError(FileNotFoundError):
    """A worker does not see the files of its task; the build does the task itself."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """What the build runs, and how its folder is told from another of the same name."""

    software: Mapping[str, str]
    mark: str
    """Stands in a file of the journal; a worker that reads it there sees the same folder."""

    @classmethod
    def of(cls, journal: Journal) -> "Workplace":
        """The workplace of a build that begins.

        Args:
            journal: of its data set.

        Raises:
            UnwritableJournalError: the disk is full, or refuses.
        """
        mark = uuid.uuid4().hex
        if isinstance(journal.root, Path):
            with written(_mark_file(journal.root)) as temporary:
                temporary.write_text(mark, encoding="ascii")
        return cls(software(), mark)

    @staticmethod
    def close(journal: Journal) -> None:
        """From now on nobody writes into the journal but the build.

        A worker that was given up for lost may still be at work: what it brings late is not wanted any more.

        Args:
            journal: of the data set.
        """
        if isinstance(journal.root, Path):
            _mark_file(journal.root).unlink(missing_ok=True)

    def check(self) -> None:
        """Refuse work in another environment.

        Raises:
            ForeignWorkerError: a version differs.
        """
        own = software()
        other = sorted(name for name in {*own, *self.software} if own.get(name) != self.software.get(name))
        if other:
            told = ", ".join(
                f"{name} {own.get(name)} in place of {self.software.get(name)}" for name in other
            )
            raise ForeignWorkerError(
                f"the same versions give the same bytes, and a worker has {told}. Install the build's own "
                "versions there (constraints.txt), and run the same command again."
            )

    def sees(self, journal: Journal) -> bool:
        """Whether what this process writes into the journal is what the build reads; in a bucket it is."""
        if not isinstance(journal.root, Path):
            return True
        try:
            return _mark_file(journal.root).read_text(encoding="ascii") == self.mark
        except (OSError, ValueError):
            return False


def _mark_file(root: Path) -> Path:
    return root / WORK / "build"
