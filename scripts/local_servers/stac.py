"""The STAC API, stac-fastapi-pgstac under uvicorn: its command, its environment, and what its log tells."""

import os
import socket
import sys
from pathlib import Path
from urllib.parse import quote

from scripts.local_servers import postgres
from scripts.local_servers.tools import bare_environment

PROGRAM = """\
import socket, sys, uvicorn
configuration = uvicorn.Config("stac_fastapi.pgstac.app:create_app", factory=True, use_colors=False)
uvicorn.Server(configuration).run(sockets=[socket.socket(fileno=int(sys.argv[1]))])
"""
"""`uvicorn --fd` takes any socket for a Unix one, and then leaves small answers waiting for one another."""


def command(server: socket.socket) -> list[str]:
    """The command that serves on an inherited socket."""
    return [sys.executable, "-c", PROGRAM, str(server.fileno())]


def environment(cluster: Path) -> dict[str, str]:
    """Where its database is, and nothing of the user's own settings but where Python looks for modules."""
    database = {
        "PGUSER": "postgres",
        "PGPASSWORD": "",
        # The server writes it into a URL, where a folder must be quoted.
        "PGHOST": quote(str(cluster), safe=""),
        "PGPORT": str(postgres.PORT),
        "PGDATABASE": "postgres",
    }
    modules = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    return bare_environment() | modules | database


def searches(log: Path) -> int:
    """Item searches in a log, one a page; none where there is no log."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return sum('"POST /search ' in line or '"GET /search?' in line for line in lines)
