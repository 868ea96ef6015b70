"""Real servers on the loopback: what `scripts.local_servers` starts, serves and takes away again."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import rasterio
import shapely
from affine import Affine
from pystac_client import Client
from rasterio.windows import Window

from gl10m.scene import acquisition as days
from pipelines.sources.imagery import Sensor
from pipelines.sources.items import item_table
from pipelines.sources.stac import StacImagery
from scripts.local_servers import LocalServers, Server, ServerError, State, WorldError

ROOT = Path(__file__).parents[2]
REAL_CATALOGUE = Path(__file__).parents[3] / "shared/data/stac"
HEEDING_ALL = ("env", "--default-signal=HUP")
"""Before a command: under nohup a terminal that hangs up ends no start, and these tests may run so."""

ORDER = ("nginx", "initdb", "postgres", "stac")
COG = "imagery/naip/ca_m_3712101_ne_10_060_20220501.tif"

pytestmark = pytest.mark.servers


def naip_item(number: int, day: str, west: float) -> dict[str, Any]:
    """An item with the shape of the Planetary Computer's, a tenth of a degree square."""
    bbox = [west, 37.0, west + 0.1, 37.1]
    ring = [[west, 37.0], [west + 0.1, 37.0], [west + 0.1, 37.1], [west, 37.1], [west, 37.0]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "stac_extensions": [],
        "id": f"ca_m_{number}_ne_10_060_{day.replace('-', '')}",
        "collection": "naip",
        "bbox": bbox,
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"datetime": f"{day}T16:00:00Z", "gsd": 0.6, "naip:state": "ca", "naip:year": day[:4]},
        "links": [],
        "assets": {"image": {"href": COG, "type": "image/tiff; application=geotiff", "roles": ["data"]}},
    }


def collection(name: str) -> dict[str, Any]:
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": name,
        "description": "A small world",
        "license": "other",
        "links": [],
        "extent": {"spatial": {"bbox": [[-180, -90, 180, 90]]}, "temporal": {"interval": [[None, None]]}},
    }


def write_catalogue(world: Path, items: list[dict[str, Any]]) -> None:
    folder = world / "stac/naip"
    folder.mkdir(parents=True)
    (folder / "collection.json").write_text(json.dumps(collection("naip")))
    (folder / "items.ndjson").write_text("".join(json.dumps(item) + "\n" for item in items))


def write_cog(path: Path) -> None:
    """2048 x 2048 pixels whose values are noise, so that the tiles are as large as real ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(7).integers(0, 256, (4, 2048, 2048), dtype=np.uint8)
    profile = {"driver": "COG", "dtype": "uint8", "count": 4, "width": 2048, "height": 2048}
    where = {"crs": "EPSG:26910", "transform": Affine(0.6, 0, 600_000, 0, -0.6, 4_100_000)}
    with rasterio.open(path, "w", **profile, **where, blocksize=512, compress="deflate") as raster:
        raster.write(pixels)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven items, each a tenth of a degree east of and a month after the one before; one COG under all."""
    world = tmp_path_factory.mktemp("world")
    write_catalogue(world, [naip_item(i, f"2022-{i:02}-15", round(-122 + 0.1 * i, 1)) for i in range(1, 8)])
    write_cog(world / COG)
    return world


@pytest.fixture(scope="module")
def servers(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServers]:
    with LocalServers(world, tmp_path_factory.mktemp("run")) as running:
        yield running


