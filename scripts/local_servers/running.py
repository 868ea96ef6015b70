"""What runs in a run folder: begun step by step, each noted before it counts, and all of it ended again."""

import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from scripts.local_servers import postgres
from scripts.local_servers.errors import ServerError
from scripts.local_servers.process import SECONDS_TO_STOP, Server, begin, release, until, withhold
from scripts.local_servers.signals import undisturbed
from scripts.local_servers.state import State

SECONDS_TO_START = 60.0

# SIGTERM would have postgres wait for its clients; SIGINT disconnects them, SIGQUIT does not even clean up.
GENTLE = {"postgres": (signal.SIGINT, signal.SIGQUIT)}


class Running:
    """Processes of one start, in the order in which they began."""

    def __init__(self, run: Path, state: State) -> None:
        """Note that something will run.

        Args:
            run: folder for servers.json and the logs.
            state: what is known so far; grows with every process.
        """
        self.run, self.state = run, state
        self._children: list[subprocess.Popen[bytes]] = []
        state.write(run)

    def begin(
        self,
        name: str,
        command: Sequence[str],
        *,
        folder: Path,
        environment: Mapping[str, str],
        sockets: Sequence[socket.socket] = (),
    ) -> None:
        """Begin a process behind a gate, note it, and only then let it run; its log is RUN/NAME.log."""
        log = self.run / f"{name}.log"
        child = begin(command, log=log, folder=folder, environment=environment, sockets=sockets)
        self._children.append(child)
        self.state.servers.append(Server.of(name, child.pid))
        self.state.write(self.run)
        release(child)

    def finish(self, name: str) -> None:
        """Wait for the process begun last, which does one thing and ends.

        Raises:
            ServerError: it failed, or took too long.
        """
        try:
            status = self._children[-1].wait(SECONDS_TO_START)
        except subprocess.TimeoutExpired as error:
            raise self._too_slow(name) from error
        if status:
            raise ServerError(f"{name} failed; it said: {self._said(name)}")
        self.state.servers.pop()
        self.state.write(self.run)

    def wait_for(self, name: str, answers: Callable[[], bool]) -> None:
        """Wait until a server answers.

        Raises:
            ServerError: it ended, or took too long.
        """
        server = next(server for server in self.state.servers if server.name == name)
        in_time = until(lambda: not server.running or answers(), SECONDS_TO_START)
        if not server.running:
            raise ServerError(f"{name} ended while it started; it said: {self._said(name)}")
        if not in_time:
            raise self._too_slow(name)

    def ready(self) -> None:
        """Note that every server answers."""
        self.state.ready = True
        self.state.write(self.run)

    def stop(self) -> None:
        """End everything; see `stop`."""
        with undisturbed():
            stop(self.run, self.state)
            for child in self._children:
                withhold(child)  # begun, but interrupted before it was noted
                child.wait(SECONDS_TO_STOP)

    def _too_slow(self, name: str) -> ServerError:
        return ServerError(f"{name} must start within {SECONDS_TO_START:.0f} s; it said: {self._said(name)}")

    def _said(self, name: str) -> str:
        """The end of a log."""
        return (self.run / f"{name}.log").read_text(errors="replace").strip()[-800:] or "nothing"


def stop(run: Path, state: State) -> None:
    """End the servers of a run folder and remove its database.

    Raises:
        ServerError: a process could not be ended, or the database not removed.
    """
    left = [
        server
        for server in reversed(state.servers)
        if not server.end(*GENTLE.get(server.name, (signal.SIGTERM,)))
    ]
    if left:
        names = ", ".join(f"{server.name} (process {server.pid})" for server in left)
        raise ServerError(f"every server must end; {names} did not. End it by hand and stop again.")
    postgres.remove(Path(state.cluster))
    shutil.rmtree(run / "nginx-temporary", ignore_errors=True)
    (run / "nginx.pid").unlink(missing_ok=True)
    State.remove(run)
