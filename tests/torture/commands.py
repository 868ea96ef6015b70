"""A command that writes, and what holds of it whatever happens to it.

It runs as a real process in a session of its own, in a working folder of its own, with temporary and cached
files of its own, so that whatever it leaves anywhere can be found.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PLACE = Path(__file__).parents[2]
"""Where the packages lie, since a trial works elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command that writes, and what holds of it."""

    name: str
    arguments: tuple[str, ...]
    """Of Python; paths are relative to the working folder."""
    given: Path
    """Folder whose copy is the working folder at the start."""
    stages: tuple[tuple[str, str], ...]
    """How far it is: a name, and the pattern of a file below the working folder that tells it, in their order.
    The first has an empty pattern."""
    kept: tuple[str, ...] = ()
    """Patterns of files that are not written again once they stand, though their folder may take another name."""
    differs: Mapping[str, str] = field(default_factory=dict)
    """Patterns of files whose bytes legitimately differ from run to run, and why."""
    unsaid: Callable[[Path], set[str]] = lambda _: set()
    """By a working folder, the lines that the command may not print any more: what they tell is done."""

    @property
    def moments(self) -> tuple[str, ...]:
        """Names of the stages."""
        return tuple(name for name, _ in self.stages)

    def stage_of(self, work: Path) -> str:
        """How far it is."""
        found = [name for name, pattern in self.stages if not pattern or _any(work, pattern)]
        return found[-1]

    def start(self, trial: Path, before: Sequence[str] = ()) -> "subprocess.Popen[str]":
        """Start it in `trial/work`, in a session of its own.

        Args:
            trial: folder of the trial.
            before: command that runs the command, such as strace.
        """
        for name in ("tmp", "cache"):
            (trial / name).mkdir(parents=True, exist_ok=True)
        own = {"TMPDIR": str(trial / "tmp"), "XDG_CACHE_HOME": str(trial / "cache"), "OMP_NUM_THREADS": "1"}
        path = os.pathsep.join([str(PLACE), *filter(None, [os.environ.get("PYTHONPATH")])])
        return subprocess.Popen(
            [*before, sys.executable, *self.arguments],
            cwd=trial / "work",
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **own, "PYTHONPATH": path},
        )

    def end(self, trial: Path) -> dict[str, bytes]:
        """All that lies in the working folder: files with their bytes; of folders and what may differ, names."""
        work = trial / "work"
        free = {path for pattern in self.differs for path in work.glob(pattern)}
        return {
            str(path.relative_to(work)): b"" if path in free or path.is_dir() else path.read_bytes()
            for path in work.rglob("*")
        }


def _any(work: Path, pattern: str) -> bool:
    """Whether there is a file of a pattern."""
    try:
        return any(work.glob(pattern))
    except FileNotFoundError:  # a folder took another name under the search
        return False


def outside(trial: Path) -> set[str]:
    """Temporary and cached files of a trial."""
    found = (path for name in ("tmp", "cache") for path in (trial / name).rglob("*") if path.is_file())
    return {str(path.relative_to(trial)) for path in found}
