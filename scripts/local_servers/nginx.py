"""nginx over a world folder: its configuration, its command, and what its access log tells."""

import json
import os
import pwd
import socket
from dataclasses import dataclass
from pathlib import Path

from scripts.local_servers.ports import HOST
from scripts.local_servers.tools import Tools, bare_environment

READY = "/.ready"
"""A path that answers with nothing, and of which the log tells nothing."""

CONFIGURATION = """\
{user}
daemon off;
worker_processes 1;
pid "{run}/nginx.pid";
error_log "{run}/nginx-error.log" warn;
events {{ worker_connections 256; }}
http {{
    log_format requests escape=json
        '{{"method":"$request_method","path":"$uri","status":$status,"range":"$http_range","sent":$body_bytes_sent}}';
    access_log "{run}/access.log" requests;
    client_body_temp_path "{run}/nginx-temporary";
    proxy_temp_path "{run}/nginx-temporary";
    fastcgi_temp_path "{run}/nginx-temporary";
    uwsgi_temp_path "{run}/nginx-temporary";
    scgi_temp_path "{run}/nginx-temporary";
    types {{ image/tiff tif; application/json json; application/x-ndjson ndjson; }}
    default_type application/octet-stream;
    keepalive_requests 100000;
    server {{
        listen {host}:{port};
        root "{world}";
        disable_symlinks on from=$document_root;
        location = {ready} {{ access_log off; return 204; }}
        location / {{ limit_except GET {{ deny all; }} }}
    }}
}}
"""

UNSPEAKABLE = '"$\\'
"""Characters that mean something else inside of nginx's quotes."""


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


def speakable(folder: Path) -> bool:
    """Whether nginx's configuration can name a folder."""
    return not any(character in str(folder) for character in UNSPEAKABLE)


def configure(run: Path, world: Path, server: socket.socket) -> Path:
    """Write RUN/nginx.conf and make the folder that it needs; gives its path."""
    # Without it root's workers become "nobody", who cannot read a world in root's folders.
    user = f"user {pwd.getpwuid(os.geteuid()).pw_name};" if os.geteuid() == 0 else ""
    (run / "nginx-temporary").mkdir(exist_ok=True)
    port = server.getsockname()[1]
    text = CONFIGURATION.format(user=user, run=run, world=world, host=HOST, port=port, ready=READY)
    (run / "nginx.conf").write_bytes(os.fsencode(text))
    return run / "nginx.conf"


def command(tools: Tools, configuration: Path) -> list[str]:
    """The command that serves what a configuration says."""
    return [tools.nginx, "-e", str(configuration.parent / "nginx-error.log"), "-c", str(configuration)]


def environment(server: socket.socket) -> dict[str, str]:
    """Its environment; NGINX names sockets that it takes over, as when it is upgraded while it runs."""
    return bare_environment() | {"NGINX": f"{server.fileno()};"}


def requests(log: Path) -> list[Request]:
    """What an access log tells, oldest first; nothing where there is none."""
    # Lines of bytes: a path is what a client has sent, in any encoding and with any separator of text.
    lines = log.read_bytes().splitlines() if log.exists() else []
    return [Request(**json.loads(line.decode(errors="replace"))) for line in lines]
