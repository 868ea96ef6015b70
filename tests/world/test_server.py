"""The embedded server, asked by the clients that will ask it."""

import http.client
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from pystac_client import Client

from pipelines.world.server import MOST_BODY_BYTES, WorldNotFoundError, requested_range, serve
from tests.world.test_world import items


@pytest.fixture(scope="module")
def address(tiny_world: Path) -> Iterator[str]:
    with serve(tiny_world) as url:
        yield url


def ask(
    address: str, method: str, path: str, body: bytes = b"", **headers: str
) -> tuple[int, dict[str, str], bytes]:
    where = urlsplit(address)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=20)
    try:
        connection.request(method, path, body or None, {k.replace("_", "-"): v for k, v in headers.items()})
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()


def raster_of(world: Path, collection: str = "naip") -> tuple[str, bytes]:
    href = next(iter(items(world, collection)[0]["assets"].values()))["href"]
    return f"/{href}", (world / href).read_bytes()


def test_pystac_client_finds_the_items(address: str, tiny_world: Path) -> None:
    client = Client.open(address)
    assert {collection.id for collection in client.get_collections()} == {"naip", "sentinel-2-l2a"}
    everything = items(tiny_world, "sentinel-2-l2a")
    for method in ("POST", "GET"):
        search = client.search(method=method, collections=["sentinel-2-l2a"], limit=2)
        assert search.matched() == len(everything)
        assert sorted(item.id for item in search.items()) == sorted(item["id"] for item in everything)
    clear = client.search(
        collections=["sentinel-2-l2a"],
        bbox=[-97.17, 31.32, -97.16, 31.33],
        datetime="2023-01-01/2023-12-31",
        query={"eo:cloud_cover": {"lt": 10}},
    )
    assert {item.datetime.month for item in clear.items() if item.datetime} == {5, 8}
    assert not list(client.search(collections=["naip"], bbox=[0, 0, 1, 1]).items())
    point = {"type": "Point", "coordinates": [-97.16, 31.33]}
    (found,) = client.search(collections=["naip"], intersects=point).items()
    assert found.assets["image"].href.startswith(f"{address}/imagery/naip/")
    self_link = found.get_single_link("self")
    assert self_link is not None
    status, _, body = ask(address, "GET", urlsplit(str(self_link.href)).path)
    assert (status, json.loads(body)["id"]) == (200, found.id)


def test_gdal_reads_what_lies_on_the_disk(address: str, tiny_world: Path) -> None:
    path, _ = raster_of(tiny_world)
    window = rasterio.windows.Window(300, 500, 200, 100)
    with (
        rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR"),
        rasterio.open(f"/vsicurl/{address}{path}", driver="GTiff") as remote,
        rasterio.open(tiny_world / path[1:], driver="GTiff") as local,
    ):
        assert np.array_equal(remote.read(window=window), local.read(window=window))
        assert remote.overviews(1) == local.overviews(1)


