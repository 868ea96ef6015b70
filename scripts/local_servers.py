"""Starts and stops real servers for a world folder: a STAC API over PostgreSQL, and nginx for the pixels.

    python scripts/local_servers.py start --world WORLD --run RUN
    python scripts/local_servers.py status --run RUN
    python scripts/local_servers.py stop --run RUN

Tests use the same thing as a context manager: `with LocalServers(world, run) as servers: servers.stac_url`.
What it needs, what it writes and what it leaves behind stand in docs/local-servers.md.
"""

import argparse
import contextlib
import dataclasses
import http.client
import importlib.util
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

HOST = "127.0.0.1"
CLUSTER_PREFIX = "gl10m-postgres-"
STATE_FILE = "servers.json"
SECONDS_TO_START = 60.0
SECONDS_TO_STOP = 15.0

NGINX_CONFIGURATION = """\
{user}
daemon off;
worker_processes 1;
pid {run}/nginx.pid;
error_log {run}/nginx-error.log warn;
events {{ worker_connections 256; }}
http {{
    log_format requests escape=json
        '{{"method":"$request_method","path":"$uri","status":$status,"range":"$http_range","sent":$body_bytes_sent}}';
    access_log {run}/access.log requests;
    client_body_temp_path {run}/nginx-temporary;
    proxy_temp_path {run}/nginx-temporary;
    fastcgi_temp_path {run}/nginx-temporary;
    uwsgi_temp_path {run}/nginx-temporary;
    scgi_temp_path {run}/nginx-temporary;
    types {{ image/tiff tif; application/json json; application/x-ndjson ndjson; }}
    default_type application/octet-stream;
    keepalive_requests 100000;
    server {{
        listen {host}:{port};
        root "{world}";
        disable_symlinks on from=$document_root;
        location = /.ready {{ access_log off; return 204; }}
        location / {{ limit_except GET {{ deny all; }} }}
    }}
}}
"""


class MissingProgramError(FileNotFoundError):
    """A program or package that the servers are made of is not installed."""


class ServerError(RuntimeError):
    """A server did not start, or is in the way of one that should."""


class WorldError(ValueError):
    """A folder is not a world that can be served."""


@dataclass(frozen=True, slots=True)
class Request:
    """One line of nginx's access log."""

    method: str
    path: str
    """Path under the world folder, beginning with a slash."""
    status: int
    """HTTP status; 206 for a range."""
    range: str
    """The Range header, empty where there was none."""
    sent: int
    """Bytes of the answer's body."""


