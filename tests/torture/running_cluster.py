"""A Dask cluster that is not the build's own: a real `dask scheduler` and real `dask worker`s."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.torture.arena import free_port, gone, kill_session, workers_of

QUICK = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "15s"}
"""What docs/reliability.md recommends for schedulers and workers; Dask refuses less than 11 s."""


@dataclass(frozen=True, slots=True)
class RunningCluster:
    """Processes of a cluster on the loopback."""

    scheduler: "subprocess.Popen[bytes]"
    workers: "subprocess.Popen[bytes]"
    """The nanny of two worker processes."""
    address: str

    @property
    def arguments(self) -> tuple[str, str]:
        """What tells a build to use it."""
        return ("--scheduler", self.address)

    @property
    def worker_processes(self) -> list[int]:
        """Those that do the work."""
        return workers_of(self.workers.pid)


@contextlib.contextmanager
def running_cluster(folder: Path) -> Iterator[RunningCluster]:
    """A scheduler with two worker processes; whatever is left of them is killed at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    address = f"tcp://127.0.0.1:{free_port()}"
    with ended(dask("scheduler", "--no-dashboard", "--host", address, folder=folder)) as scheduler:
        reach(address)
        with two_workers(address, folder) as workers:
            yield RunningCluster(scheduler, workers, address)


def two_workers(address: str, folder: Path) -> "contextlib.AbstractContextManager[subprocess.Popen[bytes]]":
    """The nanny of two worker processes of a scheduler; they are killed at the end."""
    asked = ("--nworkers", "2", "--nthreads", "1", "--no-dashboard")
    return ended(dask("worker", address, *asked, folder=folder))


@contextlib.contextmanager
def ended(process: "subprocess.Popen[bytes]") -> Iterator["subprocess.Popen[bytes]"]:
    """A process whose session is killed at the end."""
    try:
        yield process
    finally:
        kill_session(process.pid)
        process.wait()
        assert gone(process.pid)


def dask(*arguments: str, folder: Path, before: Sequence[str] = ()) -> "subprocess.Popen[bytes]":
    """`dask scheduler` or `dask worker`, in a session of its own, with temporary files in a folder."""
    with (folder / "cluster.log").open("ab") as log:
        return subprocess.Popen(
            [*before, sys.executable, "-m", "dask", *arguments],
            start_new_session=True,
            stdout=log,
            stderr=log,
            env={**os.environ, **QUICK, "TMPDIR": str(folder)},
        )


def reach(address: str, seconds: float = 60.0) -> None:
    """Wait until a scheduler listens."""
    host, port = address.removeprefix("tcp://").split(":")
    until = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            socket.create_connection((host, int(port)), timeout=5).close()
            return
        assert time.monotonic() < until, f"no scheduler at {address}"
        time.sleep(0.1)
