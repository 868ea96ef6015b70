"""The recipes of docs/clusters.md as files, and real Dask processes to try them with."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "clusters.md"

BIN = Path(sys.executable).parent
"""Where `gl10m` and `dask` are."""

_BLOCK = re.compile(r"^```(?P<language>\w+) (?P<name>\S+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def recipes() -> dict[str, str]:
    """The named blocks of the page: name to text."""
    return {block["name"]: block["text"] for block in _BLOCK.finditer(PAGE.read_text(encoding="utf-8"))}


def save(folder: Path, *names: str) -> None:
    """Save recipes as a reader would."""
    known = recipes()
    for name in names:
        (folder / name).write_text(known[name], encoding="utf-8")


def environment(**more: str) -> dict[str, str]:
    """This process's environment with the commands of its interpreter in front."""
    return {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", **more}


def run(
    command: Sequence[str | Path], folder: Path, env: dict[str, str], seconds: float = 200
) -> subprocess.CompletedProcess[str]:
    """Run a recipe to its end; what it leaves behind in the background is a failure."""
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        said, warned = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return subprocess.CompletedProcess(command, process.returncode, said, warned)


@contextlib.contextmanager
def started(
    command: Sequence[str | Path], folder: Path, env: dict[str, str], name: str = "process"
) -> Iterator[Path]:
    """Run a process while the block runs.

    Yields:
        What it says, in a file.
    """
    log = folder / f"{name}.log"
    with log.open("wb") as said:
        process = subprocess.Popen(command, cwd=folder, env=env, stdout=said, stderr=subprocess.STDOUT)
    try:
        yield log
    finally:
        process.terminate()
        process.wait(60)


@contextlib.contextmanager
def running_scheduler(folder: Path, env: dict[str, str]) -> Iterator[Path]:
    """A scheduler on the loopback; gives its file."""
    file = folder / "scheduler.json"
    command = ["dask", "scheduler", "--scheduler-file", str(file), "--host", "127.0.0.1", "--port", "0"]
    with started([BIN / command[0], *command[1:], "--no-dashboard"], folder, env, "scheduler"):
        wait_until(file.exists)
        yield file


def worker(scheduler: str | Path) -> list[str]:
    """The command of a worker; the scheduler by its address or by its file."""
    place = ["--scheduler-file", str(scheduler)] if isinstance(scheduler, Path) else [scheduler]
    options = ["--nthreads", "1", "--memory-limit", "4GB", "--no-dashboard", "--death-timeout", "60"]
    return [str(BIN / "dask"), "worker", *place, *options]


def wait_until(happened: Callable[[], bool], seconds: float = 120) -> None:
    """Wait for something that another process does."""
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.1)
