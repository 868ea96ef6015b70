"""Items of real catalogues, and searches over real HTTP."""

import json
import logging
import pickle
import time
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import requests
import shapely
from hypothesis import given
from hypothesis import strategies as st

from gl10m.manifest.schema import ITEMS
from gl10m.scene.acquisition import Window
from pipelines.sources.asset_urls import RefusedAddressError, _taken_apart, redacted, unsigned
from pipelines.sources.imagery import Sensor, SourceUnavailableError
from pipelines.sources.items import FIELDS, MalformedItemError, item_row
from pipelines.sources.planetary_computer import planetary_computer
from pipelines.sources.signing import Signer
from pipelines.sources.stac import StacImagery
from pipelines.world.server import serve
from tests.pipelines.imagery_server import Fault, Request, World, serving
from tests.pipelines.ruler import naip_item, sentinel2_item

REAL = Path(__file__).parents[2] / "../shared/data/stac"
YEAR = Window(date(2023, 1, 1), date(2023, 12, 31))
GROUND = shapely.box(-121.1, 36.9, -120.9, 37.1)
AROUND = shapely.box(-121.2, 36.8, -120.8, 37.2)


def real(name: str) -> list[dict[str, Any]]:
    path = REAL / name
    if not path.exists():
        pytest.skip(f"needs the real STAC items in {path}")
    return [json.loads(line) for line in path.read_text().splitlines()]


def naip(name: str = "n", day: str = "2023-06-01") -> dict[str, Any]:
    return naip_item(name, day, 26910, GROUND, href="naip/n.tif")


def changed(item: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """A copy of an item with one value replaced; None removes it."""
    copy = json.loads(json.dumps(item))
    *parents, last = path.split("/")
    place = copy
    for parent in parents:
        place = place[parent]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return dict(copy)


@pytest.mark.parametrize(
    ("name", "sensor", "count"),
    [
        ("naip_items.ndjson", Sensor.NAIP, 400),
        ("sentinel-2-l2a_items.ndjson", Sensor.SENTINEL2, 46),
        ("earth-search_sentinel-2-c1-l2a_items.ndjson", Sensor.SENTINEL2, 10),
    ],
)
def test_real_items_pass_through_a_search(name: str, sensor: Sensor, count: int) -> None:
    items = real(name)
    collection = items[0]["collection"]
    with serving(World(items=items)) as world:
        imagery = StacImagery(
            url=world.url, naip_collection=collection, sentinel2_collection=collection, page_size=60
        )
        found = imagery.search(
            sensor, shapely.box(-180, -90, 180, 90), Window(date(2010, 1, 1), date(2026, 1, 1))
        )
    assert found.schema.equals(ITEMS.schema)
    assert found["item_id"].to_pylist() == sorted(item["id"] for item in items)
    assert len(items) == count
    assert sum(request.path == "search" for request in world.requests) == -(-count // 60)
    always = ["epsg", "acquired", "gsd", "geometry", "assets"]
    per_sensor = ["vintage"] if sensor is Sensor.NAIP else ["scale", "offset", "mgrs_tile", "cloud_cover"]
    for column in always + per_sensor:
        assert found[column].null_count == 0, column


def test_reflectance_follows_the_bands_or_else_the_baseline() -> None:
    for item in real("sentinel-2-l2a_items.ndjson"):
        row = item_row(item, Sensor.SENTINEL2)
        assert row["scale"] == 1e-4
        assert row["offset"] == pytest.approx(0.0 if row["baseline"] == "02.12" else -0.1)
        assert [key for key, _ in row["assets"]] == ["blue", "green", "red", "scl"]
    for item in real("earth-search_sentinel-2-c1-l2a_items.ndjson"):
        row = item_row(item, Sensor.SENTINEL2)
        assert (row["scale"], row["offset"]) == (1e-4, -0.1)
        assert dict(row["assets"])["red"].endswith("B04.tif")
        assert row["mgrs_tile"] == item["properties"]["grid:code"].removeprefix("MGRS-")


def test_naip_keeps_its_flight_year() -> None:
    for item in real("naip_items.ndjson"):
        row = item_row(item, Sensor.NAIP)
        assert row["vintage"] == item["properties"]["naip:year"]
        assert row["epsg"] in {26916, 26917}
    without = changed(naip(), "properties/naip:year", None)
    assert (
        item_row(changed(without, "assets/image/href", "https://x.org/n.tif"), Sensor.NAIP)["vintage"]
        == "2023"
    )


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("assets/image", None),
        ("assets/image/href", "file:///etc/passwd"),
        ("assets/image/href", "/vsizip//etc/passwd"),
        ("assets/image/href", "/etc/passwd"),
        ("assets/image/href", "s3://naip-analytic/x.tif"),
        ("assets/image/href", "https://user:secret@host/x.tif"),
        ("assets/image/href", 7),
        ("geometry", {"type": "Point", "coordinates": [0, 0]}),
        ("geometry", {"type": "Polygon", "coordinates": [[[0, 0], [1e9, 0], [0, 1], [0, 0]]]}),
        ("geometry", {"type": "Polygon", "coordinates": "none"}),
        ("geometry", None),
        ("properties/datetime", "yesterday"),
        ("properties/proj:epsg", None),
        ("properties/gsd", "fine"),
        ("properties/naip:year", "MMXX"),
        ("id", "x" * 1000),
        ("id", None),
    ],
)
def test_a_malformed_item_is_named(path: str, value: object) -> None:
    item = changed(naip("item_7"), "assets/image/href", "https://x.org/n.tif")
    with pytest.raises(MalformedItemError, match="id of 1 to" if path == "id" else "item_7"):
        item_row(changed(item, path, value), Sensor.NAIP)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=9),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    ),
    st.sampled_from(
        ["assets", "properties", "geometry", "collection", "assets/B04", "properties/eo:cloud_cover"]
    ),
)
def test_nonsense_is_malformed_and_nothing_else(value: object, path: str) -> None:
    item = sentinel2_item("s", "2023-06-01", 32610, GROUND, "https://x.org/s2")
    try:
        item_row(changed(item, path, value), Sensor.SENTINEL2)
    except MalformedItemError as error:
        assert "s" in str(error)  # noqa: PT017 - whatever passes is fine, whatever fails must be this


