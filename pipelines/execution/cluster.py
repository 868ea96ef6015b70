"""The Dask cluster that does the work: one on this machine, or one that runs already."""

import contextlib
import ipaddress
import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import dask
from distributed import Client, LocalCluster
from distributed.system import MEMORY_LIMIT

_LOG = logging.getLogger("gl10m")

_UNREACHED = (
    "no Dask scheduler answers at {} ({}). Start one with `dask scheduler`, or leave --scheduler out to "
    "use this machine; docs/clusters.md has recipes."
)

_MOST_BYTES = 1 << 20
"""A scheduler file is a few kilobytes; a longer one is cut, and then is no JSON."""

_LOGGERS = ("gl10m", "pipelines")
"""What workers say in these logs is heard by the build."""

LEAST_MEMORY = 4 << 30
"""Bytes that a worker may take in any case: the stages before the images need them for a large state."""

LOCAL = {
    "distributed.worker.daemon": True,
    # Dask's clocks look at every thread 100 times and at every event loop 50 times a second: 6 % of the
    # stages' CPU time where a task takes seconds (docs/decisions/0013-engine.md).
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.tick.limit": "60s",
    # Results are small. A worker that is large has little that it could spill, and paused it would stay so.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    # A task whose worker dies twice is taken apart (see `tasks`): more deaths would only cost time.
    "distributed.scheduler.allowed-failures": 1,
}
"""How Dask is set for a cluster on this machine."""


class ClusterUnavailableError(ConnectionError):
    """The scheduler of a cluster cannot be reached."""


@contextlib.contextmanager
def cluster(workers: int | None, scheduler: str | Path | None) -> Iterator[Client]:
    """A client of the cluster that does the work.

    Args:
        workers: processes of an embedded local cluster; one a core if None.
        scheduler: a running cluster instead: its address, tcp://host:port or tls://host:port, or the file
            that `dask scheduler --scheduler-file` writes.

    Raises:
        ClusterUnavailableError: nothing answers at that address.
    """
    with contextlib.ExitStack() as stack:
        if scheduler is None:
            local = stack.enter_context(_local_cluster(workers or os.cpu_count() or 1))
            client = stack.enter_context(Client(local, set_as_default=False))
        else:
            client = stack.enter_context(_connected(scheduler))
        for name in _LOGGERS:
            client.forward_logging(name)
        stack.enter_context(_hushed("distributed.client"))
        yield client


@contextlib.contextmanager
def _hushed(name: str) -> Iterator[None]:
    """A log that is silent meanwhile: Dask tells of a lost scheduler by a traceback, the build in a line."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def dashboard(client: Client) -> str:
    """Where Dask's dashboard of a cluster is, in words; it shows task by task what the workers do."""
    address = str(client.dashboard_link)
    return address if find_spec("bokeh") else f"{address} (needs `pip install bokeh`)"


def _connected(scheduler: str | Path) -> Client:
    address = str(scheduler) if "://" in str(scheduler) else _address_in(Path(scheduler))
    _reach(address)
    try:
        return Client(address, timeout="10s", set_as_default=False)
    except (OSError, TimeoutError, ValueError, TypeError) as error:
        hint = ""
        if address.startswith("tls:"):
            hint = "; certificates are named by DASK_DISTRIBUTED__COMM__TLS__*, see docs/clusters.md"
        raise ClusterUnavailableError(_UNREACHED.format(address, f"{error}{hint}")) from error


def _address_in(file: Path) -> str:
    """The address that a scheduler file names.

    Raises:
        ClusterUnavailableError: there is no such file, or it is none of Dask's.
    """
    try:
        with file.open("rb") as opened:
            return str(json.loads(opened.read(_MOST_BYTES))["address"])
    except FileNotFoundError:
        raise ClusterUnavailableError(
            f"there is no {file}. `dask scheduler --scheduler-file {file}` writes it once it listens; an "
            "address is tcp://HOST:PORT or tls://HOST:PORT."
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ClusterUnavailableError(
            f"{file} is no file of `dask scheduler --scheduler-file` ({error})."
        ) from None


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
    if host is None or port is None or parts.scheme not in {"tcp", "tls"}:
        raise ClusterUnavailableError(
            _UNREACHED.format(scheduler, "an address is tcp://HOST:PORT or tls://HOST:PORT")
        )
    if parts.scheme == "tcp" and not _is_loopback(host):
        _LOG.warning(
            "%s is not encrypted, and whoever reaches it can run code there: use tls:// outside of a "
            "network of your own, see docs/clusters.md",
            scheduler,
        )
    try:
        socket.create_connection((host, port), timeout=10).close()
    except OSError as error:
        raise ClusterUnavailableError(_UNREACHED.format(scheduler, error)) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _local_cluster(workers: int) -> LocalCluster:
    """Worker processes on this machine.

    One thread a process, since GDAL datasets are not shared between threads. The dashboard stays on the
    loopback; by default Dask would open it to the network.
    """
    with _deaf_children(), dask.config.set(LOCAL):
        try:
            return LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                memory_limit=max(LEAST_MEMORY, MEMORY_LIMIT // workers),
                silence_logs=logging.CRITICAL,
            )
        except (RuntimeError, OSError, TimeoutError) as error:
            raise ClusterUnavailableError(
                f"the worker processes did not start ({error}): one was killed, or memory is short. "
                "Run the same command again, with a smaller --workers if it happens again."
            ) from error


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
