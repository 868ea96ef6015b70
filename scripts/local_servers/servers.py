"""PostgreSQL with pgstac, its STAC API and nginx over one world folder, started and stopped together."""

import socket
from pathlib import Path
from types import TracebackType
from typing import Self

from scripts.local_servers import catalogue, nginx, postgres, stac
from scripts.local_servers.errors import ServerError
from scripts.local_servers.ports import answers, listening, url_of
from scripts.local_servers.process import GATE, Server
from scripts.local_servers.running import Running, stop
from scripts.local_servers.signals import undisturbed
from scripts.local_servers.state import State, starting
from scripts.local_servers.tools import Tools, bare_environment

LOGS = ("access.log", "initdb.log", "nginx-error.log", "nginx.log", "postgres.log", "stac.log")


class LocalServers:
    """PostgreSQL with pgstac, its STAC API and nginx over one world folder, all of them private to `run`."""

    def __init__(self, world: Path, run: Path, *, stac_port: int = 0, http_port: int = 0) -> None:
        """Prepare; nothing starts yet.

        Args:
            world: folder with stac/COLLECTION/{collection.json,items.ndjson}, only read; asset hrefs are
                relative to it.
            run: folder for logs, configuration and servers.json; made where it does not exist.
            stac_port: port of the STAC API on 127.0.0.1; 0 takes a free one.
            http_port: port of nginx on 127.0.0.1; 0 takes a free one.
        """
        self.world, self.run = world.resolve(), run.resolve()
        self._ports = stac_port, http_port
        self._running: Running | None = None

    @property
    def running(self) -> bool:
        """Whether servers were started here and not stopped yet."""
        return self._running is not None

    @property
    def stac_url(self) -> str:
        """Root of the STAC API."""
        return self._state().stac_url

    @property
    def http_url(self) -> str:
        """Base of the files; stands before every relative asset href."""
        return self._state().http_url

    @property
    def servers(self) -> tuple[Server, ...]:
        """The processes that run."""
        return tuple(self._state().servers)

    @property
    def cluster(self) -> Path:
        """Folder of the PostgreSQL cluster."""
        return Path(self._state().cluster)

    def __enter__(self) -> Self:
        self.start(leave_running=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, *, leave_running: bool = True) -> None:
        """Start everything and return when every server answers; whatever fails, nothing is left running.

        Args:
            leave_running: False ends the servers with the thread that called, however it ends.

        Raises:
            MissingProgramError: PostgreSQL, PostGIS, nginx or the `servers` extra is not installed.
            ServerError: servers of this run folder run already, a port is taken, or a server does not start.
            WorldError: `world` has no catalogue, or one that cannot be loaded.
        """
        tools = Tools.installed()
        folders = catalogue.collections(self.world)
        if not nginx.speakable(self.run):
            raise ServerError(
                f"nginx cannot write to a folder with one of {nginx.UNSPEAKABLE} in its path: {self.run}. "
                "Name another --run."
            )
        self.run.mkdir(parents=True, exist_ok=True)
        with starting(self.run):
            self._clear_what_a_killed_start_left()
            try:
                self._start(tools, folders, leave_running=leave_running)
            except BaseException:
                self.stop()
                raise

    def stop(self) -> None:
        """End every server of this run folder and remove its database; logs stay.

        Raises:
            ServerError: a process could not be ended, or the database not removed.
        """
        if self._running is not None:
            self._running.stop()
            self._running = None
        elif (state := State.read(self.run)) is not None:
            with undisturbed():
                stop(self.run, state)

    def requests(self) -> list[nginx.Request]:
        """Requests that nginx has answered since the start, oldest first; also after `stop`."""
        if self._running is not None:
            # Its one worker logs a request when it has answered, which a client may have read before: once
            # this is answered, what came before is in the log.
            answers(f"{self.http_url}{nginx.READY}")
        return nginx.requests(self.run / "access.log")

    def searches(self) -> int:
        """Item searches, one a page, that the STAC API has answered since the start; also after `stop`."""
        return stac.searches(self.run / "stac.log")

    def _state(self) -> State:
        if self._running is None:
            raise ServerError("the servers do not run; start them first")
        return self._running.state

    def _clear_what_a_killed_start_left(self) -> None:
        earlier = State.read(self.run)
        if earlier is None:
            return
        if earlier.ready and any(server.running for server in earlier.servers):
            raise ServerError(
                f"one set of servers a run folder; those of {self.run} still run. "
                "Stop them, or name another --run."
            )
        stop(self.run, earlier)

    def _start(self, tools: Tools, folders: list[Path], *, leave_running: bool) -> None:
        for log in LOGS:
            (self.run / log).unlink(missing_ok=True)
        with listening(self._ports[0]) as stac_socket, listening(self._ports[1]) as http_socket:
            cluster = postgres.new_folder()
            running = Running(self.run, State(url_of(stac_socket), url_of(http_socket), str(cluster)))
            self._running = running
            with_us = None if leave_running else "TERM"
            self._start_nginx(running, tools, http_socket, with_us)
            _start_postgres(running, tools, cluster, with_us and "INT")
            catalogue.load(postgres.address(cluster), folders, self.http_url)
            gated = tools.wrapped([*GATE, *stac.command(stac_socket)], with_parent=with_us)
            environment = stac.environment(cluster)
            running.begin("stac", gated, folder=self.run, environment=environment, sockets=(stac_socket,))
        running.wait_for("nginx", lambda: answers(f"{self.http_url}{nginx.READY}"))
        running.wait_for("stac", lambda: answers(self.stac_url))
        running.ready()

    def _start_nginx(
        self, running: Running, tools: Tools, http_socket: socket.socket, with_us: str | None
    ) -> None:
        command = nginx.command(tools, nginx.configure(self.run, self.world, http_socket))
        gated = tools.wrapped([*GATE, *command], with_parent=with_us)
        environment = nginx.environment(http_socket)
        running.begin("nginx", gated, folder=self.run, environment=environment, sockets=(http_socket,))


def _start_postgres(running: Running, tools: Tools, cluster: Path, with_us: str | None) -> None:
    user, environment = tools.database_user, bare_environment()
    everyone = Path("/")  # PostgreSQL's user may not enter root's folders
    postgres.make_folder(tools, cluster)
    gated = [*GATE, *postgres.initdb(tools, cluster)]
    command = tools.wrapped(gated, as_user=user, with_parent="TERM")
    running.begin("initdb", command, folder=everyone, environment=environment)
    running.finish("initdb")
    gated = [*GATE, *postgres.server(tools, cluster)]
    command = tools.wrapped(gated, as_user=user, with_parent=with_us)
    running.begin("postgres", command, folder=everyone, environment=environment)
    database = postgres.address(cluster)
    running.wait_for("postgres", lambda: postgres.accepts(database))
