"""What a worker must have in common with the build that gives it work: versions, and for some work files.

A worker needs the package and the network. Where it does not see the folder of the data set, what it made
travels back and the build commits it.
"""

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gl10m.storage.place import Place
from pipelines.execution.journal import Journal, written
from pipelines.execution.software import differences, software


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
        """The workplace of a build that begins, which is written down in its journal.

        Args:
            journal: of its data set.

        Raises:
            UnwritableJournalError: the disk is full, or refuses.
        """
        workplace = cls(software(), uuid.uuid4().hex)
        _write(journal, workplace.mark)
        return workplace

    @staticmethod
    def close(journal: Journal) -> None:
        """From now on nobody writes into the journal but the build.

        A worker that was given up for lost may still be at work: what it brings late is not wanted any more.

        Args:
            journal: of the data set.
        """
        _write(journal, "")

    def check(self) -> None:
        """Refuse work in another environment.

        Raises:
            ForeignWorkerError: a version differs.
        """
        if other := differences(software(), self.software):
            raise ForeignWorkerError(
                f"the same versions give the same bytes, and a worker has {', '.join(other)}. Install the "
                "build's own versions there (constraints.txt), and run the same command again."
            )

    def sees(self, journal: Journal) -> bool:
        """Whether what this process writes into the journal is what the build reads; in a bucket it is."""
        return not isinstance(journal.root, Path) or _said(journal).get("mark") == self.mark


def software_before(journal: Journal) -> Mapping[str, str]:
    """Versions with which the data set was built last, or this build's own where none was begun."""
    found = _said(journal).get("software")
    if not isinstance(found, dict):
        return software()
    return {str(name): str(number) for name, number in found.items()}


def _file(journal: Journal) -> Place:
    return journal.folder / "build.json"


def _write(journal: Journal, mark: str) -> None:
    """Write down who builds with what; no worker has the mark "".

    Raises:
        UnwritableJournalError: the disk is full, or refuses.
    """
    # In a bucket all see the same: no mark is needed, and the same file is not put again.
    said = {"mark": mark if isinstance(journal.root, Path) else "", "software": software()}
    if _said(journal) == said:
        return
    with written(_file(journal)) as temporary:
        temporary.write_text(json.dumps(said, indent=1), encoding="utf-8")


def _said(journal: Journal) -> dict[str, object]:
    try:
        said = json.loads(_file(journal).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}
