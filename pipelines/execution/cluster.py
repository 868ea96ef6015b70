"""The Dask cluster that does the work: one on this machine, or one that runs already."""

import contextlib
import ipaddress
import json
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import dask
from distributed import Client, LocalCluster
from distributed.system import MEMORY_LIMIT

from pipelines.execution import steady_clock
from pipelines.execution.logbook import LOGGERS
from pipelines.sources.scratch import scratch_folder

_LOG = logging.getLogger("gl10m")

_UNREACHED = (
    "no Dask scheduler answers at {} ({}). Start one with `dask scheduler`, or leave --scheduler out to "
    "use this machine; docs/clusters.md has recipes."
)

_MOST_BYTES = 1 << 20
"""A scheduler file is a few kilobytes; a longer one is cut, and then is no JSON."""

LEAST_MEMORY = 4 << 30
"""Bytes that a worker may take in any case: the stages before the images need them for a large state."""

_GONE_SECONDS = 5.0
"""A worker process that is not there for so long is not coming back by itself."""

LOCAL = {
    "distributed.worker.daemon": True,
    "distributed.worker.preload": [steady_clock.__name__],
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
    steady_clock.install()
    with contextlib.ExitStack() as stack:
        # Until the client is closed: it tells at length of a scheduler that it was still looking for.
        stack.enter_context(_hushed("distributed.client"))
        if scheduler is None:
            number = workers or os.cpu_count() or 1
            stack.enter_context(_hushed("asyncio"))  # of workers that die while they start
            local = stack.enter_context(_local_cluster(number, stack.enter_context(scratch_folder())))
            stack.enter_context(_replacing(local, number))
            client = stack.enter_context(Client(local, set_as_default=False))
        else:
            client = stack.enter_context(_connected(scheduler))
        for name in LOGGERS:  # what workers say is heard by the build
            client.forward_logging(name)
        yield client


@contextlib.contextmanager
def _hushed(name: str) -> Iterator[None]:
    """A log that is silent meanwhile: Dask tells of what it lost by a traceback, the build in a line."""
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


def check_scheduler(scheduler: str | Path) -> None:
    """Look whether something listens where a scheduler was named, before anything is made.

    Raises:
        ClusterUnavailableError: nothing does, or no address is named.
    """
    _reach(_address_of(scheduler))


def _address_of(scheduler: str | Path) -> str:
    return str(scheduler) if "://" in str(scheduler) else _address_in(Path(scheduler))


def _connected(scheduler: str | Path) -> Client:
    address = _address_of(scheduler)
    _reach(address)
    _warn_unless_encrypted(address)
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
    try:
        socket.create_connection((host, port), timeout=10).close()
    except OSError as error:
        raise ClusterUnavailableError(_UNREACHED.format(scheduler, error)) from error


def _warn_unless_encrypted(address: str) -> None:
    parts = urlsplit(address)
    if parts.scheme == "tcp" and not _is_loopback(str(parts.hostname)):
        _LOG.warning(
            "%s is not encrypted, and whoever reaches it can run code there: use tls:// outside of a "
            "network of your own, see docs/clusters.md",
            address,
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _local_cluster(workers: int, folder: Path) -> LocalCluster:
    """Worker processes on this machine.

    One thread a process, since GDAL datasets are not shared between threads. The dashboard stays on the
    loopback; by default Dask would open it to the network. Workers have their files in a folder that goes
    with the build: one that is killed while it tidies up leaves some, and only the next cluster would look.
    """
    # The setting is for the scheduler; `local_directory` holds for workers that are started later, too.
    with _deaf_children(), dask.config.set({**LOCAL, "temporary-directory": str(folder)}):
        try:
            return LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                local_directory=str(folder),
                memory_limit=max(LEAST_MEMORY, MEMORY_LIMIT // workers),
                silence_logs=logging.CRITICAL,
            )
        except (RuntimeError, OSError, TimeoutError) as error:
            raise ClusterUnavailableError(
                f"the worker processes did not start ({error}): one was killed, or memory is short. "
                "Run the same command again, with a smaller --workers if it happens again."
            ) from error


@contextlib.contextmanager
def _replacing(local: LocalCluster, workers: int) -> Iterator[None]:
    """Start workers meanwhile in the place of those that Dask has given up.

    It starts one again that dies at work, but looks no more after one that dies while it starts: a build
    whose workers are killed over and over would wait for ever.
    """
    over = threading.Event()
    thread = threading.Thread(target=_replace, args=(local, workers, over), name="replacing", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=_GONE_SECONDS)


def _replace(local: LocalCluster, workers: int, over: threading.Event) -> None:
    gone: dict[object, float] = {}
    while not over.wait(1):
        now, known = time.monotonic(), dict(local.workers)
        gone = {name: gone.get(name, now) for name, nanny in known.items() if not nanny.is_alive()}
        lost = [name for name, since in gone.items() if now - since > _GONE_SECONDS]
        if lost or len(known) < workers:
            # Whatever happens to the new ones while they start is seen at the next look.
            with contextlib.suppress(Exception), dask.config.set(LOCAL):
                local.sync(_started_anew, local, lost, workers)


async def _started_anew(local: LocalCluster, lost: list[object], workers: int) -> None:
    _LOG.warning("a worker process died while it started; another one is started")
    await local.scale_down(lost)
    local.scale(workers)
    await local


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