@dataclass(frozen=True, slots=True)
class Server:
    """A process that `start` began; the start time tells it from a later process with the same number."""

    name: str
    pid: int
    started: int
    """Clock ticks since boot, field 22 of /proc/PID/stat."""

    @property
    def running(self) -> bool:
        """True while this very process runs; a zombie does not."""
        return _start_time(self.pid) == self.started

    def ends_within(self, seconds: float) -> bool:
        """Wait for the process to end; False where it still runs after that time."""
        return _until(lambda: not self.running, seconds)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, to this very process only."""
        if self.running:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


@dataclass(slots=True)
class State:
    """What runs: the content of servers.json, rewritten at every step so that `stop` can undo any of them."""

    stac_url: str
    http_url: str
    cluster: str
    """Folder of the PostgreSQL cluster; removed by `stop`."""
    servers: list[Server] = field(default_factory=list)

    def write(self, run: Path) -> None:
        """Write RUN/servers.json, readable by its owner alone."""
        temporary = run / f".{STATE_FILE}.tmp"
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(dataclasses.asdict(self), file, indent=2)
        temporary.replace(run / STATE_FILE)

    @classmethod
    def read(cls, run: Path) -> "State | None":
        """What RUN/servers.json says, or None where there is none."""
        try:
            content = json.loads((run / STATE_FILE).read_text())
            servers = [Server(**server) for server in content.pop("servers")]
            return cls(**content, servers=servers)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise ServerError(
                f"{run / STATE_FILE} is not what `start` writes: {error}. "
                "End the servers by hand, then remove it."
            ) from error


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
        self._children: list[subprocess.Popen[bytes]] = []
        self._state: State | None = None

    @property
    def stac_url(self) -> str:
        """Root of the STAC API."""
        return self._running_state().stac_url

    @property
    def http_url(self) -> str:
        """Base of the files; stands before every relative asset href."""
        return self._running_state().http_url

    @property
    def servers(self) -> tuple[Server, ...]:
        """The processes that run."""
        return tuple(self._running_state().servers)

    @property
    def cluster(self) -> Path:
        """Folder of the PostgreSQL cluster."""
        return Path(self._running_state().cluster)

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
            leave_running: False ends the servers with this process, however it ends.

        Raises:
            MissingProgramError: PostgreSQL, PostGIS, nginx or the `servers` extra is not installed.
            ServerError: servers of this run folder run already, a port is taken, or a server does not start.
            WorldError: `world` has no catalogue, or one that cannot be loaded.
        """
        tools = Tools.installed()
        catalogue = _collections(self.world)
        self.run.mkdir(parents=True, exist_ok=True)
        self._refuse_second_start()
        try:
            self._start(tools, catalogue, leave_running=leave_running)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End every server of this run folder and remove its database; logs stay.

        Raises:
            ServerError: a process could not be ended.
        """
        state = self._state or State.read(self.run)
        if state is None:
            return
        for server in reversed(state.servers):
            # Postgres takes SIGINT for "disconnect clients and end"; SIGTERM would wait for them.
            server.signal(signal.SIGINT if server.name == "postgres" else signal.SIGTERM)
            if not server.ends_within(SECONDS_TO_STOP):
                server.signal(signal.SIGKILL)
        for child in self._children:
            if child.poll() is None:  # begun, but interrupted before it was noted
                child.kill()
            child.wait(SECONDS_TO_STOP)
        left = [server for server in state.servers if not server.ends_within(SECONDS_TO_STOP)]
        if left:
            names = ", ".join(f"{server.name} (process {server.pid})" for server in left)
            raise ServerError(f"every server must end; {names} did not. End it by hand and stop again.")
        _remove_cluster(state.cluster)
        shutil.rmtree(self.run / "nginx-temporary", ignore_errors=True)
        (self.run / STATE_FILE).unlink(missing_ok=True)
        self._children, self._state = [], None

    def requests(self) -> list[Request]:
        """Requests that nginx has answered since the start, oldest first; also after `stop`."""
        log = self.run / "access.log"
        lines = log.read_text().splitlines() if log.exists() else []
        return [Request(**json.loads(line)) for line in lines]

    def searches(self) -> int:
        """Item searches, one a page, that the STAC API has answered since the start; also after `stop`."""
        lines = (self.run / "stac.log").read_text(errors="replace").splitlines()
        return sum('"POST /search ' in line or '"GET /search?' in line for line in lines)

    def _running_state(self) -> State:
        if self._state is None:
            raise ServerError("the servers do not run; start them first")
        return self._state

    def _refuse_second_start(self) -> None:
        earlier = State.read(self.run)
        if earlier is None:
            return
        if any(server.running for server in earlier.servers):
            raise ServerError(
                f"one set of servers a run folder; those of {self.run} still run. "
                "Stop them, or name another --run."
            )
        self.stop()  # what a killed start has left

    def _start(self, tools: "Tools", catalogue: list[Path], *, leave_running: bool) -> None:
        stac_port, http_port = (_free_port(port) for port in self._ports)
        cluster = Path(tempfile.mkdtemp(prefix=CLUSTER_PREFIX))
        self._state = State(f"http://{HOST}:{stac_port}", f"http://{HOST}:{http_port}", str(cluster))
        self._state.write(self.run)
        for log in ("access.log", "nginx-error.log", "nginx.log", "postgres.log", "stac.log"):
            (self.run / log).unlink(missing_ok=True)

        end = None if leave_running else "TERM"
        nginx = self._nginx(tools, http_port)
        self._spawn("nginx", tools.wrapped(nginx, with_parent=end), os.environ.copy())
        database = _make_cluster(tools, cluster)
        postgres = tools.wrapped(
            _postgres(tools, cluster), as_user=tools.database_user, with_parent=end and "INT"
        )
        self._spawn("postgres", postgres, _bare_environment())
        self._await("postgres", lambda: _accepts(database))
        _load(database, catalogue, self.http_url)
        self._spawn("stac", tools.wrapped(_stac_api(stac_port), with_parent=end), _stac_environment(cluster))
        self._await("nginx", lambda: _answers(f"{self.http_url}/.ready"))
        self._await("stac", lambda: _answers(self.stac_url))

    def _nginx(self, tools: "Tools", port: int) -> list[str]:
        # Without it root's workers become "nobody", who cannot read a world in root's folders.
        user = f"user {pwd.getpwuid(os.geteuid()).pw_name};" if os.geteuid() == 0 else ""
        (self.run / "nginx-temporary").mkdir(exist_ok=True)
        configuration = self.run / "nginx.conf"
        configuration.write_text(
            NGINX_CONFIGURATION.format(user=user, run=self.run, world=self.world, host=HOST, port=port)
        )
        return [tools.nginx, "-e", str(self.run / "nginx-error.log"), "-c", str(configuration)]

    def _spawn(self, name: str, command: list[str], environment: dict[str, str]) -> None:
        state = self._running_state()
        with (self.run / f"{name}.log").open("wb") as log:
            child = subprocess.Popen(
                command,
                cwd="/" if name == "postgres" else self.run,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._children.append(child)
        started = _start_time(child.pid)
        if started is not None:
            state.servers.append(Server(name, child.pid, started))
            state.write(self.run)

    def _await(self, name: str, answers: Callable[[], bool]) -> None:
        servers = {server.name: server for server in self.servers}

        def answered_or_ended() -> bool:
            return name not in servers or not servers[name].running or answers()

        in_time = _until(answered_or_ended, SECONDS_TO_START)
        said = _tail(self.run / f"{name}.log")
        if name not in servers or not servers[name].running:
            raise ServerError(f"{name} ended while it started; it said: {said}")
        if not in_time:
            raise ServerError(f"{name} must answer within {SECONDS_TO_START:.0f} s; it said: {said}")


@dataclass(frozen=True, slots=True)
class Tools:
    """Where the programs are."""

    nginx: str
    setpriv: str
    postgres: Path
    """Folder of initdb and postgres."""
    database_user: tuple[int, int] | None
    """User and group that PostgreSQL runs as where we are root, whom it refuses; None for everybody else."""

    @classmethod
    def installed(cls) -> "Tools":
        """Find every program and package, before anything is started.

        Raises:
            MissingProgramError: naming everything that is missing, and what installs it.
        """
        path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
        nginx, setpriv = shutil.which("nginx", path=path), shutil.which("setpriv", path=path)
        versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
        absent = []
        if nginx is None:
            absent.append("nginx (Debian package nginx-light or nginx)")
        if setpriv is None:
            absent.append("setpriv (Debian package util-linux)")
        if not versions:
            absent.append("PostgreSQL (Debian packages postgresql and postgresql-postgis)")
        elif not _has_postgis(versions[-1].parts[-3]):
            absent.append(f"PostGIS (Debian package postgresql-{versions[-1].parts[-3]}-postgis-3)")
        modules = ("psycopg", "psycopg_pool", "pypgstac", "stac_fastapi.pgstac", "uvicorn")
        missing = [module for module in modules if not _importable(module)]
        if missing:
            absent.append(f"the Python modules {', '.join(missing)} (pip install 'gl10m[servers]')")
        if nginx is None or setpriv is None or absent:
            raise MissingProgramError(f"local servers need programs that are not here: {'; '.join(absent)}.")
        return cls(nginx, setpriv, versions[-1].parent, _database_user())

    def wrapped(
        self, command: list[str], *, as_user: tuple[int, int] | None = None, with_parent: str | None = None
    ) -> list[str]:
        """A command run as somebody else, or with a signal when its parent ends; its pid stays the same."""
        options = []
        if as_user:
            options += [f"--reuid={as_user[0]}", f"--regid={as_user[1]}", "--clear-groups"]
        if with_parent:
            options += ["--pdeathsig", with_parent]
        return [self.setpriv, *options, *command] if options else command


def _has_postgis(version: str) -> bool:
    return Path(f"/usr/share/postgresql/{version}/extension/postgis.control").exists()


def _importable(module: str) -> bool:
    with contextlib.suppress(ModuleNotFoundError):
        return importlib.util.find_spec(module) is not None
    return False


def _database_user() -> tuple[int, int] | None:
    if os.geteuid() != 0:
        return None
    try:
        user = pwd.getpwnam("postgres")
    except KeyError as error:
        raise MissingProgramError(
            "PostgreSQL refuses to run as root and there is no user postgres; "
            "the Debian package postgresql makes one."
        ) from error
    return user.pw_uid, user.pw_gid


def _collections(world: Path) -> list[Path]:
    found = sorted(world.glob("stac/*/collection.json"))
    if not found:
        raise WorldError(
            f"a world has stac/COLLECTION/collection.json; {world} has none. "
            "Make one with `gl10m world --out`."
        )
    if '"' in str(world) or "$" in str(world):
        raise WorldError(f'nginx cannot serve a folder with " or $ in its name: {world}')
    return [collection.parent for collection in found]


def _make_cluster(tools: Tools, cluster: Path) -> str:
    """Initialise a cluster without TCP; its socket lies in a folder that only its owner (and root) may enter.

    It lies in the system's temporary folder: a socket's path is at most 107 bytes long, and PostgreSQL's user
    may not enter root's folders.
    """
    if tools.database_user:
        os.chown(cluster, *tools.database_user)
    command = [str(tools.postgres / "initdb"), "--pgdata", str(cluster / "data"), "--username", "postgres"]
    command += ["--auth-local=trust", "--auth-host=reject", "--encoding=UTF8", "--locale=C", "--no-sync"]
    command = tools.wrapped(command, as_user=tools.database_user)
    done = subprocess.run(
        command, env=_bare_environment(), cwd="/", capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ServerError(f"initdb failed: {done.stderr.strip()[-500:]}")
    return f"host={cluster} user=postgres dbname=postgres"


def _postgres(tools: Tools, cluster: Path) -> list[str]:
    # The cluster lives as long as a test: nothing is gained by waiting for the disk.
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(cluster),
        "unix_socket_permissions": "0700",
        "fsync": "off",
        "full_page_writes": "off",
        "synchronous_commit": "off",
        "max_connections": "30",
        "shared_buffers": "64MB",
        "jit": "off",
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return [str(tools.postgres / "postgres"), "-D", str(cluster / "data"), *options]


def _stac_api(port: int) -> list[str]:
    command = [sys.executable, "-m", "uvicorn", "stac_fastapi.pgstac.app:create_app", "--factory"]
    return [*command, "--host", HOST, "--port", str(port), "--no-use-colors"]


def _bare_environment() -> dict[str, str]:
    """Nothing of the user's own settings, which could point at another database."""
    return {"PATH": os.environ.get("PATH", ""), "LC_ALL": "C", "TZ": "UTC"}