def test_a_bad_item_is_left_out_aloud_and_all_bad_items_are_an_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bad = changed(naip("bad"), "properties/proj:epsg", None)
    with serving(World(items=[naip("good"), bad])) as world:
        imagery = StacImagery(url=world.url)
        with caplog.at_level(logging.WARNING):
            assert imagery.search(Sensor.NAIP, AROUND, YEAR)["item_id"].to_pylist() == ["good"]
        assert "item bad" in caplog.text
        assert "1 of 2" in caplog.text
        world.items = [bad]
        with pytest.raises(MalformedItemError, match="none of 1"):
            imagery.search(Sensor.NAIP, AROUND, YEAR)


def test_pages_are_asked_for_in_turn_and_each_item_stands_once() -> None:
    items = [naip(f"n{number:03}") for number in range(25)] * 2
    with serving(World(items=items)) as world:
        found = StacImagery(url=world.url, page_size=10).search(Sensor.NAIP, AROUND, YEAR)
    assert found["item_id"].to_pylist() == [f"n{number:03}" for number in range(25)]
    assert sum(request.path == "search" for request in world.requests) == 5


def test_no_item_is_an_empty_table() -> None:
    with serving(World()) as world:
        found = StacImagery(url=world.url).search(Sensor.NAIP, AROUND, YEAR)
    assert found.schema.equals(ITEMS.schema)
    assert found.num_rows == 0


def test_a_busy_server_is_asked_again_after_the_pause_it_names() -> None:
    def busy_at_first(request: Request) -> Fault | None:
        if request.path == "search" and request.number < 4:
            return Fault(429 if request.number % 2 else 503, b"slow down", {"Retry-After": "1"})
        return None

    with serving(World(items=[naip()], fault=busy_at_first)) as world:
        begun = time.monotonic()
        assert StacImagery(url=world.url).search(Sensor.NAIP, AROUND, YEAR).num_rows == 1
    assert 2 < time.monotonic() - begun < 15
    assert sum(request.path == "search" for request in world.requests) > 2


