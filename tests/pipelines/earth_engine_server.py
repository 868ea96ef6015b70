"""Earth Engine on the loopback: what the real client needs of it, with its limits, and faults on demand.

It answers the discovery document, the list of functions, listings and pixel requests in the encodings of the
service, to whoever brings a token that it gave for a signed assertion.
"""

import io
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import ee
import numpy as np
import rasterio
import shapely
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import jwt
from google.auth.exceptions import GoogleAuthError

from tests.loopback import served
from tests.pipelines.earth_engine_graph import Asset, Band, Evaluation, GraphError, Grid, Raster
from tests.pipelines.imagery_server import Fault

NAIP, SENTINEL2 = "USDA/NAIP/DOQQ", "COPERNICUS/S2_SR_HARMONIZED"
PUBLIC = "projects/earthengine-public/assets/"
ACCOUNT = "builder@gl10m-test.iam.gserviceaccount.com"
ALGORITHMS = (Path(ee.__file__).parent / "tests" / "algorithms.json").read_bytes()
"""The signatures of Earth Engine's functions, as the client library's own tests keep them."""


ROWS = 335
"""Rows computed at a time, so that their arrays stay small."""


@dataclass(frozen=True)
class Asked:
    """One request."""

    number: int
    path: str
    body: dict[str, Any]
    authorization: str
    arrived: float

    @property
    def grid(self) -> Grid:
        return Grid.of(self.body["grid"])


@dataclass
class EarthEngine:
    """What is served. Change it while the server runs."""

    assets: dict[str, Asset] = field(default_factory=dict)
    fault: Callable[[Asked], Fault | None] = lambda _: None
    requests: list[Asked] = field(default_factory=list)
    most_bytes: int = 48 << 20
    longest_side: int = 32_768
    most_bands: int = 1024
    url: str = ""
    most_at_once: int = 0
    """Requests that were under way together."""
    under_way: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    computing: threading.Lock = field(default_factory=threading.Lock)
    """One at a time: rasterio hides its own warnings in a way that threads disturb."""
    mistakes: list[str] = field(default_factory=list)
    """What the server itself could not do; `serving` fails by it."""
    key: rsa.RSAPrivateKey = field(default_factory=lambda: rsa.generate_private_key(65537, 2048))

    def add(self, *assets: Asset) -> None:
        self.assets |= {asset.name: asset for asset in assets}

    def asked(self, part: str) -> list[Asked]:
        """Requests whose path holds this."""
        return [request for request in self.requests if part in request.path]

    def write_key(self, path: Path) -> Path:
        """A service account's key file, as the Cloud console gives it."""
        pem = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        about = {
            "type": "service_account",
            "project_id": "gl10m-test",
            "private_key_id": "1",
            "private_key": pem.decode(),
            "client_email": ACCOUNT,
            "client_id": "1",
            "token_uri": f"{self.url}/token",
        }
        path.write_text(json.dumps(about))
        return path

    def environment(self, key: Path) -> dict[str, str]:
        """What a user would set; nothing else on the network is reached."""
        return {
            "EARTHENGINE_URL": self.url,
            "EARTHENGINE_PROJECT": "gl10m-test",
            "GOOGLE_APPLICATION_CREDENTIALS": str(key),
            "NO_GCE_CHECK": "true",
            "https_proxy": "http://127.0.0.1:9",
            "no_proxy": "127.0.0.1",
        }


