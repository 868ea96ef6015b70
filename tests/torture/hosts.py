"""Two hosts on one machine: network namespaces joined by a cable that can be pulled.

Both see the same disk, and each has the imagery at an address of its own that is the same for both: a host that
is cut off goes on fetching and writing, as a host with a shared file system of another network would.
"""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.torture.arena import kill_session
from tests.torture.running_cluster import QUICK

IMAGERY = "10.78.0.1"
PORT = 9000
SERVE = f"""
import signal, sys
from pathlib import Path
from pipelines.world.server import serve
with serve(Path(sys.argv[1]), "{IMAGERY}", {PORT}):
    signal.pause()
"""
SCENE_BY_SCENE = """
import sys
import pipelines.fetch
pipelines.fetch.LARGEST = 1
sys.argv[0] = "gl10m"
from gl10m.cli import main
sys.exit(main())
"""
"""`gl10m` with batches of one scene, so that both hosts have some."""

_numbers = itertools.count()


@dataclass(frozen=True, slots=True)
class Host:
    """A network namespace."""

    name: str
    address: str
    cable: str

    def start(self, *command: str, folder: Path) -> "subprocess.Popen[bytes]":
        """A process there, in a session of its own."""
        with (folder / f"{self.name}.log").open("ab") as log:
            return subprocess.Popen(
                ["ip", "netns", "exec", self.name, *command],
                start_new_session=True,
                stdout=log,
                stderr=log,
                env={**os.environ, **QUICK, "TMPDIR": str(folder), "XDG_CACHE_HOME": str(folder)},
            )

    def cut(self) -> None:
        """Pull the cable."""
        ip("-n", self.name, "link", "set", self.cable, "down")


def ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"no network namespaces here: ip {' '.join(arguments)}: {done.stderr.strip()}")


@contextlib.contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Two namespaces; gone at the end."""
    mark = f"g{os.getpid()}x{next(_numbers)}"
    hosts = (Host(f"{mark}a", "10.77.0.1", f"{mark}a"), Host(f"{mark}b", "10.77.0.2", f"{mark}b"))
    with contextlib.ExitStack() as stack:
        for host in hosts:
            ip("netns", "add", host.name)
            stack.callback(ip, "netns", "del", host.name)
        first, second = hosts
        ip(
            "-n",
            first.name,
            "link",
            "add",
            first.cable,
            "type",
            "veth",
            "peer",
            second.cable,
            "netns",
            second.name,
        )
        for host in hosts:
            ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", host.cable)
            ip("-n", host.name, "addr", "add", f"{IMAGERY}/32", "dev", "lo")
            for device in ("lo", host.cable):
                ip("-n", host.name, "link", "set", device, "up")
        yield hosts


@dataclass(frozen=True, slots=True)
class Site:
    """A cluster on two hosts: scheduler, build and a worker on the first, a worker on the second."""

    first: Host
    second: Host
    folder: Path
    far_worker: "subprocess.Popen[bytes]"
    """The nanny of the worker on the second host."""

    def build(self, osm: Path, root: Path, *more: str) -> "subprocess.Popen[bytes]":
        """`gl10m build` on the first host."""
        place = ["--states", "CA", "--osm", str(osm), "--root", str(root), "--source", "stac"]
        imagery = ["--stac-url", f"http://{IMAGERY}:{PORT}"]
        command = [sys.executable, "-c", SCENE_BY_SCENE, "build", *place, *imagery, *more]
        return self.first.start(*command, folder=self.folder)

    @property
    def scheduler(self) -> tuple[str, str]:
        """What tells a build to use the cluster."""
        return ("--scheduler", f"tcp://{self.first.address}:8786")


@contextlib.contextmanager
def site(hosts: tuple[Host, Host], world: Path, folder: Path) -> Iterator[Site]:
    """Start the cluster, and imagery on both hosts; all is killed at the end."""
    first, second = hosts
    folder.mkdir(parents=True, exist_ok=True)
    address = f"tcp://{first.address}:8786"
    worker = ["dask", "worker", address, "--nthreads", "1", "--no-dashboard"]
    dask = [sys.executable, "-m"]
    with contextlib.ExitStack() as stack:

        def start(host: Host, *command: str) -> "subprocess.Popen[bytes]":
            process = host.start(*command, folder=folder)
            stack.callback(process.wait)
            stack.callback(kill_session, process.pid)
            return process

        for host in hosts:
            start(host, sys.executable, "-c", SERVE, str(world))
        start(first, *dask, "dask", "scheduler", "--no-dashboard", "--host", address)
        start(first, *dask, *worker, "--host", first.address)
        yield Site(first, second, folder, start(second, *dask, *worker, "--host", second.address))


def freeze(session_leader: int, *, thaw: bool = False) -> None:
    """Stop all processes of a session, or let them go on."""
    os.killpg(session_leader, signal.SIGCONT if thaw else signal.SIGSTOP)