def _stac_environment(cluster: Path) -> dict[str, str]:
    database = {
        "PGUSER": "postgres",
        "PGPASSWORD": "",
        # The server writes it into a URL, where a folder must be quoted.
        "PGHOST": str(cluster).replace("/", "%2F"),
        "PGPORT": "5432",
        "PGDATABASE": "postgres",
    }
    modules = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    return _bare_environment() | modules | database


def _load(database: str, catalogue: list[Path], http_url: str) -> None:
    """Make the pgstac schema and load every collection of the world.

    Raises:
        WorldError: a file of the catalogue is not JSON, or pgstac refuses its content.
    """
    import psycopg  # noqa: PLC0415 - the extra is needed only where servers are started
    from pypgstac.db import PgstacDB  # noqa: PLC0415
    from pypgstac.load import Loader, Methods  # noqa: PLC0415
    from pypgstac.migrate import Migrate  # noqa: PLC0415

    with PgstacDB(dsn=database) as db:
        Migrate(db).run_migration()
        loader = Loader(db)
        for folder in catalogue:
            try:
                loader.load_collections(iter([_json(folder / "collection.json")]), Methods.insert)
                loader.load_items(_served_items(folder / "items.ndjson", http_url), Methods.insert)
            except psycopg.Error as error:
                raise WorldError(f"pgstac refuses the catalogue in {folder}: {error}") from error


