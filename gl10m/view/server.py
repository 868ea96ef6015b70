"""Serves the viewer on this machine alone."""

import logging
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import unquote, urlsplit

from gl10m.storage.client import StorageError
from gl10m.store.layout import StoreError
from gl10m.view.site import POLICY, Site

HOST: Final = "127.0.0.1"
"""The loopback: nobody else on the network can ask."""

SECONDS: Final = 30
"""A connection that is silent for so long is closed."""

_LOG = logging.getLogger("gl10m")


class ViewServer(ThreadingHTTPServer):
    """A server of one site. Close it with `server_close`."""

    daemon_threads = True

    def __init__(self, site: Site, port: int = 0) -> None:
        """Listen.

        Args:
            site: what to serve.
            port: of the loopback; any free one if 0.

        Raises:
            OSError: the port is taken.
        """
        self.site = site
        super().__init__((HOST, port), _Handler)

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://{HOST}:{self.server_port}/"

    def is_ours(self, host: str | None) -> bool:
        """Whether a Host header names this server.

        A page of another site could point a name of its own at 127.0.0.1 and read the data set through the
        user's browser (DNS rebinding); its requests would carry that name.
        """
        return host in {f"{HOST}:{self.server_port}", f"localhost:{self.server_port}"}


class _Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD by the site's own table of names."""

    server: ViewServer
    timeout = SECONDS
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "gl10m", ""

    def do_GET(self) -> None:
        """Answer a request."""
        if not self.server.is_ours(self.headers.get("Host")):
            self._say(HTTPStatus.MISDIRECTED_REQUEST, "this server answers to 127.0.0.1 and localhost alone")
            return
        name = unquote(urlsplit(self.path).path).removeprefix("/") or "index.html"
        try:
            answer = self.server.site.answer(name)
        except (OSError, StoreError, StorageError) as error:
            _LOG.warning("%s", error)
            self._say(HTTPStatus.INTERNAL_SERVER_ERROR, str(error))
            return
        if answer is None:
            self._say(HTTPStatus.NOT_FOUND, "the viewer has no such file")
            return
        self._send(HTTPStatus.OK, answer.kind, answer.content)

    def do_HEAD(self) -> None:
        """Answer a request for the headers alone."""
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        """Say nothing of every request."""

    def _say(self, status: HTTPStatus, words: str) -> None:
        self._send(status, "text/plain; charset=utf-8", words.encode())

    def _send(self, status: HTTPStatus, kind: str, content: bytes) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(content)),
            "Content-Security-Policy": POLICY,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cross-Origin-Resource-Policy": "same-origin",
            "X-Frame-Options": "DENY",
            "Cache-Control": "no-cache",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)
