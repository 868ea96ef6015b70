"""Sockets of the loopback: one that listens before its server begins, and whether a server answers on it."""

import http.client
import socket
import urllib.request

from scripts.local_servers.errors import ServerError

HOST = "127.0.0.1"


def listening(port: int) -> socket.socket:
    """A socket that listens on HOST, for a server to inherit: nobody can take its port in between.

    Args:
        port: its number; 0 takes a free one.

    Raises:
        ServerError: the port cannot be had.
    """
    server = socket.socket()
    try:
        # A port that was just given back may be had again.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((HOST, port))
        server.listen(511)
    except OSError as error:
        server.close()
        raise ServerError(
            f"port {port} of {HOST} is taken or forbidden ({error}); name another one, or 0 for a free one."
        ) from error
    return server


def url_of(server: socket.socket) -> str:
    """Root of an HTTP server on a socket."""
    host, port = server.getsockname()
    return f"http://{host}:{port}"


def answers(url: str) -> bool:
    """Whether an HTTP server answers, be it with a refusal; no proxy of the user's is asked."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(url, timeout=2):
            return True
    except urllib.request.HTTPError as error:
        with error:
            return error.code < http.client.INTERNAL_SERVER_ERROR
    except (OSError, http.client.HTTPException):
        return False
