"""A data set in a bucket: the bytes of one in a folder; after any end the old one or the new one."""

import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from gl10m.cli import main
from gl10m.report import splitting
from gl10m.report.split_request import SplitRequest
from gl10m.storage import client, register
from gl10m.storage.client import StorageUnavailableError
from gl10m.storage.lease import Lease, LeaseHeldError, LeaseLostError, held
from gl10m.storage.place import BucketPath, below
from gl10m.store.integrity import verify
from pipelines.execution.fragments import read_scene
from pipelines.execution.journal import Journal
from pipelines.execution.lock import BuildLockedError, is_locked, locked
from pipelines.execution.publication import BucketTransaction
from pipelines.sources.partial_file import recall, remember
from tests.storage.data_sets import contents, objects, place
from tests.storage.object_server import Proxy
from tests.store.small_scenes import build


def test_the_files_are_those_of_a_folder_byte_for_byte(root: BucketPath, tmp_path: Path) -> None:
    local = build(tmp_path / "root", {"CA": "train", "WA": "test"}, CA=3, WA=2)
    build(root, {"CA": "train", "WA": "test"}, CA=3, WA=2)
    expected = {
        str(path.relative_to(local)): path.read_bytes() for path in local.rglob("*") if path.is_file()
    }
    assert contents(root) == expected
    assert objects(root) == {"gl10m.json"} | {entry.key for entry in place(root).root.files.values()}
    assert verify(place(root), deep=True) == []
    assert len(below(place(root) / "data", "CA-*.parquet")) == 1


def test_a_data_set_that_another_program_copied_into_a_bucket_is_one(
    root: BucketPath, tmp_path: Path
) -> None:
    local = build(tmp_path / "root", {"CA": "train"}, CA=3)
    copy(local, root)
    assert verify(place(root), deep=True) == []
    assert splitting.split_root(place(root), SplitRequest(by="random", seed=7)).scenes == 3
    assert (contents(root).keys() | {"gl10m.json"}) == {
        str(path.relative_to(local)) for path in local.rglob("*") if path.is_file()
    } | {"gl10m.json"}
    assert verify(place(root), deep=True) == []


@pytest.mark.slow
def test_a_reader_keeps_what_it_opened_while_the_data_set_is_replaced(root: BucketPath) -> None:
    build(root, CA=2)
    opened = place(root)
    names = set(opened.root.files)
    build(root, CA=2, WA=1)
    assert set(opened.root.files) == names
    assert set(place(root).root.files) > names


def test_another_object_beside_the_shards_is_told(root: BucketPath) -> None:
    build(root, CA=2)
    client.put(root.root.address, "data/CA-00000-of-00001.0123456789ab.parquet", b"left by nobody")
    (problem,) = verify(place(root))
    assert "gl10m.json does not name it" in str(problem)
    with locked(place(root)) as _:
        held_root = place(root)
        with pytest.raises(LeaseHeldError), held_root.root.held():
            pass
    clear(root)
    assert verify(place(root)) == []


def test_a_split_waits_for_no_build_and_says_so(root: BucketPath) -> None:
    build(root, {"CA": "train"}, CA=3)
    with held(root.root.address):
        assert is_locked(place(root))
        with pytest.raises(LeaseHeldError, match="another build"):
            splitting.split_root(place(root), SplitRequest(by="random", seed=7))
        with pytest.raises(BuildLockedError, match="another build"), locked(place(root)):
            pass
    assert not is_locked(place(root))


KILLED = """
    import os, signal, sys
    import obstore
    from pipelines.execution.publication import BucketTransaction
    from gl10m.storage.place import place_of

    root, steps = place_of(sys.argv[1]), int(sys.argv[2])

    def counted(operation):
        def step(*arguments, **options):
            global steps
            if steps == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            steps -= 1
            return operation(*arguments, **options)
        return step

    obstore.put, obstore.delete = counted(obstore.put), counted(obstore.delete)
    with root.root.held():
        transaction = BucketTransaction(root.root)
        transaction.recover()
        for name in ("data/a.parquet", "data/b.parquet", "manifests/c.parquet"):
            transaction.stage(name).write_text("new " + name)
        transaction.publish(["data/old.parquet"])
"""

PUBLISHED = 5
"""Puts after which the new data set stands: the lease, three files, the register."""

STEPS = 8
"""Puts and deletions in all: then two old objects go and the lease is given back."""


POINTS = [
    step if PUBLISHED - 2 < step <= PUBLISHED else pytest.param(step, marks=pytest.mark.slow)
    for step in range(STEPS + 1)
]


@pytest.mark.parametrize("steps", POINTS)
def test_killed_at_any_request_the_data_set_is_the_old_or_the_new_one(root: BucketPath, steps: int) -> None:
    old = {"data/a.parquet": b"old a", "data/old.parquet": b"old old"}
    with root.root.held() as lease:
        changed = {}
        for name, content in old.items():
            key = register.key_for(name, lease.token)
            client.put(root.root.address, key, content)
            changed[name] = register.Entry(key, len(content), None)
        root.root.commit(changed, set())
    new = {f"{name}.parquet": f"new {name}.parquet".encode() for name in ("data/a", "data/b", "manifests/c")}

    ended = run(root, steps)
    assert ended.returncode == (0 if steps == STEPS else -9), ended.stderr
    assert contents(root) == (old if steps < PUBLISHED else new)

    again = run(root, 100)
    assert again.returncode == 0, again.stderr
    assert contents(root) == new
    assert objects(root) == {"gl10m.json"} | {entry.key for entry in place(root).root.files.values()}


