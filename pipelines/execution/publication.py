"""Publishes many files of a data set at once, or none: by renames in a folder, by one put in a bucket."""

import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from gl10m.manifest.parquet import replacing
from gl10m.storage.cache import cache_folder
from gl10m.storage.place import BucketRoot, Place
from gl10m.storage.register import Entry
from pipelines.execution.journal import key_of
from pipelines.execution.lock import WORK

_PUBLISHED_NAME = re.compile(r"(data|index|manifests|\.gl10m)/[A-Za-z0-9_-][A-Za-z0-9._-]*")
"""What a publication may touch; the record on disk could have been altered."""


class JournalError(ValueError):
    """The journal of a data set holds what no build wrote."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """Publishes many files of a data set at once, or none.

    Files are written into a staging folder. `publish` records the list of renames, then carries it out.
    A process killed before the record leaves the old data set; one killed after it leaves a record that
    `recover` finishes.
    """

    root: Path
    staged: dict[str, Path] = field(default_factory=dict)

    @property
    def _folder(self) -> Path:
        return self.root / WORK / "staging"

    @property
    def _record(self) -> Path:
        return self.root / WORK / "commit.txt"

    def stage(self, name: str) -> Path:
        """Path to write the file that will be `<root>/<name>` once published.

        The names are ours, never taken from the data.
        """
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.staged[name] = path
        return path

    def upload(self) -> None:
        """Nothing: what is staged lies where its place is."""

    def publish(self, obsolete: list[str]) -> None:
        """Make every staged file part of the data set and delete the obsolete ones.

        Args:
            obsolete: names below the root that the new data set no longer has.
        """
        lines = [f"put\t{name}" for name in sorted(self.staged)]
        lines += [f"drop\t{name}" for name in sorted(set(obsolete) - set(self.staged))]
        with replacing(self._record) as temporary:
            temporary.write_text("\n".join(lines), encoding="utf-8")
        self.recover()

    def recover(self) -> None:
        """Finish a publication that was cut short, and clear the staging folder.

        Raises:
            JournalError: the record names files that no data set has.
        """
        if self._record.exists():
            for verb, name in self._recorded():
                self._carry_out(verb, name)
            self._record.unlink()
        shutil.rmtree(self._folder, ignore_errors=True)
        self.staged.clear()

    def _recorded(self) -> list[tuple[str, str]]:
        """What the record asks for, all of it looked at before any of it is done."""
        lines = self._record.read_text(encoding="utf-8", errors="replace").splitlines()
        changes = [(verb, name) for verb, _, name in (line.partition("\t") for line in lines)]
        for verb, name in changes:
            if verb not in {"put", "drop"} or not _PUBLISHED_NAME.fullmatch(name):
                raise JournalError(
                    f"{self._record} asks for a change of {name[:200]!r} by {verb[:20]!r}: that is no "
                    "change, or no file of a data set. Delete the record and build again."
                )
        return changes

    def _carry_out(self, verb: str, name: str) -> None:
        target = self.root / name
        if verb == "drop":
            target.unlink(missing_ok=True)
            return
        source = self._folder / name
        if source.exists():  # already renamed where an earlier process was cut short
            target.parent.mkdir(parents=True, exist_ok=True)
            with source.open("rb") as file:
                os.fsync(file.fileno())
            source.replace(target)


class BucketTransaction:
    """Publishes many files of a data set in a bucket at once, or none.

    Files are put under keys of their own; then the register, by one conditional put, names them. A process
    killed before that leaves the old data set and some unnamed objects, which `recover` deletes.
    """

    def __init__(self, root: BucketRoot) -> None:
        self.root = root
        self.staged: dict[str, Path] = {}
        self._uploaded: dict[str, Entry] = {}

    @property
    def _folder(self) -> Path:
        return cache_folder() / "staging" / key_of(self.root.address)

    def stage(self, name: str) -> Path:
        """Path on this machine to write the file that will be `<root>/<name>` once published."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.staged[name] = path
        return path

    def upload(self) -> None:
        """Put what is staged, so that it takes no room on this machine any more; nobody reads it yet.

        Raises:
            StorageError: the store refuses, or does not answer.
        """
        for name, path in list(self.staged.items()):
            self._uploaded[name] = self.root.upload(name, path)
            path.unlink()
            del self.staged[name]

    def publish(self, obsolete: list[str]) -> None:
        """Make every staged file part of the data set and drop the obsolete ones.

        Args:
            obsolete: names below the root that the new data set no longer has.

        Raises:
            LeaseLostError: another build took over; nothing is changed.
            StorageError: the store refuses, or does not answer.
        """
        self.upload()
        self.root.commit(self._uploaded, set(obsolete) - set(self._uploaded))
        self._uploaded.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def recover(self) -> None:
        """Delete what a publication that was cut short has left."""
        self.root.clear()
        shutil.rmtree(self._folder, ignore_errors=True)
        self.staged.clear()


Publication = Transaction | BucketTransaction


def transaction_in(root: Place) -> Publication:
    """The way in which files of a data set are published where it lies."""
    return Transaction(root) if isinstance(root, Path) else BucketTransaction(root.root)