def _json(path: Path) -> Any:  # noqa: ANN401 - any JSON
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise WorldError(f"{path} is not JSON: {error}") from error


def _served_items(path: Path, http_url: str) -> Iterator[dict[str, Any]]:
    """Items of one collection, relative asset hrefs made absolute."""
    with path.open() as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                item = json.loads(line)
                for asset in item["assets"].values():
                    if "://" not in asset["href"]:
                        asset["href"] = f"{http_url}/{asset['href'].lstrip('/')}"
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise WorldError(f"{path}, line {number}: not a STAC item: {error!r}") from error
            yield item


def _accepts(database: str) -> bool:
    import psycopg  # noqa: PLC0415 - the extra is needed only where servers are started

    try:
        psycopg.connect(database, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _answers(url: str) -> bool:
    """Whether an HTTP server answers, be it with a refusal."""
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - an http URL made here
            return True
    except urllib.request.HTTPError as error:
        with error:
            return error.code < http.client.INTERNAL_SERVER_ERROR
    except (OSError, http.client.HTTPException):
        return False


def _free_port(wanted: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, wanted))
        except OSError as error:
            raise ServerError(
                f"port {wanted} of {HOST} is taken ({error}); name another one, or 0."
            ) from error
        return int(probe.getsockname()[1])


