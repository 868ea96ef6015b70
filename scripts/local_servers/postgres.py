"""A PostgreSQL cluster of our own: where it lies, what makes it, what runs it, and that it goes again.

It lies in the system's temporary folder, where only its owner (and root) may enter it: a socket's path is at
most 107 bytes long, and PostgreSQL's user may not enter root's folders. It listens on that socket alone.
"""

import os
import secrets
import shutil
import tempfile
from pathlib import Path

from scripts.local_servers.errors import ServerError
from scripts.local_servers.process import until
from scripts.local_servers.tools import Tools

PREFIX = "gl10m-postgres-"
PORT = 5432
"""Names the socket; nothing listens on TCP."""

LONGEST_SOCKET = 107
"""Bytes of a Unix socket's path at most, `sun_path` without its closing zero."""

SECONDS_TO_REMOVE = 5.0

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    # The cluster lives as long as a test: nothing is gained by waiting for the disk.
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "30",
    "shared_buffers": "64MB",
    "jit": "off",
}


def new_folder() -> Path:
    """Where a cluster will lie; not made yet, so that it can be noted before there is anything to remove.

    Raises:
        ServerError: the path of its socket would be too long, or have a comma in it.
    """
    folder = Path(tempfile.gettempdir()).resolve() / f"{PREFIX}{secrets.token_hex(4)}"
    socket = folder / f".s.PGSQL.{PORT}"
    length = len(os.fsencode(socket))
    if length > LONGEST_SOCKET:
        raise ServerError(
            f"the path of a Unix socket has {LONGEST_SOCKET} bytes at most; {socket} has {length}. "
            "Set TMPDIR to a folder with a shorter path."
        )
    if "," in str(folder):
        raise ServerError(
            f"PostgreSQL's clients take a comma for the end of a path; {folder} has one. "
            "Set TMPDIR to a folder without."
        )
    return folder


def make_folder(tools: Tools, cluster: Path) -> None:
    """Make the folder of a cluster, for its user alone."""
    cluster.mkdir(mode=0o700)
    if tools.database_user:
        os.chown(cluster, *tools.database_user)


def initdb(tools: Tools, cluster: Path) -> list[str]:
    """The command that makes a cluster."""
    command = [str(tools.postgres / "initdb"), "--pgdata", str(cluster / "data"), "--username", "postgres"]
    return [
        *command,
        "--auth-local=trust",
        "--auth-host=reject",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
    ]


def server(tools: Tools, cluster: Path) -> list[str]:
    """The command that serves a cluster."""
    # It is a list of folders; quotes keep a space from being read as its punctuation.
    folder = '"' + str(cluster).replace('"', '""') + '"'
    settings = SETTINGS | {"unix_socket_directories": folder, "port": str(PORT)}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    return [str(tools.postgres / "postgres"), "-D", str(cluster / "data"), *options]


def address(cluster: Path) -> str:
    """How libpq finds the database, whatever PGPORT or PGOPTIONS the user has set."""
    from psycopg.conninfo import make_conninfo  # noqa: PLC0415 - the extra is needed only where servers start

    return str(make_conninfo(host=str(cluster), port=PORT, user="postgres", dbname="postgres", options=""))


def accepts(database: str) -> bool:
    """Whether the server takes connections yet."""
    import psycopg  # noqa: PLC0415 - the extra is needed only where servers start

    try:
        psycopg.connect(database, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def refuse_strange(cluster: str) -> None:
    """Refuse to take a folder for a cluster that was not named here; it would be removed.

    Raises:
        ValueError: it is none of ours.
    """
    path = Path(cluster)
    if not path.is_absolute() or not path.name.startswith(PREFIX):
        raise ValueError(f"a cluster is an absolute path whose name begins with {PREFIX}, not {cluster!r}")


def remove(cluster: Path) -> None:
    """Remove a cluster whose server has ended; what it leaves for a moment longer may still write.

    Raises:
        ServerError: it is still there.
    """

    def gone() -> bool:
        shutil.rmtree(cluster, ignore_errors=True)
        return not os.path.lexists(cluster)

    if not until(gone, SECONDS_TO_REMOVE):
        raise ServerError(f"the database in {cluster} cannot be removed. Remove it by hand, then stop again.")
