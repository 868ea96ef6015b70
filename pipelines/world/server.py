"""Serves a world on the loopback: its catalogue as a STAC API, its rasters with Range requests.

Small on purpose, for the embedded demo. The same folder can be put behind any STAC server and any web server.
"""

import contextlib
import json
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from pipelines.world.catalogue import NAIP, SENTINEL2, STAC_VERSION, Item
from pipelines.world.item_search import BadQueryError, ItemIndex, chosen, parse

CONFORMANCE = (
    "https://api.stacspec.org/v1.0.0/core",
    "https://api.stacspec.org/v1.0.0/collections",
    "https://api.stacspec.org/v1.0.0/ogcapi-features",
    "https://api.stacspec.org/v1.0.0/item-search",
    "https://api.stacspec.org/v1.0.0/item-search#fields",
    "https://api.stacspec.org/v1.0.0/item-search#query",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/core",
    "http://www.opengis.net/spec/ogcapi-features-1/1.0/conf/geojson",
)
"""What the API can do, by the names of the specification."""

MOST_BODY_BYTES = 1_000_000
"""A search with a longer body is refused."""

IDLE_SECONDS = 60
"""A connection that says nothing for so long is closed."""

POLL_SECONDS = 0.05
"""How long the server takes at most to see that it is to stop."""

_ONE_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_JSON, _GEOJSON = "application/json", "application/geo+json"


class WorldNotFoundError(FileNotFoundError):
    """A folder holds no world."""


@contextlib.contextmanager
def serve(world: Path, host: str = "127.0.0.1", port: int = 0) -> Iterator[str]:
    """Serve a world while the block runs.

    Args:
        world: folder written by `render_world` or `demo_world`.
        host: address to listen on.
        port: port to listen on; 0 lets the system choose.

    Yields:
        The address of the API, without a slash at the end.

    Raises:
        WorldNotFoundError: the folder holds no catalogue.
        OSError: the port is taken.
    """
    server = _Server((host, port), _Catalogue(world))
    thread = threading.Thread(
        target=server.serve_forever, args=(POLL_SECONDS,), name="world server", daemon=True
    )
    thread.start()
    try:
        yield server.address
    finally:
        server.shutdown()
        server.hang_up()
        server.server_close()
        thread.join()


class _Catalogue:
    """What the server knows of a world."""

    def __init__(self, world: Path) -> None:
        self.collections: dict[str, Item] = {}
        items: list[Item] = []
        for name in (NAIP, SENTINEL2):
            folder = world / "stac" / name
            try:
                about = (folder / "collection.json").read_text(encoding="utf-8")
                lines = (folder / "items.ndjson").read_text(encoding="utf-8").splitlines()
            except FileNotFoundError as error:
                raise WorldNotFoundError(
                    f"a world has stac/{name}/collection.json and items.ndjson; {world} has not. "
                    "Write one with `gl10m world --osm FILE --out DIR`."
                ) from error
            self.collections[name] = json.loads(about)
            items += [json.loads(line) for line in lines]
        self.items = ItemIndex(items)
        self.files = _files(world.resolve(), items)


def _files(world: Path, items: list[Item]) -> dict[str, Path]:
    """The rasters that the items name, by the path of the request: nothing else is ever opened."""
    hrefs = {str(asset["href"]) for item in items for asset in item["assets"].values()}
    found = {f"/{href}": (world / href).resolve() for href in hrefs}
    return {name: path for name, path in found.items() if path.is_relative_to(world)}