@contextmanager
def serving(world: EarthEngine) -> Iterator[EarthEngine]:
    """Serve on a free port of the loopback."""
    with served(_Server(world)) as world.url:
        yield world
    assert not world.mistakes, world.mistakes


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, world: EarthEngine) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.world = world

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is no news."""


class _RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._respond({})

    def do_POST(self) -> None:
        sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        form = self.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded")
        if self.headers.get("X-HTTP-Method-Override") == "GET":  # a GET too long for an address
            self.path = f"{self.path}?{sent.decode()}"
            self._respond({})
        elif form:
            self._respond({name: values[0] for name, values in parse_qs(sent.decode()).items()})
        else:
            self._respond(json.loads(sent))

    def _respond(self, body: dict[str, Any]) -> None:
        world = self.server.world
        path = urlsplit(self.path).path
        with world.lock:
            request = Asked(
                len(world.requests), path, body, self.headers.get("Authorization", ""), time.monotonic()
            )
            world.requests.append(request)
            world.under_way += 1
            world.most_at_once = max(world.most_at_once, world.under_way)
        try:
            self._meet(world, request)
        finally:
            with world.lock:
                world.under_way -= 1

    def _meet(self, world: EarthEngine, request: Asked) -> None:
        fault = world.fault(request)
        if fault is not None and fault.hang_up_after is None:
            self._send(fault.status, fault.body, fault.headers)
            return
        try:
            content = self._answer(world, request)
        except _RefusedError as refused:
            self._send(*refusal(refused.status, str(refused)))
        except Exception as error:  # noqa: BLE001 - the client is told at once, and the test fails
            world.mistakes.append(repr(error))
            self._send(*refusal(400, f"the loopback service failed: {error!r}"))
        else:
            self._send(200, content, {}, None if fault is None else fault.hang_up_after)

    def _answer(self, world: EarthEngine, request: Asked) -> bytes:
        if request.path == "/token":
            return _token(world, request)
        if not request.authorization.startswith("Bearer ya29."):
            raise _RefusedError(401, "Request is missing required authentication credential.")
        if request.path == "/$discovery/rest":
            return json.dumps(discovery(world.url)).encode()
        if request.path.endswith("/algorithms"):
            return ALGORITHMS
        if request.path.endswith(":listAssets"):
            return _listing(world, request, parse_qs(urlsplit(self.path).query))
        if request.path.endswith("/image:computePixels"):
            with world.computing:
                return _pixels(world, request)
        raise _RefusedError(404, "Not found")

    def _send(
        self, status: int, body: bytes, headers: dict[str, str], hang_up_after: int | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if hang_up_after is not None:
            body, self.close_connection = body[:hang_up_after], True
        self.wfile.write(body)


def refusal(status: int, message: str, retry_after: str | None = None) -> tuple[int, bytes, dict[str, str]]:
    """An error as Earth Engine writes it."""
    body = json.dumps({"error": {"code": status, "message": message, "status": "REFUSED"}}).encode()
    more = {} if retry_after is None else {"Retry-After": retry_after}
    return status, body, {"Content-Type": "application/json", **more}


def _token(world: EarthEngine, request: Asked) -> bytes:
    """An access token for an assertion that our key has signed."""
    public = world.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    try:
        claims = jwt.decode(  # type: ignore[no-untyped-call]
            request.body["assertion"], certs=public, audience="https://oauth2.googleapis.com/token"
        )
    except (GoogleAuthError, ValueError) as error:
        raise _RefusedError(400, "invalid_grant") from error
    assert claims["iss"] == ACCOUNT
    assert claims["scope"] == "https://www.googleapis.com/auth/earthengine.readonly"
    token = {"access_token": f"ya29.SECRET{request.number}", "expires_in": 3600, "token_type": "Bearer"}
    return json.dumps(token).encode()


def _listing(world: EarthEngine, request: Asked, query: dict[str, list[str]]) -> bytes:
    """One page of the images of a collection that a filter lets through."""
    collection = request.path.split(f"/v1/{PUBLIC}")[1].removesuffix(":listAssets")
    asked = query["filter"][0]
    (since,) = re.findall(r'startTime >= "([^"]*)"', asked)
    (until,) = re.findall(r'endTime < "([^"]*)"', asked)
    (region,) = re.findall(r'intersects\("(.*)"\)', asked)
    ground = shapely.from_geojson(region.replace("'", '"'))
    found = [
        asset.about
        for name, asset in sorted(world.assets.items())
        if name.startswith(f"{collection}/")
        and asset.about["startTime"] >= since
        and asset.about["endTime"] < until
        and shapely.intersects(shapely.geometry.shape(asset.about["geometry"]), ground)
    ]
    start, size = int(query.get("pageToken", ["0"])[0]), int(query["pageSize"][0])
    page: dict[str, Any] = {"assets": found[start : start + size]}
    if start + size < len(found):
        page["nextPageToken"] = str(start + size)
    return json.dumps(page).encode()


def _pixels(world: EarthEngine, request: Asked) -> bytes:
    """Pixels in NumPy's format, within the limits of the service."""
    if request.body["fileFormat"] != "NPY":
        raise _RefusedError(400, f"Invalid file format {request.body['fileFormat']}")
    grid = request.grid
    if max(grid.width, grid.height) > world.longest_side:
        raise _RefusedError(
            400,
            f"Pixel grid dimensions ({grid.width}x{grid.height}) must be less than or equal to "
            f"{world.longest_side}.",
        )
    expression = request.body["expression"]

    def computed(part: Grid) -> dict[str, Band]:
        return Evaluation(expression["values"], part, world.assets).result(expression["result"])

    try:
        kinds = [(name, band.kind) for name, band in computed(replace(grid, width=1, height=1)).items()]
    except GraphError as error:
        raise _RefusedError(400, str(error)) from error
    # A mask counts as a byte of every band.
    size = grid.width * grid.height * sum(np.dtype(kind).itemsize + 1 for _, kind in kinds)
    if size > world.most_bytes or len(kinds) > world.most_bands:
        raise _RefusedError(
            400,
            f"Total request size ({size} bytes) must be less than or equal to {world.most_bytes} bytes.",
        )
    pixels = np.zeros((grid.height, grid.width), kinds)
    for top in range(0, grid.height, ROWS):
        north = grid.north + top * grid.north_step
        rows = slice(top, min(top + ROWS, grid.height))
        for name, band in computed(replace(grid, north=north, height=rows.stop - top)).items():
            pixels[name][rows] = np.where(band.mask > 0, band.values, 0)
    written = io.BytesIO()
    np.save(written, pixels)
    return written.getvalue()


