"""What is done, keyed by content, so that a rerun continues.

A key is a digest of everything that a result depends on: its input, its parameters and the version of
the code that made it. Nothing here depends on the number of workers, on partitions or on the order of work.

Two kinds of results are kept, both below `<root>/.gl10m/`:

- the outcome of a stage over one region, `stages/<region>/<stage>-<key>.{kept,dropped}.parquet`;
- fragments, `fragments/<key>.parquet`: a batch of scenes with their images, or the reason why not. A finished
  build moves the images into the shards and keeps a receipt of each scene in `receipts.parquet`.
"""

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gl10m.manifest.columns import values
from gl10m.manifest.outcome import Outcome
from gl10m.manifest.parquet import TEMPORARY, replacing
from gl10m.manifest.provenance import digest
from gl10m.storage.cache import cache_folder
from gl10m.storage.place import BucketPath, BucketRoot, Place, readable
from gl10m.storage.register import Entry
from pipelines.execution.lock import WORK

KEY_LENGTH = 20
"""Hexadecimal digits of a digest that stand in a file name: 80 bits."""


_PUBLISHED_NAME = re.compile(r"(data|index|manifests|\.gl10m)/[A-Za-z0-9_-][A-Za-z0-9._-]*")
"""What a publication may touch; the record on disk could have been altered."""


class UnwritableJournalError(OSError):
    """The disk of the journal is full, or refuses to write."""


class JournalError(ValueError):
    """The journal of a data set holds what no build wrote."""


def key_of(*parts: object) -> str:
    """The content key of a piece of work: a digest of all that it depends on."""
    return digest(parts)[:KEY_LENGTH]


@contextlib.contextmanager
def written(path: Place) -> Iterator[Path]:
    """As `replacing`, for what the build cannot go on without.

    Raises:
        UnwritableJournalError: it cannot be written; nothing of it is left.
    """
    try:
        with replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise UnwritableJournalError(
            f"{path} cannot be written ({error.strerror or error}). Nothing was published, and what was "
            "fetched is kept: make room there or lift the limit, and run the same command again."
        ) from None


def _write(path: Place, table: pa.Table) -> None:
    with written(path) as temporary:
        pq.write_table(table, temporary, compression="zstd", write_page_checksum=True)


def _read(path: Place) -> pa.Table:
    return pq.read_table(readable(path), page_checksum_verification=True)


def _readable(path: Place) -> pa.Table | None:
    """The table at `path`, or None where it is missing or damaged: then its work is simply done again."""
    try:
        return _read(path)
    except (FileNotFoundError, OSError, pa.ArrowException):
        return None


@dataclass(frozen=True, slots=True)
class Journal:
    """The journal of one data set. Small and picklable: every worker holds one."""

    root: Place

    @property
    def folder(self) -> Place:
        """Where the journal lives."""
        return self.root / WORK

    @property
    def fragments(self) -> Place:
        """Where fragments lie."""
        return self.folder / "fragments"

    def outcome_paths(self, stage: str, region: str, key: str) -> tuple[Place, Place]:
        """Where the kept and the dropped rows of a stage are kept."""
        base = self.folder / "stages" / region
        return base / f"{stage}-{key}.kept.parquet", base / f"{stage}-{key}.dropped.parquet"

    def table_path(self, name: str, region: str, key: str) -> Place:
        """Where a table that is no stage's outcome is kept."""
        return self.folder / "stages" / region / f"{name}-{key}.parquet"

    def stage(self, stage: str, region: str, key: str, compute: Callable[[], Outcome]) -> Outcome:
        """The outcome of a stage over a region: read back if it is there, else computed and kept.

        Args:
            stage: name of the stage.
            region: region code.
            key: content key of the work.
            compute: does the work.
        """
        kept_path, dropped_path = self.outcome_paths(stage, region, key)
        kept = _readable(kept_path)
        dropped = _readable(dropped_path) if kept is not None else None
        if kept is not None and dropped is not None:
            return Outcome(stage=stage, read=kept.num_rows + dropped.num_rows, kept=kept, dropped=dropped)
        outcome = compute()
        # The kept rows are written last: where they are, the outcome is whole.
        _write(dropped_path, outcome.dropped)
        _write(kept_path, outcome.kept)
        self._forget_older(kept_path, dropped_path)
        return outcome

    def table(self, name: str, region: str, key: str, compute: Callable[[], pa.Table]) -> pa.Table:
        """A table that is no stage's outcome, such as a frozen catalogue; kept in the same way."""
        path = self.table_path(name, region, key)
        kept = _readable(path)
        if kept is not None:
            return kept
        table = compute()
        _write(path, table)
        self._forget_older(path)
        return table

    def _forget_older(self, *current: Place) -> None:
        """Delete what the same stage left in this region under another key."""
        stage = current[0].name.rsplit("-", 1)[0]
        for path in current[0].parent.glob(f"{stage}-*"):
            if path not in current:
                path.unlink(missing_ok=True)

    def write_fragment(self, fragment: pa.Table) -> Place:
        """Commit a batch of scenes, see `pipelines.execution.fragments`; its name is its content key."""
        keys = sorted(str(key) for key in values(fragment, "scene_key"))
        path = self.fragments / f"{key_of(keys)}.parquet"
        with written(path) as temporary:
            # Images do not compress; one row group a scene lets the build read them back one by one.
            pq.write_table(
                fragment, temporary, compression="none", row_group_size=1, write_page_checksum=True
            )
        return path

    def sweep(self) -> None:
        """Delete what unfinished writers left behind in the journal; a bucket never shows any such."""
        if isinstance(self.folder, BucketPath):
            return
        for path in self.folder.rglob(f"{TEMPORARY}*"):
            path.unlink(missing_ok=True)


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
            for line in self._record.read_text(encoding="utf-8").splitlines():
                verb, _, name = line.partition("\t")
                if not _PUBLISHED_NAME.fullmatch(name):
                    raise JournalError(
                        f"{self._record} asks for a change of {name!r}, which is no file of a data set. "
                        "Delete the record and build again."
                    )
                self._carry_out(verb, name)
            self._record.unlink()
        shutil.rmtree(self._folder, ignore_errors=True)
        self.staged.clear()

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