def test_several_gdal_processes_read_at_once(address: str, tiny_world: Path) -> None:
    path, _ = raster_of(tiny_world)
    script = (
        "import sys, rasterio\n"
        "with rasterio.open('/vsicurl/' + sys.argv[1], driver='GTiff') as raster:\n"
        "    print(int(raster.read().astype('u8').sum()))"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", script, address + path], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    sums = {run.communicate(timeout=120)[0].strip() for run in runs}
    with rasterio.open(tiny_world / path[1:], driver="GTiff") as local:
        assert sums == {str(int(local.read().astype("u8").sum()))}


@pytest.mark.parametrize(
    ("asked", "part"),
    [("bytes=0-0", (0, 1)), ("bytes=10-19", (10, 20)), ("bytes=-7", (-7, None)), ("bytes=100-", (100, None))],
)
def test_ranges(address: str, tiny_world: Path, asked: str, part: tuple[int, int | None]) -> None:
    path, content = raster_of(tiny_world, "sentinel-2-l2a")
    status, headers, body = ask(address, "GET", path, Range=asked)
    expected = content[part[0] : part[1]]
    first = content.index(expected, max(0, len(content) - 7) if part[0] < 0 else part[0])
    assert (status, body) == (206, expected)
    assert headers["Content-Range"] == f"bytes {first}-{first + len(expected) - 1}/{len(content)}"


def test_whole_files_heads_and_ranges_beyond_the_end(address: str, tiny_world: Path) -> None:
    path, content = raster_of(tiny_world, "sentinel-2-l2a")
    status, headers, body = ask(address, "GET", path)
    assert (status, body, headers["Accept-Ranges"]) == (200, content, "bytes")
    status, headers, body = ask(address, "HEAD", path)
    assert (status, body, headers["Content-Length"]) == (200, b"", str(len(content)))
    status, headers, body = ask(address, "GET", path, Range=f"bytes={len(content)}-")
    assert (status, body, headers["Content-Range"]) == (416, b"", f"bytes */{len(content)}")
    assert ask(address, "GET", path, Range="bytes=0-1,5-6")[0] == 200


@given(st.binary(min_size=1, max_size=40), st.integers(0, 50), st.integers(0, 50))
def test_a_range_is_a_slice(content: bytes, first: int, last: int) -> None:
    size = len(content)
    if last < first:
        assert requested_range(f"bytes={first}-{last}", size) is None
    elif first >= size:
        with pytest.raises(IndexError):
            requested_range(f"bytes={first}-{last}", size)
    else:
        assert requested_range(f"bytes={first}-{last}", size) == (first, min(last, size - 1))
    if last:
        begin, end = requested_range(f"bytes=-{last}", size) or (0, 0)
        assert content[begin : end + 1] == content[-last:]


@pytest.mark.parametrize(
    "path",
    [
        "/../../etc/passwd",
        "/imagery/../regions/TX.finished",
        "/imagery/naip/../../regions/TX.finished",
        "/imagery/%2e%2e/regions/TX.finished",
        "//etc/passwd",
        "/imagery/naip/%00",
        "/imagery/naip/",
        "/imagery",
        "/regions/TX.finished",
        "/collections/nothing",
        "/collections/naip/items/nothing",
    ],
)
def test_nothing_but_the_catalogue_and_its_rasters_is_served(address: str, path: str) -> None:
    status, _, body = ask(address, "GET", path)
    assert status == 404
    assert b"root:" not in body


def test_bad_searches_are_refused_in_words(address: str) -> None:
    cases: list[tuple[bytes, int]] = [
        (b"{", 400),
        (b"[]", 400),
        (b'{"bbox": [1]}', 400),
        (b"[" * 100_000, 400),
    ]
    for body, expected in cases:
        status, _, answer = ask(address, "POST", "/search", body)
        assert status == expected
        assert json.loads(answer)["description"]
    assert ask(address, "POST", "/search", b"{}", Content_Length=str(MOST_BODY_BYTES + 1))[0] == 413
    assert ask(address, "POST", "/search", b"{}", Content_Length="-1")[0] == 411
    assert ask(address, "POST", "/collections", b"{}")[0] == 405
    assert ask(address, "GET", "/search?bbox=1,2,3")[0] == 400


def test_one_connection_carries_many_requests(address: str) -> None:
    where = urlsplit(address)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=20)
    ports = set()
    for _ in range(5):
        connection.request("POST", "/search", json.dumps({"limit": 1}))
        assert json.loads(connection.getresponse().read())["numberReturned"] == 1
        ports.add(connection.sock.getsockname()[1])
    connection.close()
    assert len(ports) == 1


def test_the_server_stops_though_a_connection_is_open(tiny_world: Path) -> None:
    with serve(tiny_world) as url:
        where = urlsplit(url)
        waiting = socket.create_connection((where.hostname or "", where.port or 0))
        waiting.sendall(b"GET /conformance HTTP/1.1\r\nHost: x\r\n\r\n")
        assert waiting.recv(100).startswith(b"HTTP/1.1 200")
    waiting.settimeout(20)
    while waiting.recv(4096):
        pass
    waiting.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((where.hostname or "", where.port or 0))


def test_an_item_that_points_out_of_the_world_is_not_served(tmp_path: Path) -> None:
    secret = tmp_path / "secret.tif"
    secret.write_bytes(b"secret")
    world = tmp_path / "world"
    about: dict[str, Any] = {"id": "naip", "links": []}
    item = {
        "id": "a",
        "collection": "naip",
        "links": [],
        "geometry": {"type": "Point", "coordinates": [0, 0]},
        "properties": {"datetime": "2023-01-01T00:00:00Z"},
        "assets": {"image": {"href": "../secret.tif"}},
    }
    for name in ("naip", "sentinel-2-l2a"):
        (world / "stac" / name).mkdir(parents=True)
        (world / "stac" / name / "collection.json").write_text(json.dumps(about))
        (world / "stac" / name / "items.ndjson").write_text(json.dumps(item) + "\n" if name == "naip" else "")
    with serve(world) as url:
        assert ask(url, "GET", "/../secret.tif")[0] == 404
        assert ask(url, "GET", "/search")[0] == 200


def test_a_folder_that_is_no_world_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorldNotFoundError, match="gl10m world"), serve(tmp_path):
        pass
