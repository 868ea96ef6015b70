"""Runs independent tasks on Dask, with a bounded number of them under way."""

import contextlib
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import dask
from distributed import Client, Future, LocalCluster, as_completed

PATIENCE_SECONDS = 120
"""How long Ctrl-C waits for tasks under way."""

_LOG = logging.getLogger("gl10m")

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")

TASKS_PER_WORKER = 2
"""Tasks submitted ahead for each worker: one runs, one waits, and memory stays bounded."""


_UNREACHED = (
    "no Dask scheduler answers at {} ({}). Start one with `dask scheduler`, or leave --scheduler out to "
    "use this machine."
)


class ClusterUnavailableError(ConnectionError):
    """The scheduler of a cluster cannot be reached."""


@dataclass(frozen=True, slots=True)
class TaskFailure:
    """What became of a task that raised, or whose worker died too often."""

    task: Any
    """The argument of the task."""
    cause: BaseException
    """What it raised."""


@contextlib.contextmanager
def cluster(workers: int | None, scheduler: str | None) -> Iterator[Client]:
    """A client of the cluster that does the work.

    Args:
        workers: processes of an embedded local cluster; one a core if None.
        scheduler: address of a running cluster instead, tcp://host:port or tls://host:port.

    Raises:
        ClusterUnavailableError: nothing answers at that address.
    """
    if scheduler is not None:
        _reach(scheduler)
        try:
            client = Client(scheduler, timeout="10s", set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise ClusterUnavailableError(_UNREACHED.format(scheduler, error)) from error
        with client:
            yield client
        return
    with (
        _local_cluster(workers or os.cpu_count() or 1) as local,
        Client(local, set_as_default=False) as client,
    ):
        yield client


def _reach(scheduler: str) -> None:
    """Knock at an address before Dask does, whose clients complain at length when nobody opens.

    Raises:
        ClusterUnavailableError: it is no address, or nothing listens there.
    """
    try:
        parts = urlsplit(scheduler)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or port is None:
        raise ClusterUnavailableError(_UNREACHED.format(scheduler, "an address is tcp://HOST:PORT"))
    try:
        socket.create_connection((host, port), timeout=10).close()
    except OSError as error:
        raise ClusterUnavailableError(_UNREACHED.format(scheduler, error)) from error


def _local_cluster(workers: int) -> LocalCluster:
    """Worker processes on this machine.

    One thread a process, since GDAL datasets are not shared between threads. The dashboard stays on the
    loopback; by default Dask would open it to the network.
    """
    with (
        _deaf_children(),
        dask.config.set({"distributed.worker.daemon": True, "distributed.admin.tick.limit": "60s"}),
    ):
        return LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,
        )


@contextlib.contextmanager
def _deaf_children() -> Iterator[None]:
    """Processes started meanwhile do not hear Ctrl-C, which a terminal sends to all: the driver decides."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers, and only it hears Ctrl-C
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def run(
    client: Client, function: Callable[[_Task], _Result], tasks: Iterable[_Task]
) -> Iterator[tuple[_Task, _Result | TaskFailure]]:
    """Do the tasks, handing back each as it ends.

    Args:
        client: where to.
        function: pure or idempotent: a task may run twice when its worker is lost.
        tasks: arguments, one a task; drawn as workers become free.

    Yields:
        The task with its result, or with the error that ended it; in the order they end.
    """
    waiting = iter(tasks)
    workers = max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
    running: dict[Future[_Result], _Task] = {}
    done = as_completed(loop=client.loop, raise_errors=False)

    def submit_next() -> bool:
        for task in waiting:
            future = client.submit(function, task, pure=False)
            running[future] = task
            done.add(future)
            return True
        return False

    for _ in range(workers * TASKS_PER_WORKER):
        if not submit_next():
            break
    try:
        for future in done:
            task = running.pop(future)
            yield task, _outcome(task, future)
            submit_next()
    except KeyboardInterrupt:
        _finish_under_way(running)
        raise


def _outcome(task: _Task, future: "Future[_Result]") -> _Result | TaskFailure:
    error = future.exception()
    outcome: _Result | TaskFailure = future.result() if error is None else TaskFailure(task, error)
    future.release()
    return outcome


def _finish_under_way(running: "dict[Future[_Result], _Task]") -> None:
    """Let tasks that a worker holds end, so that what they fetched is committed; a second Ctrl-C leaves."""
    _LOG.warning("stopping: finishing %d tasks under way; Ctrl-C again leaves them", len(running))
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until and any(future.status == "pending" for future in running):
        time.sleep(0.2)
