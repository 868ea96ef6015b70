"""What is tried: a reader of the project, inputs that it reads, and how they are spoiled."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.fuzz.changes import Chance


@dataclass(frozen=True)
class Spoiled:
    """One input after a change."""

    name: str
    """Which of the subject's inputs it was: often a file's name."""
    content: bytes


class Subject(Protocol):
    """A reader under trial. Made anew in each process, in a folder of its own."""

    name: str
    """As the tally tells it."""

    vouched: bool
    """Whether a digest or a checksum vouches for the data: then other data are never read in silence."""

    errors: tuple[type[Exception], ...]
    """How the reader may refuse an input."""

    def prepare(self, folder: Path) -> None:
        """Make the inputs, and remember what they say."""

    def spoil(self, chance: Chance) -> Spoiled:
        """One input, spoiled."""

    def read(self, spoiled: Spoiled) -> bool:
        """Read it; whether it says the same as before.

        Raises:
            Exception: one of `errors`, where it is refused.
        """


SUBJECTS: Sequence[str] = (
    "osm_files:OsmFiles",
    "osm_files:OsmTexts",
    "items:StacPages",
    "items:ItemTables",
    "items:KeptSearchFiles",
    "earth_engine:Listings",
    "earth_engine:Pixels",
    "rasters:Headers",
    "rasters:Windows",
    "rasters:GdalWindows",
    "data_sets:Shards",
    "data_sets:Indexes",
    "data_sets:Manifests",
    "data_sets:Registers",
    "settings:ClassMaps",
    "settings:Configurations",
    "tables:SplitFiles",
    "tables:OrderFiles",
    "journals:Journals",
    "journals:Records",
    "run_folders:RunFolders",
    "run_folders:FeatureCaches",
    "run_folders:Weights",
    "run_folders:ModelFolders",
    "results:Records",
    "texts:TextTowers",
)
"""Module and class of each, in the order of the tally."""


def subject_named(place: str) -> Subject:
    """Make a subject; imported only now, so that a process loads what it tries and no more."""
    import importlib

    module, _, name = place.partition(":")
    made: Any = getattr(importlib.import_module(f"tests.fuzz.subjects.{module}"), name)()
    found: Subject = made
    return found