def run(root: BucketPath, steps: int) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(root), str(steps)],
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_a_store_that_refuses_now_and_then_is_asked_again(
    s3: Proxy, root: BucketPath, tmp_path: Path
) -> None:
    refused: set[int] = set()
    asked = [0]

    def every_second(method: str, path: str) -> int:
        del method, path
        asked[0] += 1
        refused.add(asked[0])
        return 503

    s3.fault = lambda method, path: (
        every_second(method, path) if len(s3.requests) + len(refused) < 6 else None
    )
    local = build(tmp_path / "root", CA=2)
    build(root, CA=2)
    assert len(refused) > 2
    assert set(contents(root)) == {
        str(path.relative_to(local)) for path in local.rglob("*") if path.is_file()
    }


def test_a_store_that_is_down_stops_the_publication_and_loses_nothing(
    s3: Proxy, root: BucketPath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "RETRIES", 1)
    build(root, CA=2)
    before = contents(root)
    s3.fault = lambda method, path: 503 if method == "PUT" and "/data/" in path else None
    with pytest.raises(StorageUnavailableError, match=r"503 .*run the same command again"):
        build(root, CA=3)
    s3.fault = None
    assert contents(root) == before
    build(root, CA=3)
    assert verify(place(root), deep=True) == []


def test_an_object_put_in_parts_is_there_whole_or_not_at_all(
    s3: Proxy, root: BucketPath, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "RETRIES", 1)
    content = bytes(range(256)) * (80 << 10)
    (tmp_path / "large").write_bytes(content)
    s3.fault = lambda _, path: 503 if "partNumber=2" in path else None
    with pytest.raises(StorageUnavailableError):
        client.put(root.root.address, "data/large", tmp_path / "large")
    s3.fault = None
    assert objects(root) == set()
    client.put(root.root.address, "data/large", tmp_path / "large")
    assert client.read(root.root.address, "data/large")[0] == content


def test_the_command_exits_with_4_where_somebody_else_writes(
    root: BucketPath, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    build(root, CA=2)
    monkeypatch.setattr("sys.argv", ["gl10m", "split", "--root", str(root)])
    with held(root.root.address), pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 4
    assert "who holds it until" in capsys.readouterr().err
    main()
    assert "split 2 scenes by state" in capsys.readouterr().out


@pytest.mark.parametrize("whole_bytes", [0, 1 << 20])
def test_a_journal_in_a_bucket_does_not_take_a_refusal_for_damage(
    s3: Proxy, root: BucketPath, monkeypatch: pytest.MonkeyPatch, whole_bytes: int
) -> None:
    """A stage read back while the store is down is not computed again, and no fragment is thrown away."""
    monkeypatch.setattr(client, "RETRIES", 0)
    monkeypatch.setattr("gl10m.storage.contents.WHOLE_BYTES", whole_bytes)
    journal = Journal(root)
    journal.table("items", "CA", "k", lambda: pa.table({"a": [1]}))
    s3.fault = lambda method, _: 503 if method == "GET" else None
    with pytest.raises(StorageUnavailableError):
        journal.table("items", "CA", "k", lambda: pa.table({"a": [2]}))
    s3.fault = None
    assert journal.table("items", "CA", "k", lambda: pa.table({"a": [3]})).to_pydict() == {"a": [1]}
    fragment = journal.table_path("items", "CA", "k")
    s3.fault = lambda method, _: 503 if method == "GET" else None
    with pytest.raises(StorageUnavailableError):
        read_scene(fragment, 0)
    s3.fault = None
    assert fragment.exists()


def test_a_record_beside_the_journal_is_kept_in_the_bucket(root: BucketPath) -> None:
    pin = root / ".gl10m" / "extracts" / "CA.json"
    assert recall(pin) == {}
    remember(pin, {"name": "california.osm.pbf"})
    assert recall(pin) == {"name": "california.osm.pbf"}


def copy(local: Path, root: BucketPath) -> None:
    for path in local.rglob("*"):
        if path.is_file():
            client.put(root.root.address, str(path.relative_to(local)), path)


def clear(root: BucketPath) -> None:
    fresh = place(root)
    with fresh.root.held():
        BucketTransaction(fresh.root).recover()


@pytest.mark.slow
def test_a_zombie_that_pauses_while_it_clears_deletes_nothing_of_its_successor(
    root: BucketPath, elsewhere: Callable[[str, float], Lease], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It read the register, was taken over, and then lists what its successor has put and not yet named."""
    zombie, successor = place(root), place(root)
    zombie.root.lease = elsewhere(root.root.address, 1.0)
    time.sleep(2.2)
    with successor.root.held():
        source = build_file(successor)
        monkeypatch.setattr(register, "strays", lambda *_: [source.key])
        with pytest.raises(LeaseLostError):
            zombie.root.clear()
        successor.root.commit({"data/a.parquet": source}, set())
    assert (place(root) / "data" / "a.parquet").read_bytes() == b"new"


def build_file(root: BucketPath) -> register.Entry:
    """A file that is put and not named yet."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "a").write_bytes(b"new")
        return root.root.upload("data/a.parquet", Path(folder) / "a")
