"""Receipts of many fragments, known without opening them, and not believed against the fragments."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from gl10m.manifest.columns import values
from gl10m.manifest.outcome import Ledger
from gl10m.manifest.parquet import TEMPORARY
from gl10m.manifest.schema import FETCHED
from gl10m.scene.rejection import Reason
from pipelines.execution.fragments import RECEIPTS, Receipts, make_fragment
from pipelines.execution.journal import Journal
from pipelines.execution.notes import Notes, forget, noting, sizes_of


def rejected(names: Sequence[str]) -> pa.Table:
    account = Ledger("lr", "CA")
    for name in names:
        account.reject(name, Reason.BLACK_LR, "0.5")
    return make_fragment({name: f"key of {name}" for name in names}, FETCHED.empty(), account.table)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def journal(root: Path) -> Journal:
    """Three fragments of two scenes; two of them are noted."""
    journal = Journal(root)
    with noting(journal) as notes:
        for names in (["CA-w1", "CA-w2"], ["CA-w3", "CA-w4"]):
            fragment = rejected(names)
            notes.add(journal.write_fragment(fragment), fragment.select(RECEIPTS.names))
    journal.write_fragment(rejected(["CA-w5", "CA-w6"]))
    return journal


def ids(journal: Journal) -> list[str]:
    return sorted(values(Receipts(journal).load(), "scene_id"))


def test_noted_and_unnoted_fragments_count_alike(journal: Journal) -> None:
    assert ids(journal) == [f"CA-w{number}" for number in range(1, 7)]
    forget(journal)
    assert ids(journal) == [f"CA-w{number}" for number in range(1, 7)]


def test_a_noted_fragment_is_not_opened(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    real = pq.ParquetFile

    def counting(source: Any, **options: Any) -> pq.ParquetFile:  # noqa: ANN401 - as of pyarrow
        opened.append(source)
        return real(source, **options)

    monkeypatch.setattr(pq, "ParquetFile", counting)
    Receipts(journal).load()
    fragments = [path for path in opened if isinstance(path, Path) and path.parent == journal.fragments]
    assert len(fragments) == 1
    Receipts(journal).note()
    opened.clear()
    Receipts(journal).load()
    assert not [path for path in opened if isinstance(path, Path) and path.parent == journal.fragments]


def test_small_notes_are_joined_and_few_fragments_wait_for_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path)
    monkeypatch.setattr("pipelines.execution.notes.NOTED", 4)
    monkeypatch.setattr("pipelines.execution.notes.JOINED", 3)
    begun = 3 * 12 + 2 * 4 + 3
    notes = Notes(journal)
    for number in range(begun):
        fragment = rejected([f"CA-w{number}"])
        notes.add(journal.write_fragment(fragment), fragment.select(RECEIPTS.names))
    assert len(list(tmp_path.glob(".gl10m/notes/*"))) == 3 + 2
    assert len(notes.waiting) == 3
    assert ids(journal) == sorted(f"CA-w{number}" for number in range(begun))
    counted = Receipts(journal).outcomes()
    assert counted.to_pylist() == Receipts(journal).load().select(counted.column_names).to_pylist()


def test_unfinished_files_are_no_fragments(journal: Journal, root: Path) -> None:
    known = sizes_of(journal)
    (root / ".gl10m" / "fragments" / f"{TEMPORARY}1-{next(iter(known))}").write_bytes(b"half")
    assert sizes_of(journal) == known
    assert sizes_of(Journal(root / "none")) == {}


def test_a_fragment_that_is_gone_or_of_another_size_is_not_believed(journal: Journal, root: Path) -> None:
    one, two, three = sorted(root.glob(".gl10m/fragments/*.parquet"))
    one.unlink()
    two.write_bytes(two.read_bytes()[:-1000])
    assert ids(journal) == sorted(values(pq.read_table(three), "scene_id"))


def test_a_damaged_note_costs_only_time(journal: Journal, root: Path) -> None:
    (note,) = root.glob(".gl10m/notes/*.parquet")
    content = bytearray(note.read_bytes())
    content[len(content) // 2] ^= 0xFF
    note.write_bytes(content)
    assert ids(journal) == [f"CA-w{number}" for number in range(1, 7)]