def discovery(url: str) -> dict[str, Any]:
    """The part of the API's own description that the client needs for what is asked here."""

    def method(name: str, verb: str, path: str, place: str, *query: str) -> dict[str, Any]:
        parameters: dict[str, Any] = {
            place: {"type": "string", "location": "path", "required": True, "pattern": "^projects/.*$"}
        }
        parameters |= {each: {"type": "string", "location": "query"} for each in query}
        parameters |= {"pageSize": {"type": "integer", "location": "query"}} if "pageToken" in query else {}
        body = {"request": {"$ref": "Anything"}} if verb == "POST" else {}
        return {
            "id": f"earthengine.{name}",
            "httpMethod": verb,
            "path": f"v1/{path}",
            "parameters": parameters,
            "parameterOrder": [place],
            "response": {"$ref": "Anything"},
            **body,
        }

    listing = method(
        "projects.assets.listAssets", "GET", "{+parent}:listAssets", "parent", "filter", "view", "pageToken"
    )
    listing["response"] = {"$ref": "Page"}
    return {
        "kind": "discovery#restDescription",
        "discoveryVersion": "v1",
        "id": "earthengine:v1",
        "name": "earthengine",
        "version": "v1",
        "protocol": "rest",
        "rootUrl": f"{url}/",
        "baseUrl": f"{url}/",
        "servicePath": "",
        "batchPath": "batch",
        "parameters": {
            "prettyPrint": {"type": "boolean", "location": "query"},
            "alt": {"type": "string", "location": "query"},
        },
        "schemas": {
            "Anything": {"id": "Anything", "type": "object"},
            "Page": {
                "id": "Page",
                "type": "object",
                "properties": {"nextPageToken": {"type": "string"}},
            },
        },
        "resources": {
            "projects": {
                "resources": {
                    "algorithms": {
                        "methods": {
                            "list": method(
                                "projects.algorithms.list", "GET", "{+parent}/algorithms", "parent"
                            )
                        }
                    },
                    "assets": {"methods": {"listAssets": listing}},
                    "image": {
                        "methods": {
                            "computePixels": method(
                                "projects.image.computePixels",
                                "POST",
                                "{+project}/image:computePixels",
                                "project",
                            )
                        }
                    },
                }
            }
        },
    }


