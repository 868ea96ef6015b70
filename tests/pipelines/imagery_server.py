"""A small web server on the loopback: STAC item search, files by Range requests, and faults on demand."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from shapely.geometry import shape

from tests.loopback import served

CONFORMS = [
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/item-search",
    "https://api.stacspec.org/v1.0.0/collections",
]


@dataclass(frozen=True)
class Request:
    """What was asked."""

    number: int
    method: str
    path: str
    range: str | None
    key: str | None = None
    """The subscription key that came with it."""
    query: str = ""
    """Signatures arrive here."""


@dataclass(frozen=True)
class Fault:
    """What the server does instead of answering."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    """One that is empty is not sent."""
    hang_up_after: int | None = None
    """Bytes of the right answer to send before the connection is cut."""
    flip: bool = False
    """Whether a bit in the middle of the right answer is another one."""
    stall: float = 0.0
    """Seconds before the answer."""


@dataclass
class World:
    """What is served. Change it while the server runs."""

    files: dict[str, bytes] = field(default_factory=dict)
    """By path, without a leading slash."""
    items: list[dict[str, Any]] = field(default_factory=list)
    """STAC items; hrefs may be relative to the root."""
    fault: Callable[[Request], Fault | None] = lambda _: None
    requests: list[Request] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    """Query strings of file requests: signatures arrive here."""
    etags: dict[str, str] = field(default_factory=dict)
    """By path: marks of versions, sent with the files that have one."""
    sent: int = 0
    """Bytes of files sent."""
    url: str = ""


@contextmanager
def serving(world: World) -> Iterator[World]:
    """Serve a world on a free port of the loopback."""
    with served(_Server(world)) as world.url:
        yield world


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, world: World) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.world = world

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._file()

    def do_GET(self) -> None:
        if self.path.split("?")[0] == "/":
            self._json(_landing(self.server.world))
        else:
            self._file()

    def do_POST(self) -> None:
        world = self.server.world
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = Request(len(world.requests), "POST", self.path.strip("/"), None)
        world.requests.append(request)
        fault = world.fault(request)
        if fault is None:
            self._json(_page(world, asked))
        else:
            self._answer(fault.status, fault.body, fault.headers)

    def _json(self, value: object) -> None:
        self._answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response_only(status)
        for name, value in {"Date": self.date_time_string(), **headers}.items():
            if value:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _file(self) -> None:
        world = self.server.world
        path, _, query = self.path.partition("?")
        if path.startswith("http://"):  # asked as a proxy
            path = path.split("/", 3)[3]
        request = Request(
            len(world.requests),
            self.command,
            path.strip("/"),
            self.headers.get("Range"),
            self.headers.get("Ocp-Apim-Subscription-Key"),
            query,
        )
        world.requests.append(request)
        world.queries.append(query)
        fault, body = world.fault(request), world.files.get(request.path)
        time.sleep(fault.stall if fault else 0.0)
        if fault is not None and fault.hang_up_after is None and not fault.flip:
            self._answer(fault.status, fault.body, fault.headers)
        elif body is None:
            self._answer(404, b"", {})
        else:
            self._part(request, body, fault)

    def _part(self, request: Request, body: bytes, fault: Fault | None) -> None:
        start, _, end = (request.range or "bytes=0-").removeprefix("bytes=").partition("-")
        first, last = int(start), min(int(end or len(body)), len(body) - 1)
        self.send_response(206 if request.range else 200)
        self.send_header("Accept-Ranges", "bytes")
        if request.range:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(body)}")
        if etag := self.server.world.etags.get(request.path):
            self.send_header("ETag", etag)
        self.send_header("Content-Length", str(last - first + 1))
        self.end_headers()
        part = b"" if self.command == "HEAD" else body[first : last + 1]
        if fault is not None and fault.flip and part:
            middle = len(part) // 2
            part = part[:middle] + bytes([part[middle] ^ 1]) + part[middle + 1 :]
        elif fault is not None:
            part, self.close_connection = part[: fault.hang_up_after], True
        self.server.world.sent += len(part)
        self.wfile.write(part)


def _landing(world: World) -> dict[str, Any]:
    return {
        "type": "Catalog",
        "id": "loopback",
        "stac_version": "1.0.0",
        "description": "A world on the loopback",
        "conformsTo": CONFORMS,
        "links": [
            {"rel": "self", "href": world.url, "type": "application/json"},
            {"rel": "root", "href": world.url, "type": "application/json"},
            {
                "rel": "search",
                "href": f"{world.url}/search",
                "type": "application/geo+json",
                "method": "POST",
            },
        ],
    }


def _page(world: World, asked: dict[str, Any]) -> dict[str, Any]:
    first, last = (day[:10] for day in asked["datetime"].split("/"))
    west, south, east, north = shape(asked["intersects"]).bounds
    found = [
        item
        for item in world.items
        if item.get("collection") in asked["collections"]
        and first <= item["properties"]["datetime"][:10] <= last
        and item["bbox"][0] <= east
        and west <= item["bbox"][2]
        and item["bbox"][1] <= north
        and south <= item["bbox"][3]
    ]
    start = int(asked.get("token", 0))
    end = start + asked["limit"]
    links = []
    if end < len(found):
        links.append(
            {
                "rel": "next",
                "href": f"{world.url}/search",
                "method": "POST",
                "body": {**asked, "token": str(end)},
            }
        )
    page = json.loads(json.dumps(found[start:end]))
    for item in page:
        for asset in item.get("assets", {}).values():
            if "://" not in asset["href"] and not asset["href"].startswith("/"):
                asset["href"] = f"{world.url}/{asset['href']}"
    return {"type": "FeatureCollection", "features": page, "links": links}
