"""Starts and stops real servers for a world folder: a STAC API over PostgreSQL, and nginx for the pixels.

    python -m scripts.local_servers start --world WORLD --run RUN
    python -m scripts.local_servers status --run RUN
    python -m scripts.local_servers stop --run RUN

Tests use the same thing as a context manager: `with LocalServers(world, run) as servers: servers.stac_url`.
What it needs, what it writes and what it leaves behind stand in docs/local-servers.md.
"""

from scripts.local_servers.errors import MissingProgramError, ServerError, WorldError
from scripts.local_servers.nginx import Request
from scripts.local_servers.process import Server
from scripts.local_servers.servers import LocalServers
from scripts.local_servers.state import State

__all__ = ["LocalServers", "MissingProgramError", "Request", "Server", "ServerError", "State", "WorldError"]
