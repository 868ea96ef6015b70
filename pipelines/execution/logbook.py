"""What a build says, kept for those who look on or look back: one JSON object a line.

The file is `<root>/.gl10m/log.jsonl`; of a data set in a bucket it lies on this machine, in the cache. It is
rotated and decides nothing: it may be deleted at any time.
"""

import contextlib
import json
import logging
import logging.handlers
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tqdm import tqdm

from gl10m.storage.cache import cache_folder
from gl10m.storage.place import Place
from pipelines.execution.journal import key_of
from pipelines.execution.lock import WORK
from pipelines.execution.redaction import redact, redacted_facts

MOST_BYTES = 8 << 20
"""Size of the file at which another one is begun."""

KEPT = 3
"""Older files that are kept: log.jsonl.1 is the newest."""

LOGGERS = ("gl10m", "pipelines")
"""The logs that are written down; workers' are forwarded to the build."""


class JsonLines(logging.Formatter):
    """A record as one line of JSON, redacted last of all: the traceback is redacted with it."""

    def format(self, record: logging.LogRecord) -> str:
        """The line of a record."""
        said: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": redact(record.getMessage()),
        }
        if worker := getattr(record, "worker", None):
            said["worker"] = str(worker)
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            said["traceback"] = redact(record.exc_text)
        facts: Mapping[str, Any] = getattr(record, "facts", {})
        said |= {name: redacted_facts(value) for name, value in facts.items()}
        return json.dumps(said, ensure_ascii=False, default=str)


class Plain(logging.Formatter):
    """A record as people read it on a terminal, redacted with its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """The lines of a record."""
        return redact(super().format(record))


class _Terminal(logging.Handler):
    """Warnings on standard error, above the bar that may be drawn there."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)


class _File(logging.handlers.RotatingFileHandler):
    """The log file; where it cannot be written, the build goes on without it."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the library's signature
        """Nothing: what stops the log stops the journal too, which says so."""


def log_path(root: Place) -> Path:
    """Where the log of a data set lies."""
    if isinstance(root, Path):
        return root / WORK / "log.jsonl"
    return cache_folder() / "logs" / f"{key_of(str(root))}.jsonl"


@contextlib.contextmanager
def logbook(root: Place) -> Iterator[Path]:
    """Write down what is logged meanwhile, and show warnings on standard error.

    Args:
        root: the data set.

    Yields:
        The file.
    """
    path = log_path(root)
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _File(path, maxBytes=MOST_BYTES, backupCount=KEPT, encoding="utf-8", delay=True)
    file.setFormatter(JsonLines())
    terminal = _Terminal(logging.WARNING)
    terminal.setFormatter(Plain())
    before = {name: logging.getLogger(name).level for name in LOGGERS}
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.setLevel(logging.INFO)
        logger.addHandler(file)
        logger.addHandler(terminal)
    try:
        yield path
    finally:
        for name, level in before.items():
            logger = logging.getLogger(name)
            logger.setLevel(level)
            logger.removeHandler(file)
            logger.removeHandler(terminal)
        file.close()


def last(path: Path, event: str | None = None) -> dict[str, Any] | None:
    """The last line of a log, or the last that tells of an event; None if there is none.

    Args:
        path: the log file; its end and the file before it are looked at.
        event: value of the key `event`; any line if None.
    """
    for file in (path, path.with_name(f"{path.name}.1")):
        for line in reversed(_end_of(file)):
            try:
                said = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(said, dict) and event in {None, said.get("event")}:
                return said
    return None


def _end_of(path: Path, most: int = 1 << 20) -> list[str]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - most))
            return file.read(most).decode("utf-8", "replace").splitlines()
    except OSError:
        return []
