"""A clock that tells another time of day than it is, and that may be set while a process runs.

A small C library, preloaded into real processes. Not libfaketime, which sets the monotonic clock too, or
breaks sleeping by it: an administrator, or NTP, sets the time of day alone.
"""

import shutil
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

YEAR = 365.25 * 86400
"""Seconds."""


@dataclass(frozen=True, slots=True)
class WrongClock:
    """The clock of whatever processes have its environment."""

    library: Path
    file: Path

    def set(self, seconds: float) -> None:
        """Let it be ahead by so much, or behind; processes that run see it at once."""
        with self.file.open("r+b" if self.file.exists() else "wb") as file:
            file.write(struct.pack("=q", int(seconds)))

    @property
    def environment(self) -> dict[str, str]:
        """Variables of a process that shall believe it."""
        return {"LD_PRELOAD": str(self.library), "WRONG_CLOCK": str(self.file)}


def wrong_clock(folder: Path) -> WrongClock:
    """A clock that is right until it is set; skips the test where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("the clock is made by a C compiler, and there is none")
    library = folder / "wrong_clock.so"
    source = Path(__file__).with_suffix(".c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    clock = WrongClock(library, folder / "offset")
    clock.set(0)
    return clock