def _start_time(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot, None where it does not run."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])


def _remove_cluster(folder: str) -> None:
    cluster = Path(folder)
    if cluster.parent == Path(tempfile.gettempdir()) and cluster.name.startswith(CLUSTER_PREFIX):
        shutil.rmtree(cluster, ignore_errors=True)


def _tail(log: Path) -> str:
    return log.read_text(errors="replace").strip()[-800:] or "nothing"


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait for a condition; False where it did not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _end_on_termination(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - a signal handler's signature
    sys.exit(128 + number)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="A STAC API and nginx over a world folder, on the loopback.")
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start", help="start all servers and print the URL of the STAC API")
    start.add_argument("--world", type=Path, required=True, help="folder that `gl10m world` has written")
    start.add_argument("--stac-port", type=int, default=0, help="0 (default): a free one")
    start.add_argument("--http-port", type=int, default=0, help="0 (default): a free one")
    for command in (start, commands.add_parser("stop"), commands.add_parser("status")):
        command.add_argument("--run", type=Path, required=True, help="folder for logs and servers.json")
    return parser


def _print_status(run: Path) -> int:
    state = State.read(run)
    if state is None:
        print(f"no servers in {run}")
        return 1
    for server in state.servers:
        print(f"{server.name:<9} process {server.pid:<8} {'runs' if server.running else 'does not run'}")
    up = {state.stac_url: _answers(state.stac_url), state.http_url: _answers(f"{state.http_url}/.ready")}
    for url, answered in up.items():
        print(f"{url} {'answers' if answered else 'does not answer'}")
    return 0 if all(up.values()) and all(server.running for server in state.servers) else 1


def main() -> int:
    """Run one command; the exit status is 0 where it did what was asked."""
    arguments = _parser().parse_args()
    signal.signal(signal.SIGTERM, _end_on_termination)
    try:
        if arguments.command == "start":
            servers = LocalServers(
                arguments.world, arguments.run, stac_port=arguments.stac_port, http_port=arguments.http_port
            )
            servers.start()
            print(servers.stac_url)
        elif arguments.command == "stop":
            LocalServers(arguments.run, arguments.run).stop()
        else:
            return _print_status(arguments.run)
    except (MissingProgramError, ServerError, WorldError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