def item_days(client: Client, **search: Any) -> list[str]:  # noqa: ANN401 - whatever pystac-client takes
    found = client.search(collections=["naip"], **search).items()
    return sorted(item.properties["datetime"][:10] for item in found)


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command as a user types it, in a terminal that has more variables set."""
    words = [sys.executable, "-m", "scripts.local_servers", *arguments]
    surroundings = os.environ | environment
    return subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT, env=surroundings)


@contextlib.contextmanager
def starting(world: Path, run: Path, *, until: str) -> Iterator[tuple[subprocess.Popen[str], State]]:
    """A `start` under way that has come to the process `until`, and what it has noted so far."""
    come = ORDER[ORDER.index(until) :]
    words = [sys.executable, "-m", "scripts.local_servers", "start", "--world", str(world), "--run", str(run)]
    with subprocess.Popen(
        [*HEEDING_ALL, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as start:
        state = None
        while state is None or not any(server.name in come for server in state.servers):
            time.sleep(0.005)
            state = State.read(run)
            assert start.poll() is None
        yield start, state


def nothing_is_left(state: State, run: Path) -> bool:
    ended = wait_until_ended(tuple(state.servers))
    return ended and not Path(state.cluster).exists() and not (run / "servers.json").exists()


def port_is_open(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


def wait_until_ended(processes: tuple[Server, ...]) -> bool:
    return all(server.ends_within(10) for server in processes)


def test_search_by_bounds_and_days(servers: LocalServers) -> None:
    client = Client.open(servers.stac_url)
    assert item_days(client, bbox=[-121.85, 37.01, -121.75, 37.02]) == ["2022-01-15", "2022-02-15"]
    assert item_days(client, datetime="2022-03-01/2022-05-31") == ["2022-03-15", "2022-04-15", "2022-05-15"]
    assert item_days(client, bbox=[10, 37, 11, 38]) == []
    assert item_days(client, query={"naip:year": {"eq": "2023"}}) == []


def test_pages_are_followed_to_the_last_item(servers: LocalServers) -> None:
    client = Client.open(servers.stac_url)
    before = servers.searches()
    pages = [len(page) for page in client.search(collections=["naip"], limit=3).pages_as_dicts()]
    assert len(pages) == servers.searches() - before == 3
    assert len(item_days(client, limit=3)) == 7
    assert len(item_days(client, max_items=2)) == 2


def test_a_window_of_a_cog_comes_by_ranges(servers: LocalServers, world: Path) -> None:
    item = next(Client.open(servers.stac_url).search(collections=["naip"], max_items=1).items())
    href = item.assets["image"].href
    assert href == f"{servers.http_url}/{COG}"

    before = len(servers.requests())
    window = Window(700, 900, 100, 100)
    remote = rasterio.Env(GDAL_DISABLE_READDIR_ON_OPEN="EMPTY_DIR", CPL_VSIL_CURL_ALLOWED_EXTENSIONS=".tif")
    with remote, rasterio.open(href, driver="GTiff") as served:
        pixels = served.read(window=window)
    with rasterio.open(world / COG) as local:
        np.testing.assert_array_equal(pixels, local.read(window=window))

    requests = [request for request in servers.requests()[before:] if request.method == "GET"]
    assert {request.path for request in requests} == {f"/{COG}"}
    assert {request.status for request in requests} == {206}
    assert all(request.range.startswith("bytes=") for request in requests)
    assert 0 < sum(request.sent for request in requests) < (world / COG).stat().st_size / 2


def test_only_the_world_is_served_and_only_read(servers: LocalServers, world: Path, tmp_path: Path) -> None:
    (tmp_path / "private").write_text("not served")
    (world / "link").symlink_to(tmp_path / "private")

    def status(method: str, path: str) -> int:
        connection = http.client.HTTPConnection(servers.http_url.removeprefix("http://"))
        with contextlib.closing(connection):
            connection.request(method, path)
            return connection.getresponse().status

    assert status("GET", "/stac/naip/items.ndjson") == 200
    assert status("GET", "/link") == 403, "a link out of the world"
    assert status("GET", "/../nginx.conf") == 400
    assert status("GET", "/stac/") == 403, "no listing"
    assert status("PUT", "/new") == 403
    assert not (world / "new").exists()


def test_the_command_starts_reports_and_stops(world: Path, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    started = command("start", "--world", str(world), "--run", run)
    assert (started.returncode, started.stderr) == (0, "")
    state = State.read(tmp_path / "run")
    assert state is not None
    assert started.stdout.strip() == state.stac_url
    assert (tmp_path / "run/servers.json").stat().st_mode & 0o777 == 0o600
    assert len(item_days(Client.open(state.stac_url))) == 7
    assert command("status", "--run", run).returncode == 0

    again = command("start", "--world", str(world), "--run", run)
    assert again.returncode == 1
    assert "still run. Stop them" in again.stderr

    stopped = command("stop", "--run", run)
    assert (stopped.returncode, stopped.stderr) == (0, "")
    assert not any(server.running for server in state.servers)
    assert not port_is_open(state.stac_url)
    assert not port_is_open(state.http_url)
    assert not Path(state.cluster).exists()
    assert not (tmp_path / "run/servers.json").exists()
    assert command("status", "--run", run).returncode == 1
    assert command("stop", "--run", run).returncode == 0, "stopping twice does no harm"


def test_a_killed_test_takes_its_servers_along(world: Path, tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path; from scripts.local_servers import LocalServers\n"
        "with LocalServers(Path(sys.argv[1]), Path(sys.argv[2])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    words = [sys.executable, "-c", program, str(world), str(tmp_path)]
    killed = subprocess.run(words, cwd=ROOT, check=False)
    assert killed.returncode == -signal.SIGKILL
    state = State.read(tmp_path)
    assert state is not None
    assert len(state.servers) == 3
    assert wait_until_ended(tuple(state.servers))
    LocalServers(world, tmp_path).stop()
    assert not Path(state.cluster).exists()


def test_a_catalogue_that_cannot_be_loaded_leaves_nothing_behind(tmp_path: Path) -> None:
    item = naip_item(1, "2022-01-15", -122)
    write_catalogue(tmp_path / "world", [item, item | {"assets": None}])
    servers = LocalServers(tmp_path / "world", tmp_path / "run")
    with pytest.raises(WorldError, match=r"items\.ndjson, line 2: not a STAC item"):
        servers.start()
    assert not (tmp_path / "run/servers.json").exists()
    with pytest.raises(ServerError, match="do not run"):
        _ = servers.stac_url


@pytest.mark.parametrize(
    ("until", "number"),
    [
        ("nginx", signal.SIGINT),
        ("initdb", signal.SIGINT),
        ("initdb", signal.SIGTERM),
        ("postgres", signal.SIGTERM),
        ("postgres", signal.SIGHUP),
        ("stac", signal.SIGINT),
    ],
)
def test_an_interrupted_start_leaves_nothing_behind(
    world: Path, tmp_path: Path, until: str, number: signal.Signals
) -> None:
    with starting(world, tmp_path, until=until) as (start, state):
        start.send_signal(number)
        _, said = start.communicate(timeout=60)
    assert (start.returncode, said) == (128 + number, "Interrupted: what had begun was ended.\n")
    assert nothing_is_left(state, tmp_path)
    assert not port_is_open(state.http_url)
    assert not port_is_open(state.stac_url)


def test_impatience_does_not_keep_a_start_from_ending_what_it_began(world: Path, tmp_path: Path) -> None:
    with starting(world, tmp_path, until="postgres") as (start, state):
        while start.poll() is None:
            start.send_signal(signal.SIGINT)
            time.sleep(0.02)
        start.communicate(timeout=60)
    assert nothing_is_left(state, tmp_path)


@pytest.mark.parametrize("until", ORDER)
def test_what_a_killed_start_has_left_is_cleared_by_stop(world: Path, tmp_path: Path, until: str) -> None:
    with starting(world, tmp_path, until=until) as (start, state):
        start.kill()
    assert command("stop", "--run", str(tmp_path)).returncode == 0
    assert nothing_is_left(state, tmp_path)
    assert not port_is_open(state.http_url)


def test_what_a_killed_start_has_left_is_cleared_by_the_next_one(world: Path, tmp_path: Path) -> None:
    with starting(world, tmp_path, until="postgres") as (start, left):
        start.kill()
    assert left.servers[0].running
    with LocalServers(world, tmp_path) as servers:
        assert not any(server.running for server in left.servers)
        assert not Path(left.cluster).exists()
        assert len(item_days(Client.open(servers.stac_url))) == 7


def test_a_start_that_cannot_say_so_is_no_start(world: Path, tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "scripts.local_servers",
        "start",
        "--world",
        str(world),
        "--run",
        str(tmp_path),
    ]
    with subprocess.Popen(
        words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as start:
        assert start.stdout is not None
        start.stdout.close()
        assert start.stderr is not None
        said = start.stderr.read()
    assert start.returncode == 1
    assert "Broken pipe" in said
    assert State.read(tmp_path) is None


def test_a_second_start_does_no_harm_to_one_under_way(world: Path, tmp_path: Path) -> None:
    with starting(world, tmp_path, until="nginx") as (start, state):
        second = command("start", "--world", str(world), "--run", str(tmp_path))
        assert second.returncode == 1
        assert "another process starts servers in" in second.stderr
        said, _ = start.communicate(timeout=120)
    assert (start.returncode, said.strip()) == (0, state.stac_url)
    assert command("status", "--run", str(tmp_path)).returncode == 0
    assert command("stop", "--run", str(tmp_path)).returncode == 0
    assert nothing_is_left(state, tmp_path)


def test_a_server_killed_by_somebody_else_leaves_no_worker_behind(world: Path, tmp_path: Path) -> None:
    with LocalServers(world, tmp_path) as servers:
        (nginx,) = (server for server in servers.servers if server.name == "nginx")
        os.kill(nginx.pid, signal.SIGKILL)
        address = servers.http_url
        assert port_is_open(address), "a worker of nginx outlives its master"
    assert not port_is_open(address)


def test_what_the_user_has_set_changes_nothing(world: Path, tmp_path: Path) -> None:
    """Spaces in every path, a proxy, another database; and the terminal of `stop` is another one."""
    run = str(tmp_path / "a run; of {mine}")
    with tempfile.TemporaryDirectory(prefix="a folder ", dir="/tmp") as temporary:
        Path(temporary).chmod(0o755)
        elsewhere = {
            "http_proxy": "http://127.0.0.1:9",
            "PGPORT": "1",
            "PGHOST": "there",
            "PGOPTIONS": "-c x",
        }
        started = command("start", "--world", str(world), "--run", run, TMPDIR=temporary, **elsewhere)
        assert (started.returncode, started.stderr) == (0, "")
        state = State.read(Path(run))
        assert state is not None
        assert Path(state.cluster).parent == Path(temporary)
        assert len(item_days(Client.open(state.stac_url))) == 7
        assert command("stop", "--run", run).returncode == 0
        assert list(Path(temporary).iterdir()) == []
    assert nothing_is_left(state, Path(run))


def test_requests_of_any_bytes_are_told(servers: LocalServers) -> None:
    with contextlib.closing(
        http.client.HTTPConnection(servers.http_url.removeprefix("http://"))
    ) as connection:
        connection.request("GET", "/%FF%E2%80%A8%22")
        assert connection.getresponse().status == 404
    assert servers.requests()[-1].path == '/\ufffd\u2028"'


@pytest.mark.parametrize("changed", [{"collection": "other"}, {"properties": {}}, {"geometry": "nowhere"}])
def test_an_item_that_pgstac_refuses_is_told(tmp_path: Path, changed: dict[str, Any]) -> None:
    write_catalogue(tmp_path / "world", [naip_item(1, "2022-01-15", -122) | changed])
    refused = command("start", "--world", str(tmp_path / "world"), "--run", str(tmp_path / "run"))
    assert refused.returncode == 1
    assert refused.stderr.startswith("Error: pgstac refuses the catalogue in ")
    assert not (tmp_path / "run/servers.json").exists()


def test_bad_requests_are_refused_before_anything_starts(world: Path, tmp_path: Path) -> None:
    with pytest.raises(WorldError, match="gl10m world --out"):
        LocalServers(tmp_path, tmp_path / "run").start()
    assert not (tmp_path / "run").exists()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ServerError, match=f"port {port} of 127.0.0.1 is taken"):
            LocalServers(world, tmp_path / "run", http_port=port).start()
        with pytest.raises(ServerError, match=f"port {port} of 127.0.0.1 is taken"):
            LocalServers(world, tmp_path / "run", stac_port=port).start()
    with pytest.raises(ServerError, match=f"port {port} of 127.0.0.1 is taken"):
        LocalServers(world, tmp_path / "run", stac_port=port, http_port=port).start()
    assert State.read(tmp_path / "run") is None


def test_missing_packages_are_named_with_their_remedy(world: Path, tmp_path: Path) -> None:
    without_packages = [sys.executable, "-S", "-m", "scripts.local_servers"]
    words = [*without_packages, "start", "--world", str(world), "--run", str(tmp_path / "run")]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 1
    assert "pypgstac, stac_fastapi.pgstac, uvicorn (pip install 'gl10m[servers]')" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not REAL_CATALOGUE.exists(), reason="needs the verbatim catalogue in ../shared/data/stac")
def test_the_real_catalogue_is_loaded_and_searched(tmp_path: Path) -> None:
    """All verbatim items of the Planetary Computer that we have: 400 of NAIP, 46 of Sentinel-2."""
    expected: dict[str, dict[str, Any]] = {}
    for name in ("naip", "sentinel-2-l2a"):
        folder = tmp_path / "world/stac" / name
        folder.mkdir(parents=True)
        (folder / "collection.json").symlink_to(REAL_CATALOGUE / f"{name}_collection.json")
        (folder / "items.ndjson").symlink_to(REAL_CATALOGUE / f"{name}_items.ndjson")
        lines = (REAL_CATALOGUE / f"{name}_items.ndjson").read_text().splitlines()
        expected[name] = {item["id"]: item for item in map(json.loads, lines)}
    assert [len(items) for items in expected.values()] == [400, 46]

    with LocalServers(tmp_path / "world", tmp_path / "run") as servers:
        client = Client.open(servers.stac_url)
        assert {one.id for one in client.get_collections()} == set(expected)
        for name, items in expected.items():
            found = {item.id: item for item in client.search(collections=[name], limit=100).items()}
            assert found.keys() == items.keys()
            for item_id, item in items.items():
                assert found[item_id].assets.keys() == item["assets"].keys()
                assert all(
                    found[item_id].assets[key].href == item["assets"][key]["href"] for key in item["assets"]
                )

        west, south, east, north = -87.5, 30.95, -87.0, 30.96
        search = client.search(
            collections=["naip"], bbox=[west, south, east, north], datetime="2021-01-01/2021-12-31"
        )
        by_hand = {
            item["id"]
            for item in expected["naip"].values()
            if item["bbox"][0] <= east and item["bbox"][2] >= west
            if item["bbox"][1] <= north and item["bbox"][3] >= south
            if item["properties"]["datetime"].startswith("2021")
        }
        assert {item.id for item in search.items()} == by_hand
        assert by_hand

        clear = client.search(collections=["sentinel-2-l2a"], query={"eo:cloud_cover": {"lt": 2}})
        assert {item.id for item in clear.items()} == {
            item["id"]
            for item in expected["sentinel-2-l2a"].values()
            if item["properties"]["eo:cloud_cover"] < 2
        }

        # The index of our own: fields, query and intersects of the real server give the rows of whole items.
        for name, sensor in (("naip", Sensor.NAIP), ("sentinel-2-l2a", Sensor.SENTINEL2)):
            whole, faults = item_table([expected[name][item] for item in sorted(expected[name])], sensor)
            assert not faults
            before = servers.searches()
            imagery = StacImagery(url=servers.stac_url, most_cloud_percent=20, page_size=150)
            always = days.Window(date(2010, 1, 1), date(2026, 1, 1))
            found_rows = imagery.search(sensor, shapely.box(-180, -90, 180, 90), always)
            clouds = np.nan_to_num(whole["cloud_cover"].to_numpy())
            assert found_rows.equals(whole.filter(pa.array(clouds < 20)))
            assert servers.searches() - before == (3 if sensor is Sensor.NAIP else 1)
