"""What is done, keyed by content, so that a rerun continues.

A key is a digest of everything that a result depends on: its input, its parameters and the version of
the code that made it. Nothing here depends on the number of workers, on partitions or on the order of work.

Two kinds of results are kept, both below `<root>/.gl10m/`:

- the outcome of a stage over one region, `stages/<region>/<stage>-<key>.{kept,dropped}.parquet`;
- fragments, `fragments/<key>.parquet`: a batch of scenes with their images, or the reason why not. A finished
  build moves the images into the shards and keeps a receipt of each scene in `receipts.parquet`.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from gl10m.manifest import seal
from gl10m.manifest.columns import values
from gl10m.manifest.outcome import Outcome
from gl10m.manifest.parquet import TEMPORARY, replacing
from gl10m.manifest.provenance import digest
from gl10m.manifest.schema import Table
from gl10m.storage.contents import readable
from gl10m.storage.place import BucketPath, Place
from pipelines.execution.lock import WORK

KEY_LENGTH = 20
"""Hexadecimal digits of a digest that stand in a file name: 80 bits."""


class DamagedTableError(ValueError):
    """A table of the journal is not, byte for byte, what was written."""


class UnwritableJournalError(OSError):
    """The disk of the journal is full, or refuses to write."""


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
    about = {**(table.schema.metadata or {}), seal.KEY.encode(): seal.BLANK.encode()}
    with written(path) as temporary:
        pq.write_table(
            table.replace_schema_metadata(about), temporary, compression="zstd", write_page_checksum=True
        )
        seal.seal(temporary)


def read_table(path: Place, columns: list[str] | None = None) -> pa.Table:
    """A table of a stage, every byte of it as it was written.

    Args:
        path: where it lies.
        columns: columns to read; all if None.

    Raises:
        FileNotFoundError: there is none.
        DamagedTableError: a byte is another, or it lacks a column.
        OSError: the disk does not give it.
    """
    try:
        if isinstance(path, Path):
            seal.check_seal(path)  # pages have checksums of their own, footers have not
        table = pq.read_table(readable(path), columns=columns, page_checksum_verification=True)
    except (OSError, pa.ArrowException, seal.SealError) as error:
        if isinstance(error, OSError) and (error.errno or isinstance(error, FileNotFoundError)):
            raise  # what a disk says has a number, what Arrow says of a damaged page has none
        raise DamagedTableError(
            f"{path} is damaged ({error}). `gl10m build`, with the options of the build, makes it anew."
        ) from error
    about = {key: value for key, value in (table.schema.metadata or {}).items() if key != seal.KEY.encode()}
    return table.replace_schema_metadata(about or None)


def _readable(path: Place) -> pa.Table | None:
    """The table at `path`, or None where it is missing or damaged: then its work is simply done again."""
    try:
        return read_table(path)
    except (OSError, DamagedTableError):
        return None


def declared_table(path: Place, declared: Table) -> pa.Table:
    """A table of the journal in its declared schema.

    Args:
        path: where it lies.
        declared: what it must be.

    Raises:
        DamagedTableError: a byte is another, or it is another table.
        OSError: it is not there, or the disk does not give it.
    """
    table = read_table(path, declared.names)
    try:
        return table.select(declared.names).cast(declared.schema)
    except (pa.ArrowException, KeyError, ValueError) as error:
        raise DamagedTableError(
            f"{path} is not the table {declared.name} ({error}). `gl10m build`, with the options of the "
            "build, makes it anew."
        ) from error


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
