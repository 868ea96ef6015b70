"""Whatever a child does, the process that called it goes on with an answer or an error."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pytest

from pipelines.sources.isolated import ChildFailedError, ChildLostError, Limits, run
from pipelines.sources.scratch import scratch_folder
from tests.pipelines import misbehaving

LIMITS = Limits(memory_bytes=1 << 29, cpu_seconds=20)


def test_columns_come_back() -> None:
    columns = [b"", b"\0" * 10, b"north", bytes(range(256)) * 10_000]
    assert run(misbehaving.echo, *columns, limits=LIMITS) == columns
    assert run(misbehaving.echo, limits=LIMITS) == []


@pytest.mark.parametrize(
    ("function", "limits", "words"),
    [
        (misbehaving.crash, LIMITS, "crashed with SIGSEGV"),
        (misbehaving.abort, LIMITS, "crashed with SIGABRT"),
        (misbehaving.grow, Limits(1 << 28, 20), "more than the 256 MiB of memory"),
        (misbehaving.spin, Limits(1 << 29, 1), "took the 1 s of CPU time"),
        (misbehaving.nonsense, LIMITS, "its answer breaks off"),
        (misbehaving.kill_parent, LIMITS, "the process that watched over it was killed"),
    ],
)
def test_the_end_of_a_child_is_told(function: Callable[[], None], limits: Limits, words: str) -> None:
    with pytest.raises(ChildLostError, match=words):
        run(function, limits=limits)  # type: ignore[arg-type]
    assert run(misbehaving.echo, b"the next one is well", limits=LIMITS) == [b"the next one is well"]


def test_a_child_that_stands_still_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(ChildLostError, match="stood still for 1 s"):
        run(misbehaving.stand_still, str(tmp_path / "told"), limits=Limits(1 << 29, 20, stall_seconds=1))
    child = int((tmp_path / "told").read_text().split()[0])
    assert not alive(child)


def test_an_error_comes_back_in_printable_words() -> None:
    with pytest.raises(ChildFailedError, match=r"^bad \?\[31mfile x{400}") as caught:
        run(misbehaving.fail, "bad \x1b[31mfile " + "x" * 10_000, limits=LIMITS)
    assert len(str(caught.value)) < 600


def test_an_answer_is_no_larger_than_memory_allows() -> None:
    with pytest.raises(ChildFailedError, match="File too large"):
        run(misbehaving.write, limits=Limits(1 << 26, 20))


def test_one_starter_serves_all_calls_and_threads_have_their_own() -> None:
    first = run(misbehaving.parent, limits=LIMITS)
    assert first == run(misbehaving.parent, limits=LIMITS)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda n: run(misbehaving.echo, str(n).encode(), limits=LIMITS), range(40)))
    assert answers == [[str(n).encode()] for n in range(40)]


def _in_a_daemon(queue: "multiprocessing.Queue[list[bytes]]") -> None:
    queue.put(run(misbehaving.echo, b"from a daemon", limits=LIMITS))


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # from Python 3.12 on, of forks
def test_daemonic_processes_may_call(method: Literal["fork", "spawn"]) -> None:
    run(misbehaving.echo, limits=LIMITS)  # a starter that the fork must not use
    context: Any = multiprocessing.get_context(method)
    queue = context.Queue()
    process = context.Process(target=_in_a_daemon, args=(queue,), daemon=True)
    process.start()
    assert queue.get(timeout=60) == [b"from a daemon"]
    process.join()
    assert run(misbehaving.echo, b"still here", limits=LIMITS) == [b"still here"]


CALLER = """
import sys
from pipelines.sources.isolated import Limits, run
from pipelines.sources.scratch import scratch_folder
from tests.pipelines import misbehaving
with scratch_folder() as folder:
    (folder / "large").write_bytes(bytes(1000))
    run(misbehaving.stand_still, sys.argv[1], limits=Limits(1 << 29, 20))
"""


def alive(process: int) -> bool:
    """Whether a process runs; one that ended may wait to be reaped."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in "ZX"


def called(told: Path) -> tuple["subprocess.Popen[bytes]", list[int]]:
    """A process that waits for its child, and the ids of the child and of the starter."""
    command = [sys.executable, "-c", CALLER, str(told)]
    root = Path(__file__).parents[2]
    caller = subprocess.Popen(command, cwd=root, env={**os.environ, "TMPDIR": str(told.parent)}, stderr=-3)
    for _ in range(600):
        if told.is_file() and len(told.read_text().split()) == 2:
            return caller, [int(word) for word in told.read_text().split()]
        time.sleep(0.05)
    raise AssertionError("the child did not start")


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nobody_outlives_the_caller(
    tmp_path: Path, end: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller, others = called(tmp_path / "told")
    left = list(tmp_path.glob("gl10m-scratch-*"))
    assert [sorted(path.name for path in folder.iterdir()) for folder in left] == [["in-use", "large"]]
    caller.send_signal(end)
    caller.wait(timeout=20)
    until = time.monotonic() + 10
    while any(map(alive, others)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(alive, others))
    assert not list(tmp_path.glob("gl10m-answer-*"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with scratch_folder() as folder:
        assert list(tmp_path.glob("gl10m-scratch-*")) == [folder]  # what a kill left is gone
        with scratch_folder() as other:
            assert folder.is_dir()  # what is in use stays
        assert not other.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's death")
def test_a_child_does_not_outlive_its_starter(tmp_path: Path) -> None:
    caller, (child, starter) = called(tmp_path / "told")
    os.kill(starter, signal.SIGKILL)
    assert caller.wait(timeout=20) == 1
    assert not alive(child)
