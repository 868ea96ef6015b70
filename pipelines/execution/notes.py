"""What fragments hold, noted many at a time: a look at a build need not open every fragment.

A fragment is a few scenes, a build has tens of thousands. Each note is a small Parquet file with the receipts
of some fragments, written by the build alone, which holds the lock. It decides nothing: a fragment that no
note knows, or that has another size than noted, is opened itself, and notes may be deleted at any time.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gl10m.manifest.parquet import TEMPORARY
from gl10m.storage.contents import readable
from gl10m.storage.place import Place, below
from pipelines.execution.journal import Journal, key_of, written

NOTED = 32
"""Fragments in a note: as many are opened at most by whoever looks on."""

JOINED = 8
"""Notes that are joined into one, so that there are not too many of them either."""

FRAGMENT, ROW = "fragment", "fragment_row"
"""Columns of where a receipt's images lie: name of the file, row in it."""

_BYTES = "fragment_bytes"

_ABOUT = [(FRAGMENT, pa.string()), (_BYTES, pa.int64()), (ROW, pa.int32())]


@dataclass(slots=True)
class Notes:
    """Notes of a build at work; one for each `NOTED` fragments, joined by and by."""

    journal: Journal
    waiting: list[pa.Table] = field(default_factory=list)
    """Receipts of fragments that are not noted yet."""
    small: dict[Place, pa.Table] = field(default_factory=dict)
    """Notes that are not joined yet, with what stands in them."""

    def add(self, fragment: Place, receipts: pa.Table) -> None:
        """Note a fragment, now or with the next ones.

        Args:
            fragment: where it lies.
            receipts: of its scenes, in the order of its rows.
        """
        self.waiting.append(_placed(fragment, receipts))
        if len(self.waiting) >= NOTED:
            self.write()
        if len(self.small) >= JOINED:
            self._join()

    def write(self) -> None:
        """Write down what waits.

        Raises:
            UnwritableJournalError: the disk is full, or refuses.
        """
        if not self.waiting:
            return
        receipts = pa.concat_tables(self.waiting)
        self.small[write_note(self.journal, receipts)] = receipts
        self.waiting.clear()

    def _join(self) -> None:
        """One note in the place of several; who looks on meanwhile finds both, or opens their fragments."""
        write_note(self.journal, pa.concat_tables(self.small.values()))
        for path in self.small:
            path.unlink(missing_ok=True)
        self.small.clear()


@contextlib.contextmanager
def noting(journal: Journal) -> Iterator[Notes]:
    """Notes of a build at work; what waits is written down when it ends, however it does."""
    notes = Notes(journal)
    try:
        yield notes
    finally:
        notes.write()


def write_note(journal: Journal, receipts: pa.Table) -> Place:
    """Write one note; gives where.

    Args:
        journal: of the data set.
        receipts: with where each lies, as of `noted`.

    Raises:
        UnwritableJournalError: the disk is full, or refuses.
    """
    named = sorted({str(name) for name in receipts[FRAGMENT].to_pylist()})
    path = folder(journal) / f"{key_of(named)}.parquet"
    with written(path) as temporary:
        pq.write_table(receipts, temporary, compression="zstd", write_page_checksum=True)
    return path


def folder(journal: Journal) -> Place:
    """Where the notes lie."""
    return journal.folder / "notes"


def forget(journal: Journal) -> None:
    """Delete the notes of fragments that are no more."""
    for path in below(folder(journal), "*.parquet"):
        path.unlink(missing_ok=True)


def noted(journal: Journal, sizes: dict[str, int], schema: pa.Schema) -> pa.Table:
    """Receipts of the fragments that are known without opening them.

    Args:
        journal: of the data set.
        sizes: bytes of each fragment that is there, by name.
        schema: of receipts.

    Returns:
        Receipts with three columns more: name of the fragment, its bytes, row in it. Where two notes tell of
        one fragment, as after a build that was killed, its receipts come twice.
    """
    expected = pa.schema([*schema, *(pa.field(*column) for column in _ABOUT)])
    tables = [table for path in below(folder(journal), "*.parquet") if (table := columns_of(path, expected))]
    found = pa.concat_tables(tables or [expected.empty_table()])
    names = pa.array(sizes, pa.string())
    # Looked up by position, once for all rows.
    places = pc.index_in(found[FRAGMENT], names)
    real = pa.array(sizes.values(), pa.int64()).take(places)
    return found.filter(pc.equal(real, found[_BYTES]))


def placed(fragments: Iterable[tuple[Place, pa.Table]], schema: pa.Schema) -> pa.Table:
    """As of `noted`, of fragments that were opened.

    Args:
        fragments: place and receipts.
        schema: of receipts.
    """
    expected = pa.schema([*schema, *(pa.field(*column) for column in _ABOUT)])
    return pa.concat_tables([expected.empty_table(), *(_placed(path, table) for path, table in fragments)])


def _placed(fragment: Place, receipts: pa.Table) -> pa.Table:
    rows = receipts.num_rows
    size = fragment.stat().st_size
    table = receipts.append_column(FRAGMENT, pa.array([fragment.name] * rows, pa.string()))
    table = table.append_column(_BYTES, pa.array([size] * rows, pa.int64()))
    return table.append_column(ROW, pa.array(range(rows), pa.int32()))


def columns_of(path: Place, expected: pa.Schema) -> pa.Table | None:
    """Some columns of a note or a fragment; None where it cannot be read, which then counts as not there.

    Args:
        path: a Parquet file of the journal.
        expected: names and types of the columns.
    """
    try:
        with pq.ParquetFile(readable(path), page_checksum_verification=True) as file:
            return file.read(columns=expected.names).select(expected.names).cast(expected)
    except (OSError, pa.ArrowException, KeyError, ValueError):
        return None


def sizes_of(journal: Journal) -> dict[str, int]:
    """Bytes of each fragment that is there, by name, sorted."""
    folder = journal.fragments
    if isinstance(folder, Path):
        return dict(sorted(_sizes_in(folder)))
    found = below(folder, "*.parquet")
    return {path.name: path.stat().st_size for path in found}


def _sizes_in(folder: Path) -> Iterator[tuple[str, int]]:
    """There may be tens of thousands, and a build that publishes deletes them meanwhile."""
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return
    with entries:
        for entry in entries:
            if entry.name.endswith(".parquet") and not entry.name.startswith(TEMPORARY):
                with contextlib.suppress(FileNotFoundError):
                    yield entry.name, entry.stat().st_size