class _Server(ThreadingHTTPServer):
    """Remembers its connections, so that it can end them."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], catalogue: _Catalogue) -> None:
        super().__init__(address, _Handler)
        self.catalogue = catalogue
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        self.address = f"http://{host}:{self.server_address[1]}"
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as in socketserver
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:  # noqa: ANN401 - as in socketserver
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - as in socketserver
        """A client that went away is no news."""

    def hang_up(self) -> None:
        """End the connections that are still open."""
        with self._lock:
            waiting = list(self._open)
        for connection in waiting:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = IDLE_SECONDS
    server: _Server

    def do_GET(self) -> None:
        """Answer a question of the API, or send a raster."""
        address = urlsplit(self.path)
        path = unquote(address.path)
        if path in self.server.catalogue.files:
            self._send_file(self.server.catalogue.files[path])
            return
        self._answer(path.rstrip("/"), dict(parse_qsl(address.query)))

    do_HEAD = do_GET  # noqa: N815 - the name that http.server calls

    def do_POST(self) -> None:
        """Answer a search."""
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > MOST_BODY_BYTES:
            self.close_connection = True  # the body stays unread
            self._refuse(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE if length.isdigit() else HTTPStatus.LENGTH_REQUIRED,
                f"a search has a body of at most {MOST_BODY_BYTES} bytes and says its length",
            )
            return
        body = self.rfile.read(int(length))
        if urlsplit(self.path).path.rstrip("/") != "/search":
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, "only /search takes a body")
            return
        try:
            given = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            self._refuse(HTTPStatus.BAD_REQUEST, "the body of a search is JSON")
            return
        if not isinstance(given, dict):
            self._refuse(HTTPStatus.BAD_REQUEST, "the body of a search is a JSON object")
            return
        self._search(given, posted=True)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in http.server
        """Keep quiet."""

    def _answer(self, path: str, given: dict[str, str]) -> None:
        parts = path.strip("/").split("/") if path else []
        collections = self.server.catalogue.collections
        match parts:
            case []:
                self._send(_landing(self.server.address, collections))
            case ["conformance"]:
                self._send({"conformsTo": CONFORMANCE})
            case ["collections"]:
                links = [{"rel": "self", "type": _JSON, "href": f"{self.server.address}/collections"}]
                self._send({"collections": [self._absolute(c) for c in collections.values()], "links": links})
            case ["collections", name] if name in collections:
                self._send(self._absolute(collections[name]))
            case ["collections", name, "items"] if name in collections:
                self._search({**given, "collections": name}, posted=False)
            case ["collections", name, "items", item] if name in collections:
                self._one(name, item)
            case ["search"]:
                self._search(given, posted=False)
            case _:
                self._refuse(HTTPStatus.NOT_FOUND, "there is nothing here")

    def _one(self, collection: str, item: str) -> None:
        found, _ = self.server.catalogue.items.find(parse({"collections": [collection], "ids": [item]}))
        if found:
            self._send(self._absolute(found[0]), _GEOJSON)
        else:
            self._refuse(HTTPStatus.NOT_FOUND, f"{collection} has no such item")

    def _search(self, given: Mapping[str, Any], *, posted: bool) -> None:
        try:
            query = parse(given)
            found, matched = self.server.catalogue.items.find(query)
        except (BadQueryError, RecursionError) as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
            return
        links: list[dict[str, Any]] = [{"rel": "root", "type": _JSON, "href": self.server.address}]
        after = query.offset + len(found)
        if found and after < matched:
            following = {**given, "token": str(after)}
            search = f"{self.server.address}/search"
            link = {"rel": "next", "type": _GEOJSON, "method": "POST" if posted else "GET"}
            links.append(
                {**link, "href": search, "body": following}
                if posted
                else {**link, "href": f"{search}?{urlencode(following)}"}
            )
        answer = {
            "type": "FeatureCollection",
            "features": [self._absolute(chosen(item, query.fields)) for item in found],
            "links": links,
            "numberMatched": matched,
            "numberReturned": len(found),
        }
        self._send(answer, _GEOJSON)

    def _absolute(self, about: Mapping[str, Any]) -> Item:
        """An item or a collection with this server's address before its hrefs."""
        base = self.server.address
        placed = dict(about)
        if "links" in about:
            placed["links"] = [
                {**link, "href": base if link["href"] == "." else f"{base}/{link['href']}"}
                for link in about["links"]
            ]
        if "assets" in about:
            placed["assets"] = {
                key: {**asset, "href": f"{base}/{asset['href']}"} for key, asset in about["assets"].items()
            }
        return placed

    def _send(self, answer: object, kind: str = _JSON, status: HTTPStatus = HTTPStatus.OK) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._send({"code": status.phrase, "description": why}, status=status)

    def _send_file(self, path: Path) -> None:
        try:
            file = path.open("rb")
        except OSError:
            self._refuse(HTTPStatus.NOT_FOUND, "the raster is gone")
            return
        with file:
            size = path.stat().st_size
            try:
                part = requested_range(self.headers.get("Range"), size)
            except IndexError:
                self.send_response(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
                self.send_header("Content-Range", f"bytes */{size}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            first, last = part or (0, size - 1)
            self.send_response(HTTPStatus.PARTIAL_CONTENT if part else HTTPStatus.OK)
            if part:
                self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Type", "image/tiff")
            self.send_header("Content-Length", str(last - first + 1))
            self.send_header("Last-Modified", formatdate(path.stat().st_mtime, usegmt=True))
            self.end_headers()
            if self.command != "HEAD" and last >= first:
                self.connection.sendfile(file, first, last - first + 1)


def requested_range(header: str | None, size: int) -> tuple[int, int] | None:
    """First and last byte of a Range header.

    Args:
        header: its value; None where the request has none.
        size: bytes of the file.

    Returns:
        Both ends included; None where the whole file is to be sent, which is also the answer to a header that
        asks for several ranges or is not understood.

    Raises:
        IndexError: the range lies beyond the file.
    """
    asked = _ONE_RANGE.fullmatch(header.strip()) if header else None
    if asked is None or asked.groups() == ("", ""):
        return None
    begin, end = asked.groups()
    if begin == "":
        first, last = max(0, size - int(end)), size - 1
    else:
        first, last = int(begin), min(int(end), size - 1) if end else size - 1
        if end and int(end) < first:
            return None
    if first >= size or last < first:
        raise IndexError(f"the file has {size} bytes; asked for {header}")
    return first, last


def _landing(address: str, collections: Mapping[str, Item]) -> Item:
    """The API's first page, which says where everything is."""
    links = [
        {"rel": "self", "type": _JSON, "href": address},
        {"rel": "root", "type": _JSON, "href": address},
        {"rel": "conformance", "type": _JSON, "href": f"{address}/conformance"},
        {"rel": "data", "type": _JSON, "href": f"{address}/collections"},
        {"rel": "search", "type": _GEOJSON, "href": f"{address}/search", "method": "GET"},
        {"rel": "search", "type": _GEOJSON, "href": f"{address}/search", "method": "POST"},
        *(
            {"rel": "child", "type": _JSON, "href": f"{address}/collections/{name}"}
            for name in sorted(collections)
        ),
    ]
    return {
        "type": "Catalog",
        "id": "gl10m-world",
        "stac_version": STAC_VERSION,
        "title": "A rendered world",
        "description": "Imagery rendered from OpenStreetMap polygons.",
        "conformsTo": list(CONFORMANCE),
        "links": links,
    }
