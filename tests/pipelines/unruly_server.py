"""A file server on the loopback that misbehaves as told: one act a request, then it behaves."""

import hashlib
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.loopback import served


@dataclass(frozen=True)
class Act:
    """What the server does at one request for a file that is no .md5, .json or listing."""

    status: int | None = None
    """Answers this status and no body."""
    retry_after: str | None = None
    stop_after: int | None = None
    """Sends so many bytes of the body, then: """
    then: str = "close"
    """close, reset, stall, or drip: a byte now and then."""
    no_ranges: bool = False
    wrong_range: bool = False
    blind: bool = False
    """Sends the range asked for, whatever `If-Range` says, as a careless proxy does."""
    then_offer: bytes | None = None
    """Content that stands in the file's place after this request."""


@dataclass
class Unruly:
    """Files by path, and what to do with the next requests."""

    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    acts: list[Act] = field(default_factory=list)
    asked: list[tuple[str, str | None, int]] = field(default_factory=list)
    """Path, Range header and status of each request for a file."""
    agents: set[str] = field(default_factory=set)
    etags: bool = True
    address: str = ""

    def offer(self, path: str, content: bytes, *, md5: str | None = None) -> str:
        """Put a file and its MD5 on the server; returns its address."""
        self.files[path] = content
        digest = md5 or hashlib.md5(content, usedforsecurity=False).hexdigest()
        self.files[f"{path}.md5"] = f"{digest}  {path.rpartition('/')[2]}\n".encode()
        return self.address + path

    def sent(self, path: str) -> list[tuple[str | None, int]]:
        """Range and status of the requests for one file."""
        return [(span, status) for name, span, status in self.asked if name == path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    world: Unruly

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""

    def do_GET(self) -> None:
        world = self.world
        world.agents.add(self.headers.get("User-Agent", ""))
        if self.path in world.redirects:
            self._head(302, {"Location": world.redirects[self.path], "Content-Length": "0"})
            return
        content = world.files.get(self.path)
        small = self.path.endswith((".md5", ".json", "/"))
        act = world.acts.pop(0) if world.acts and not small else Act()
        if content is None or act.status is not None:
            status = act.status or 404
            self._note(status)
            more = {"Retry-After": act.retry_after} if act.retry_after else {}
            self._head(status, {"Content-Length": "0", **more})
            return
        self._send(content, act)

    def _send(self, content: bytes, act: Act) -> None:
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        named = {"ETag": etag} if self.world.etags else {}
        if named and self.headers.get("If-None-Match") == etag:
            self._note(304)
            self._head(304, named)
            return
        span = self.headers.get("Range")
        first, status, more = 0, 200, dict(named)
        if (
            span
            and not act.no_ranges
            and (act.wrong_range or act.blind or self.headers.get("If-Range") == etag)
        ):
            first, status = int(span.removeprefix("bytes=").rstrip("-")), 206
            shown = first + 1 if act.wrong_range else first
            more["Content-Range"] = f"bytes {shown}-{len(content) - 1}/{len(content)}"
        self._note(status)
        self._head(status, {"Content-Length": str(len(content) - first), **more})
        if act.then_offer is not None:
            self.world.files[self.path] = act.then_offer
        body = content[first:]
        self.wfile.write(body if act.stop_after is None else body[: act.stop_after])
        for byte in body[act.stop_after :][:40] if act.then == "drip" else b"":
            self.wfile.write(bytes([byte]))
            time.sleep(0.05)
        if act.stop_after is not None:
            self._break(act.then)

    def _break(self, how: str) -> None:
        self.wfile.flush()
        self.close_connection = True
        if how == "stall":
            time.sleep(1.0)
        if how == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            time.sleep(0.05)
            self.connection.close()

    def _note(self, status: int) -> None:
        self.world.asked.append((self.path, self.headers.get("Range"), status))

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was cut off is what these tests are about."""


@contextmanager
def unruly_server() -> Iterator[Unruly]:
    """Run the server in a thread on a free port."""
    world = Unruly()
    handler = type("Handler", (_Handler,), {"world": world})
    with served(_Server(("127.0.0.1", 0), handler)) as world.address:
        yield world