def naip_asset(item: dict[str, Any], path: Path) -> Asset:
    """A NAIP quad as Earth Engine has it, from the item of another catalogue and its raster."""
    day = item["properties"]["datetime"][:10]
    rasters = {name: Raster(path, band) for band, name in enumerate("RGBN", 1)}
    about = {
        "id": f"{NAIP}/{item['id']}",
        "startTime": f"{day}T00:00:00Z",
        "endTime": f"{np.datetime64(day) + 1}T00:00:00Z",
        "properties": {"system:index": item["id"]},
    }
    return Asset(_told(about, item, rasters), rasters)


def sentinel2_asset(item: dict[str, Any], folder: Path) -> Asset:
    """A Sentinel-2 granule as Earth Engine has it: harmonised, with no-data masked."""
    told = item["properties"]
    offset = 1000 if told["s2:processing_baseline"] >= "04.00" else 0
    rasters = {
        band: Raster(folder / item["assets"][key]["href"].rpartition("/")[2], offset=offset, nodata=0)
        for band, key in (("B4", "B04"), ("B3", "B03"), ("B2", "B02"))
    }
    rasters["SCL"] = Raster(folder / item["assets"]["SCL"]["href"].rpartition("/")[2], nodata=0)
    sensed = datetime.fromisoformat(told["datetime"])
    made = datetime.fromisoformat(told["s2:generation_time"])
    name = f"{sensed:%Y%m%dT%H%M%S}_{made:%Y%m%dT%H%M%S}_T{told['s2:mgrs_tile']}"
    about = {
        "id": f"{SENTINEL2}/{name}",
        "startTime": told["datetime"],
        "endTime": told["datetime"],
        "properties": {
            "CLOUDY_PIXEL_PERCENTAGE": told["eo:cloud_cover"],
            "MGRS_TILE": told["s2:mgrs_tile"],
            "PROCESSING_BASELINE": told["s2:processing_baseline"],
            "GENERATION_TIME": round(made.timestamp() * 1000),
        },
    }
    return Asset(_told(about, item, rasters), rasters)


def _told(about: dict[str, Any], item: dict[str, Any], rasters: dict[str, Raster]) -> dict[str, Any]:
    bands = []
    for name, raster in rasters.items():
        with rasterio.open(raster.path) as opened:
            affine = opened.transform
            grid = {
                "crsCode": f"EPSG:{opened.crs.to_epsg()}",
                "dimensions": {"width": opened.width, "height": opened.height},
                "affineTransform": {
                    "scaleX": affine.a,
                    "translateX": affine.c,
                    "scaleY": affine.e,
                    "translateY": affine.f,
                },
            }
        bands.append({"id": name, "dataType": {"precision": "INT"}, "grid": grid})
    return {
        "type": "IMAGE",
        "name": f"{PUBLIC}{about['id']}",
        "geometry": item["geometry"],
        "bands": bands,
        **about,
    }


def assets_of_world(folder: Path) -> list[Asset]:
    """All images of a rendered world, by the same rasters that its STAC catalogue names."""
    assets = []
    for collection, make in (("naip", naip_asset), ("sentinel-2-l2a", sentinel2_asset)):
        for line in (folder / "stac" / collection / "items.ndjson").read_text().splitlines():
            item = json.loads(line)
            first = folder / next(iter(item["assets"].values()))["href"]
            assets.append(make(item, first if collection == "naip" else first.parent))
    return assets