def test_what_is_no_stac_api_is_said_in_one_line() -> None:
    with serving(World(fault=lambda _: Fault(400, b"<html>no\nsuch thing</html>"))) as world:
        with pytest.raises(
            SourceUnavailableError, match="does not answer a search of collection naip"
        ) as error:
            StacImagery(url=f"{world.url}?key=SECRET").search(Sensor.NAIP, AROUND, YEAR)
        with pytest.raises(SourceUnavailableError):
            StacImagery(url=f"{world.url}/elsewhere").search(Sensor.NAIP, AROUND, YEAR)
    assert "SECRET" not in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unreachable_server_is_given_up_in_seconds() -> None:
    with serving(World()) as world:
        gone = world.url
    begun = time.monotonic()
    with pytest.raises(SourceUnavailableError, match="Check the address and the network") as error:
        StacImagery(url=gone).search(Sensor.NAIP, AROUND, YEAR)
    assert time.monotonic() - begun < 8
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("url", ["file:///etc", "/etc/passwd", "s3://bucket", "not an address", ""])
def test_only_web_addresses_are_apis(url: str) -> None:
    with pytest.raises(RefusedAddressError, match="http"):
        StacImagery(url=url if " " not in url else "ftp://host/x")


def test_signatures_are_not_stored() -> None:
    signed = "https://a.blob.core.windows.net/c/x.tif?st=2023&se=2024&sp=rl&sv=2021&sr=c&sig=SECRET"
    assert unsigned(signed) == "https://a.blob.core.windows.net/c/x.tif"
    assert unsigned("https://host/x.tif?X-Amz-Signature=SECRET") == "https://host/x.tif"
    assert unsigned("https://host/x.tif?version=2#part") == "https://host/x.tif?version=2"
    assert redacted("https://user:SECRET@host/x.tif?sig=SECRET#SECRET") == "https://host/x.tif"


def test_a_source_travels_to_workers() -> None:
    source = planetary_computer()
    assert source.signer is Signer.PLANETARY_COMPUTER
    assert pickle.loads(pickle.dumps(source)) == source  # noqa: S301 - our own


def test_an_api_that_can_is_asked_for_what_is_read_and_no_clouds(tmp_path: Path) -> None:
    """The rows are the same as of whole items, out of a fraction of the bytes."""
    items = [
        sentinel2_item(f"s{n}", f"2023-06-{n + 1:02}", 32610, GROUND, "https://x.org/s2") for n in range(9)
    ]
    for number, item in enumerate(items):
        item["properties"]["eo:cloud_cover"] = 5.0 * number
        item["assets"]["visual"] = {"href": "https://x.org/TCI.tif", "title": "x" * 1000}
    for name in ("naip", "sentinel-2-l2a"):
        folder = tmp_path / "stac" / name
        folder.mkdir(parents=True)
        (folder / "collection.json").write_text(json.dumps({"id": name, "links": []}))
        (folder / "items.ndjson").write_text("")
    lines = "\n".join(json.dumps(item).replace("https://x.org/", "imagery/") for item in items)
    (tmp_path / "stac" / "sentinel-2-l2a" / "items.ndjson").write_text(lines)
    with serve(tmp_path) as address:
        clear = StacImagery(url=address, most_cloud_percent=20).search(Sensor.SENTINEL2, AROUND, YEAR)
        every = StacImagery(url=address).search(Sensor.SENTINEL2, AROUND, YEAR)
        asked = {"collections": ["sentinel-2-l2a"], "fields": {"include": FIELDS[Sensor.SENTINEL2]}}
        answer = requests.post(f"{address}/search", json=asked, timeout=5)
    assert clear["item_id"].to_pylist() == ["s0", "s1", "s2", "s3"]
    assert every.num_rows == 9
    assert set(answer.json()["features"][0]["assets"]) == {"B04", "B03", "B02", "SCL"}
    assert len(answer.content) < len(lines) / 2


@given(st.from_regex(r"https?://[ -~]{0,60}", fullmatch=True))
def test_plain_addresses_are_taken_as_they_are(address: str) -> None:
    """The short way and the long way round give the same, whatever the address."""
    answers = []
    for way in (unsigned, _taken_apart):
        try:
            answers.append(way(address))
        except RefusedAddressError as refused:
            answers.append(str(refused))
    assert answers[0] == answers[1]
