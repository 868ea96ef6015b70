"""What a run folder knows of its servers: servers.json, and a lock for the time of a start."""

import contextlib
import dataclasses
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from scripts.local_servers import postgres
from scripts.local_servers.errors import ServerError
from scripts.local_servers.process import Server

STATE_FILE = "servers.json"
LOCK_FILE = "start.lock"


@dataclass(slots=True)
class State:
    """What runs: the content of servers.json, rewritten at every step so that `stop` can undo any of them."""

    stac_url: str
    http_url: str
    cluster: str
    """Folder of the PostgreSQL cluster; removed by `stop`."""
    servers: list[Server] = field(default_factory=list)
    ready: bool = False
    """Whether every server answers; a start that was killed leaves False."""

    def write(self, run: Path) -> None:
        """Write RUN/servers.json, readable by its owner alone."""
        temporary = run / f".{STATE_FILE}.tmp"
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(dataclasses.asdict(self), file, indent=2)
        temporary.replace(run / STATE_FILE)

    @classmethod
    def read(cls, run: Path) -> "State | None":
        """What RUN/servers.json says, or None where there is none.

        Raises:
            ServerError: it says something else than `start` writes.
        """
        try:
            content = json.loads((run / STATE_FILE).read_text(encoding="utf-8"))
            servers = [Server(**server) for server in content.pop("servers")]
            state = cls(**content, servers=servers)
            postgres.refuse_strange(state.cluster)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ServerError(
                f"{run / STATE_FILE} is not what `start` writes: {error}. "
                "End the servers by hand, then remove it."
            ) from error
        return state

    @staticmethod
    def remove(run: Path) -> None:
        """Forget the servers of a run folder."""
        (run / STATE_FILE).unlink(missing_ok=True)


@contextlib.contextmanager
def starting(run: Path) -> Iterator[None]:
    """Keep a run folder for one start; the lock ends with the process that holds it, however that ends.

    Raises:
        ServerError: another process starts servers in it.
    """
    with (run / LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ServerError(
                f"one start at a time in a run folder; another process starts servers in {run}. "
                "Wait for it, or name another --run."
            ) from error
        yield
