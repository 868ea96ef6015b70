"""How much memory a test takes: this process and its children."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def grown() -> Iterator[Callable[[], int]]:
    """Tell how far this process has grown above what it began with, at its largest, bytes."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the largest begins anew
    before = _largest()
    yield lambda: _largest() - before


def _largest() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def peaks(caplog: pytest.LogCaptureFixture) -> list[int]:
    """Peak memory of the children so far, bytes."""
    words = [record.getMessage() for record in caplog.records if "peak" in record.getMessage()]
    return [int(text.split("peak ")[1].split()[0]) for text in words]
