"""The journal and the publication: what is there after any kind of end."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gl10m.manifest.outcome import Ledger, Outcome
from gl10m.manifest.schema import POLYGONS, REJECTIONS
from gl10m.scene.rejection import Reason
from pipelines.execution.journal import DamagedTableError, Journal, declared_table, key_of, read_table
from pipelines.execution.publication import JournalError, Transaction
from tests.store.test_integrity import flip


def outcome_of(ids: list[str]) -> Outcome:
    ledger = Ledger("polygons", "CA")
    for name in ids:
        ledger.reject(name, Reason.INVALID_GEOMETRY, "a bow tie")
    return Outcome(stage="polygons", read=len(ids), kept=POLYGONS.empty(), dropped=ledger.table)


def test_a_stage_is_computed_once(tmp_path: Path) -> None:
    journal, calls = Journal(tmp_path), []

    def compute() -> Outcome:
        calls.append(1)
        return outcome_of(["way/1"])

    first = journal.stage("polygons", "CA", "key", compute)
    second = journal.stage("polygons", "CA", "key", compute)
    assert len(calls) == 1
    assert second.dropped.to_pylist() == first.dropped.to_pylist()
    assert second.read == 1


def test_another_key_computes_again_and_forgets_the_old(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.stage("polygons", "CA", "old", lambda: outcome_of(["way/1"]))
    journal.stage("polygons", "CA", "new", lambda: outcome_of(["way/1", "way/2"]))
    names = sorted(path.name for path in (tmp_path / ".gl10m" / "stages" / "CA").iterdir())
    assert names == ["polygons-new.dropped.parquet", "polygons-new.kept.parquet"]


def test_a_damaged_outcome_is_computed_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.stage("polygons", "CA", "key", lambda: outcome_of(["way/1"]))
    kept, _ = journal.outcome_paths("polygons", "CA", "key")
    assert isinstance(kept, Path)
    kept.write_bytes(b"PAR1 no more")
    again = journal.stage("polygons", "CA", "key", lambda: outcome_of(["way/1"]))
    assert again.read == 1


@pytest.fixture
def kept_table(tmp_path: Path) -> Path:
    journal = Journal(tmp_path)
    journal.stage("polygons", "CA", "key", lambda: outcome_of(["way/1", "way/2"]))
    path = journal.outcome_paths("polygons", "CA", "key")[1]
    assert isinstance(path, Path)
    return path


@pytest.mark.parametrize("part", range(8))
def test_no_reader_takes_a_table_of_which_a_byte_has_changed(kept_table: Path, part: int) -> None:
    """In pages and in the footer, which has no checksum of its own."""
    assert declared_table(kept_table, REJECTIONS).num_rows == 2
    flip(kept_table, (2 * part + 1) * kept_table.stat().st_size // 16)
    with pytest.raises(DamagedTableError, match=r"is damaged .* `gl10m build`"):
        declared_table(kept_table, REJECTIONS)
    with pytest.raises(DamagedTableError):
        read_table(kept_table, ["subject"])


def test_a_table_without_its_seal_is_damaged_and_a_missing_one_missing(kept_table: Path) -> None:
    pq.write_table(pq.read_table(kept_table).replace_schema_metadata(None), kept_table)
    with pytest.raises(DamagedTableError, match="does not carry the checksum"):
        read_table(kept_table)
    kept_table.unlink()
    with pytest.raises(FileNotFoundError):
        read_table(kept_table)


def test_another_table_is_not_taken_for_the_declared_one(kept_table: Path) -> None:
    with pytest.raises(DamagedTableError, match="osm_id"):
        declared_table(kept_table, POLYGONS)


def test_an_account_that_does_not_add_up_is_refused() -> None:
    with pytest.raises(AssertionError, match="kept \\+ rejected \\+ failed must equal read"):
        Outcome(stage="classes", read=2, kept=POLYGONS.empty())


@given(st.dictionaries(st.text(max_size=5), st.integers(), max_size=5))
def test_a_key_does_not_depend_on_the_order_of_a_dictionary(parts: dict[str, int]) -> None:
    backwards = dict(reversed(parts.items()))
    assert key_of("stage", parts) == key_of("stage", backwards)


def test_a_publication_puts_all_files_in_place_and_drops_the_obsolete(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "old").write_text("old")
    transaction = Transaction(tmp_path)
    transaction.stage("data/new").write_text("new")
    transaction.stage("manifests/scenes").write_text("rows")
    transaction.publish(["data/old"])
    files = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert files == ["data/new", "manifests/scenes"]


KILLED = """
    import os, signal, sys
    from pathlib import Path
    from pipelines.execution import publication

    root, steps = Path(sys.argv[1]), int(sys.argv[2])
    plain = Path.replace
    def counted(self, target):
        global steps
        if steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        steps -= 1
        return plain(self, target)
    Path.replace = counted

    transaction = publication.Transaction(root)
    for name in ("data/a", "data/b", "manifests/c"):
        transaction.stage(name).write_text("new " + name)
    transaction.publish(["data/old"])
"""


@pytest.mark.parametrize("steps", range(5))
def test_killed_at_any_rename_the_data_set_is_the_old_or_the_new_one(tmp_path: Path, steps: int) -> None:
    (tmp_path / "data").mkdir()
    for name in ("a", "old"):
        (tmp_path / "data" / name).write_text("old " + name)
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(tmp_path), str(steps)], check=False
    )
    assert ended.returncode == (0 if steps == 4 else -9)
    Transaction(tmp_path).recover()
    found = {
        str(path.relative_to(tmp_path)): path.read_text()
        for path in tmp_path.rglob("*")
        if path.is_file() and ".tmp-" not in path.name
    }
    old = {"data/a": "old a", "data/old": "old old"}
    new = {name: "new " + name for name in ("data/a", "data/b", "manifests/c")}
    assert found == (old if steps == 0 else new)


def test_leftovers_of_a_killed_writer_are_swept(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    fragments = tmp_path / ".gl10m" / "fragments"
    fragments.mkdir(parents=True)
    (fragments / ".tmp-abc-x.parquet").write_bytes(b"half")
    journal.sweep()
    assert list(fragments.iterdir()) == []


def test_a_table_is_kept_by_its_key(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.table("items", "CA", "k", lambda: pa.table({"a": [1]}))
    again = journal.table("items", "CA", "k", lambda: pa.table({"a": [2]}))
    assert again.to_pydict() == {"a": [1]}


def test_an_altered_record_reaches_no_file_outside_the_data_set(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    root = tmp_path / "root"
    (root / ".gl10m").mkdir(parents=True)
    (root / ".gl10m" / "commit.txt").write_text("drop\tdata/../../victim")
    with pytest.raises(JournalError, match="no file of a data set"):
        Transaction(root).recover()
    assert victim.read_text() == "precious"
