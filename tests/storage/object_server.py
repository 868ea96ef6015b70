"""A real S3 server process on the loopback, and a proxy before it that counts and refuses requests."""

import contextlib
import http.client
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO

from gl10m.storage.place import BucketPath

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "canary-secret",
    "AWS_REGION": "us-east-1",
}

Fault = Callable[[str, str], int | None]
"""Takes method and path of a request and gives the status to refuse it with, or None to let it pass."""


class Proxy(ThreadingHTTPServer):
    """Hands requests on to a server, one by one."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind = port
        self.away = False
        """Whether it takes no connection, and hangs up on those it has."""
        self.requests: list[tuple[str, str, int]] = []
        """Method, path and bytes of the answer's body."""
        self.fault: Fault | None = None
        self.after: Fault | None = None
        """As `fault`, but the request has been carried out."""
        self.kept_back: set[str] = set()
        """Headers, in small letters, that do not reach the server."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def serve(self) -> None:
        """Listen, in a thread of its own."""
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def leave_for(self, seconds: float) -> None:
        """Be gone for a while, as a store whose host is down, and come back under the same address."""
        self.away = True
        self.shutdown()
        self.socket.close()
        time.sleep(seconds)
        self.socket = socket.socket(self.address_family, self.socket_type)
        self.server_bind()
        self.server_activate()
        self.away = False
        self.serve()

    def forget(self) -> None:
        self.requests.clear()
        self.fault, self.after, self.kept_back = None, None, set()

    def sent(self, method: str) -> list[tuple[str, int]]:
        """Paths and body bytes of the requests of one method, in order."""
        return [(path, size) for own, path, size in self.requests if own == method]

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed hangs up."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _pass(self) -> None:
        body = self._body()
        if self.server.away:
            self.close_connection = True
            return
        status = self.server.fault(self.command, self.path) if self.server.fault else None
        if status is not None:
            self._answer(status, b"<Error><Code>SlowDown</Code></Error>", {})
            return
        behind = http.client.HTTPConnection("127.0.0.1", self.server.behind, timeout=60)
        try:
            headers = {
                name: value
                for name, value in self.headers.items()
                if name.lower() not in {"connection", *self.server.kept_back}
            }
            behind.request(self.command, self.path, body, headers)
            answer = behind.getresponse()
            content = answer.read()
        finally:
            behind.close()
        self.server.requests.append((self.command, self.path, len(content)))
        lost = self.server.after(self.command, self.path) if self.server.after else None
        if lost is not None:
            self._answer(lost, b"", {})
            return
        self._answer(answer.status, content, dict(answer.getheaders()))

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("content-length") or 0))

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in {"content-length", "connection", "transfer-encoding"}:
                self.send_header(name, value)
        length = (
            headers.get("Content-Length", str(len(content))) if self.command == "HEAD" else str(len(content))
        )
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _pass  # noqa: N815 - http.server's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's signature
        """Say nothing."""


@contextlib.contextmanager
def object_server() -> Iterator[Proxy]:
    """An S3 server behind a proxy."""
    # It takes a free port itself: one that is looked for here could be another's by the time it starts.
    command = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", "0"]
    with (
        tempfile.TemporaryFile() as words,
        subprocess.Popen(command, stdout=words, stderr=words) as server,
    ):
        try:
            proxy = Proxy(_port(server, words))
            proxy.serve()
            yield proxy
            proxy.shutdown()
            proxy.server_close()
        finally:
            server.terminate()


def make_bucket(proxy: Proxy, name: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", proxy.behind, timeout=30)
    connection.request("PUT", f"/{name}")
    assert connection.getresponse().status == 200
    connection.close()


def _port(server: "subprocess.Popen[bytes]", words: IO[bytes]) -> int:
    """The port that the server says it listens at."""
    until = time.monotonic() + 60
    while True:
        said = os.pread(words.fileno(), 1 << 16, 0)  # its own place in the file is where the server writes
        if found := re.search(rb"http://127\.0\.0\.1:(\d+)", said):
            return int(found[1])
        assert server.poll() is None, f"the S3 server ended: {said!r}"
        assert time.monotonic() < until, f"the S3 server does not start: {said!r}"
        time.sleep(0.05)


def publish(folder: Path, root: BucketPath) -> None:
    """Publish the data set of a folder in a bucket."""
    with root.root.held():
        files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        named = {str(path.relative_to(folder)): path for path in files}
        root.root.commit({name: root.root.upload(name, path) for name, path in named.items()}, set())
