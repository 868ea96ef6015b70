"""The Earth Engine source: the real client library against a loopback service with its limits and faults."""

import io
import json
import logging
import pickle
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Any

import ee
import numpy as np
import pyarrow as pa
import pytest
import rasterio
import shapely

from gl10m.manifest.schema import ITEMS
from gl10m.scene.acquisition import NAIP_WINDOW, SENTINEL2_WINDOW, Window
from gl10m.scene.footprint import FOOTPRINT_DEGREES, HR_PIXELS, LR_PIXELS, Footprint
from pipelines.sources.asset_urls import RefusedAddressError
from pipelines.sources.earth_engine import EarthEngineImagery
from pipelines.sources.earth_engine_session import MOST_A_SECOND, EarthEngineAccessError
from pipelines.sources.earth_engine_transport import MOST_AT_ONCE
from pipelines.sources.imagery import DamagedRasterError, Sensor, SourceUnavailableError
from pipelines.sources.items import MalformedItemError
from pipelines.sources.patience import Patience
from pipelines.sources.stac import StacImagery
from tests.pipelines.earth_engine_graph import Asset
from tests.pipelines.earth_engine_server import (
    NAIP,
    SENTINEL2,
    Asked,
    EarthEngine,
    naip_asset,
    refusal,
    sentinel2_asset,
    serving,
)
from tests.pipelines.imagery_server import Fault, World
from tests.pipelines.imagery_server import serving as stac_serving
from tests.pipelines.ruler import frame, naip_item, outline, sentinel2_item, write_tiff
from tests.pipelines.test_cog import REAL, centre, outline_of
from tests.pipelines.test_earth_engine_alignment import drawn

FOOTPRINT = Footprint(-98.1, 29.3)
QUADS = [(26914, 1.0, -0.1, 1.1)]
PIXELS = "image:computePixels"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ruler")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[EarthEngine]:
    with serving(drawn(folder, FOOTPRINT, QUADS)) as service:
        yield service


@pytest.fixture
def service(running: EarthEngine, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[EarthEngine]:
    """The service, signed in to by a service account's key, and as good as new after each test."""
    for name, value in running.environment(running.write_key(folder / "key.json")).items():
        monkeypatch.setenv(name, value)
    assets, limits = dict(running.assets), (running.most_bytes, running.longest_side)
    running.requests.clear()
    yield running
    running.assets, (running.most_bytes, running.longest_side) = assets, limits
    running.fault = lambda _: None


QUICK = EarthEngineImagery(patience=Patience(attempts=3, wait_initial=0.01, jitter=0))
"""Three attempts, and no pause worth naming between them."""


def sentinel2(service: EarthEngine, place: Footprint = FOOTPRINT) -> pa.Table:
    found = EarthEngineImagery().search(Sensor.SENTINEL2, shapely.box(*place.bounds), SENTINEL2_WINDOW)
    service.requests.clear()
    return found


def answering(fault: Fault, times: int = 1, part: str = PIXELS) -> Callable[[Asked], Fault | None]:
    """The next requests of one kind meet this fault."""
    left = [times]

    def answer(asked: Asked) -> Fault | None:
        if part not in asked.path or left[0] == 0:
            return None
        left[0] -= 1
        return fault

    return answer


def refused(status: int, message: str, retry_after: str | None = None) -> Fault:
    return Fault(*refusal(status, message, retry_after))


# Search


def test_a_listing_becomes_items_page_by_page(service: EarthEngine) -> None:
    (quad,) = (asset for name, asset in service.assets.items() if name.startswith(NAIP))
    others = [f"m_2909801_sw_14_060_2022090{day}" for day in range(1, 8)]
    for day, name in enumerate(others, 1):
        about = {"id": f"{NAIP}/{name}", "startTime": f"2022-09-0{day}T00:00:00Z"}
        service.add(Asset({**quad.about, **about, "endTime": f"2022-09-0{day + 1}T00:00:00Z"}, quad.rasters))
    first_week = Window(date(2022, 9, 2), date(2022, 9, 6))
    found = EarthEngineImagery(page_size=2).search(Sensor.NAIP, shapely.box(*FOOTPRINT.bounds), first_week)
    assert found.schema.equals(ITEMS.schema)
    assert found["item_id"].to_pylist() == others[1:6]  # both ends of the window, and in order
    assert len(service.asked("listAssets")) == 3
    row = found.to_pylist()[0]
    assert (row["vintage"], row["epsg"], row["gsd"], row["cloud_cover"]) == ("2022", 26914, 1.0, None)
    assert row["assets"] == [("image", f"{NAIP}/{others[1]}")]


def test_a_sentinel_2_image_tells_what_matching_asks(service: EarthEngine) -> None:
    (row,) = sentinel2(service).to_pylist()
    assert row["item_id"] == "20230611T181006_20230611T231006_T14SXX"
    assert row["collection"] == SENTINEL2
    assert (row["mgrs_tile"], row["baseline"], row["epsg"], row["gsd"]) == ("14SXX", "05.09", 32614, 10.0)
    assert row["cloud_cover"] == 0.5
    assert row["generated"] == "2023-06-11T23:10:06.027Z"
    assert (row["scale"], row["offset"]) == (1e-4, 0.0)  # harmonised already


@pytest.mark.usefixtures("service")
def test_ground_at_the_edge_of_a_wide_region_is_found() -> None:
    """A great circle between the southern corners runs north of the southern edge."""
    west, south, _, north = FOOTPRINT.bounds
    wide = (west - 6, north + 0.01, west + 6, north + 3)
    assert EarthEngineImagery().search(Sensor.NAIP, shapely.box(*wide), NAIP_WINDOW).num_rows == 0
    higher = shapely.box(wide[0], south, *wide[2:])
    assert EarthEngineImagery().search(Sensor.NAIP, higher, NAIP_WINDOW).num_rows == 1


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("startTime", "yesterday", "Invalid isoformat"),
        ("geometry", {"type": "Point", "coordinates": [0, 0]}, "no valid polygon"),
        ("geometry", {"type": "Polygon", "coordinates": [[[0, 0], [999, 0], [0, 1], [0, 0]]]}, "off the map"),
        ("bands", [], "no band B4"),
        ("properties", {}, "no CLOUDY_PIXEL_PERCENTAGE"),
        ("id", f"{SENTINEL2}/../../etc/passwd", "asset"),
        ("id", f"{SENTINEL2}/a b", "asset"),
    ],
)
def test_a_malformed_image_is_left_out_and_named(
    service: EarthEngine, caplog: pytest.LogCaptureFixture, part: str, value: object, said: str
) -> None:
    (image,) = (asset for name, asset in service.assets.items() if name.startswith(SENTINEL2))
    bad = {**image.about, "id": f"{SENTINEL2}/BAD", "name": "", part: value}
    page = json.dumps({"assets": [bad, image.about]})
    service.fault = answering(Fault(200, page.encode()), part="listAssets")
    with caplog.at_level(logging.WARNING):
        found = EarthEngineImagery().search(
            Sensor.SENTINEL2, shapely.box(*FOOTPRINT.bounds), SENTINEL2_WINDOW
        )
    assert found.num_rows == 1
    assert said in caplog.text

    service.fault = answering(Fault(200, json.dumps({"assets": [bad]}).encode()), part="listAssets")
    with pytest.raises(MalformedItemError, match="none of 1 images can be used"):
        EarthEngineImagery().search(Sensor.SENTINEL2, shapely.box(*FOOTPRINT.bounds), SENTINEL2_WINDOW)


# Pixels


def test_an_image_is_asked_for_on_exactly_the_footprints_grid(service: EarthEngine) -> None:
    shown = EarthEngineImagery().read_sentinel2(sentinel2(service), FOOTPRINT)
    assert shown.observed.all()
    assert shown.reflectance.dtype == np.float32
    assert set(np.unique(shown.classification)) == {4}
    (request,) = service.asked(PIXELS)
    a, _, c, _, e, f = FOOTPRINT.affine(LR_PIXELS)
    assert request.body["grid"] == {
        "crsCode": "EPSG:4326",
        "dimensions": {"width": LR_PIXELS, "height": LR_PIXELS},
        "affineTransform": {
            "scaleX": a,
            "shearX": 0,
            "translateX": c,
            "shearY": 0,
            "scaleY": e,
            "translateY": f,
        },
    }
    assert a == pytest.approx(FOOTPRINT_DEGREES / LR_PIXELS, rel=1e-12)
    assert request.path.startswith("/v1/projects/gl10m-test/")


def test_no_data_and_black_are_told_apart_and_the_earlier_row_wins(
    service: EarthEngine, tmp_path: Path
) -> None:
    """Two quads overlap in the middle; both have a black stripe, and the east of the footprint has none."""
    service.assets = {}
    for name, level, west, east in (("first", 200, 0.3, 0.8), ("second", 100, -0.1, 0.6)):
        affine, height, width = frame(FOOTPRINT, 26914, 1.0, west=west, east=east)
        pixels = np.full((4, height, width), level, np.uint8)
        pixels[:3, height // 3 : height // 2] = 0
        write_tiff(tmp_path / f"{name}.tif", pixels, 26914, affine)
        ground = outline(26914, affine, height, width)
        item = naip_item(name, "2023-06-01", 26914, ground, href=f"naip/{name}.tif")
        service.add(naip_asset(item, tmp_path / f"{name}.tif"))
    items = EarthEngineImagery().search(Sensor.NAIP, shapely.box(*FOOTPRINT.bounds), NAIP_WINDOW)
    assert items["item_id"].to_pylist() == ["first", "second"]

    shown = EarthEngineImagery().read_naip(items, FOOTPRINT)
    (request,) = service.asked(PIXELS)
    assert request.grid.width == request.grid.height == HR_PIXELS
    row = HR_PIXELS // 10
    assert shown.pixels[0, row, 100] == 100  # the second alone
    assert shown.pixels[0, row, HR_PIXELS // 2] == 200  # both: the first lies on top
    assert shown.pixels[0, row, HR_PIXELS * 7 // 10] == 200
    assert not shown.observed[row, HR_PIXELS * 9 // 10]
    assert set(np.unique(shown.pixels[:, row])) == {0, 100, 200}  # ground is never mixed with nothing
    black = (shown.pixels == 0).all(axis=0) & shown.observed
    assert 0.14 < black.mean() < 0.18
    assert shown.pixels[:, ~shown.observed].max() == 0


@pytest.mark.usefixtures("service")
def test_four_bands_of_bytes_would_be_too_much_and_one_packed_band_is_not() -> None:
    """The service counts a byte for each mask; the real client library brings its refusal."""
    imagery = EarthEngineImagery()
    imagery.sign_in()
    quad = ee.Image(f"{NAIP}/quad_0").select(["R", "G", "B", "N"]).unmask(0, sameFootprint=False).toUint8()
    step = FOOTPRINT_DEGREES / HR_PIXELS
    affine = {"scaleX": step, "translateX": -98.1, "scaleY": -step, "translateY": 29.3}
    grid: dict[str, Any] = {"crsCode": "EPSG:4326", "affineTransform": affine}
    grid["dimensions"] = {"width": HR_PIXELS, "height": HR_PIXELS}
    with pytest.raises(ee.EEException, match=r"Total request size \(57459200 bytes\)"):
        ee.data.computePixels({"expression": quad, "fileFormat": "NUMPY_NDARRAY", "grid": grid})
    grid["dimensions"] = {"width": 40_000, "height": 1}
    with pytest.raises(ee.EEException, match=r"Pixel grid dimensions \(40000x1\)"):
        ee.data.computePixels({"expression": quad, "fileFormat": "NUMPY_NDARRAY", "grid": grid})
    assert HR_PIXELS**2 * 5 < 48 << 20


@pytest.mark.parametrize("who", ["we know the limit", "bytes", "pixels", "memory", "time"])
def test_a_request_that_is_too_large_becomes_parts_put_together_again(service: EarthEngine, who: str) -> None:
    items = sentinel2(service)
    whole = EarthEngineImagery().read_sentinel2(items, FOOTPRINT)
    service.requests.clear()
    third = LR_PIXELS**2 * 13 // 3
    imagery = EarthEngineImagery(most_bytes=third if who == "we know the limit" else 48 << 20)
    messages = {"memory": "User memory limit exceeded.", "time": "Computation timed out."}
    if who == "bytes":
        service.most_bytes = third
    elif who == "pixels":
        service.longest_side = 150
    elif who in messages:
        service.fault = lambda asked: (
            refused(400, messages[who]) if PIXELS in asked.path and asked.grid.height > 150 else None
        )
    parts = imagery.read_sentinel2(items, FOOTPRINT)
    grids = [request.grid for request in service.asked(PIXELS)]
    refused_whole = [grid for grid in grids if grid.width == grid.height == LR_PIXELS]
    assert len(refused_whole) == (0 if who == "we know the limit" else 1)
    assert len(grids) - len(refused_whole) >= 2
    assert np.array_equal(parts.classification, whole.classification)
    assert np.array_equal(parts.observed, whole.observed)
    # The loopback's interpolation depends on the part a little; a shifted part would be off by hundreds.
    assert np.abs(parts.reflectance - whole.reflectance).max() < 3e-4


def test_what_is_too_much_even_in_small_parts_ends(service: EarthEngine) -> None:
    items = sentinel2(service)
    service.fault = answering(refused(400, "User memory limit exceeded."), times=10_000)
    with pytest.raises(SourceUnavailableError, match=r"memory limit exceeded.*Not even for"):
        QUICK.read_sentinel2(items, FOOTPRINT)
    assert len(service.asked(PIXELS)) < 10


# Faults


def written(pixels: np.ndarray[Any, Any], *, pickled: bool = False) -> Fault:
    stream = io.BytesIO()
    np.save(stream, pixels, allow_pickle=pickled)
    return Fault(200, stream.getvalue())


SHAPE = (LR_PIXELS, LR_PIXELS)
SOUND = [("red", "u2"), ("green", "u2"), ("blue", "u2"), ("classes", "u1"), ("seen", "u1")]
HUGE = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1000000, 1000000), }\n"

PASSING = {
    "429": refused(429, "Too many concurrent aggregations."),
    "403 by rate": refused(403, "Quota exceeded for quota metric 'Number of read requests'"),
    "500": refused(500, "Internal error"),
    "503 with markup": Fault(503, b"<html><title>Error</title><body>Service unavailable</body></html>"),
    "hang up": Fault(hang_up_after=1000),
    "hang up at once": Fault(hang_up_after=0),
}
DAMAGED = {
    "empty": Fault(200, b""),
    "markup": Fault(200, b"<html>Sign in to the hotel's network</html>"),
    "cut short": Fault(200, written(np.zeros(SHAPE, SOUND)).body[:-100]),
    "wrong type": written(np.zeros(SHAPE, [(name, "f8") for name, _ in SOUND])),
    "too wide a value": written(np.full(SHAPE, 70_000, [(name, "u4") for name, _ in SOUND])),
    "wrong bands": written(np.zeros(SHAPE, SOUND[::-1])),
    "one plain band": written(np.zeros(SHAPE, np.uint8)),
    "wrong shape": written(np.zeros((10, 10), SOUND)),
    "pickled": written(np.full(SHAPE, None, object), pickled=True),
    "a huge header": Fault(200, b"\x93NUMPY\x01\x00" + len(HUGE).to_bytes(2, "little") + HUGE),
    "archive": Fault(200, b"PK\x03\x04 and more"),
}


@pytest.mark.parametrize("name", [*PASSING, *DAMAGED])
def test_a_fault_that_passes_is_survived(service: EarthEngine, name: str) -> None:
    items = sentinel2(service)
    service.fault = answering((PASSING | DAMAGED)[name])
    shown = QUICK.read_sentinel2(items, FOOTPRINT)
    assert shown.observed.all()
    assert len(service.asked(PIXELS)) == 2


@pytest.mark.parametrize("name", [*PASSING, *DAMAGED])
def test_a_fault_that_stays_ends_in_one_short_error(service: EarthEngine, name: str) -> None:
    items = sentinel2(service)
    service.fault = answering((PASSING | DAMAGED)[name], times=99)
    with pytest.raises((SourceUnavailableError, DamagedRasterError)) as caught:
        QUICK.read_sentinel2(items, FOOTPRINT)
    # The client library's own five attempts do not multiply ours.
    assert len(service.asked(PIXELS)) == 3
    assert isinstance(caught.value, DamagedRasterError) == (name in DAMAGED)
    assert not isinstance(caught.value, EarthEngineAccessError)
    assert SENTINEL2 in str(caught.value)
    says_nothing_of_the_request(caught.value)


def says_nothing_of_the_request(error: BaseException) -> None:
    assert len(str(error)) < 600
    assert error.__cause__ is None
    told = "".join(traceback.format_exception(error))
    for secret in ("ya29", "SECRET", "PRIVATE KEY", "functionInvocationValue", "<html>", "affineTransform"):
        assert secret not in told.replace('"<html>"', "")


def test_a_retry_after_is_heard(service: EarthEngine) -> None:
    items = sentinel2(service)
    service.fault = answering(refused(429, "Too many requests.", retry_after="2"))
    begun = time.monotonic()
    EarthEngineImagery().read_sentinel2(items, FOOTPRINT)
    assert time.monotonic() - begun >= 2


def test_quota_that_is_used_up_says_what_helps(service: EarthEngine) -> None:
    items = sentinel2(service)
    service.fault = answering(PASSING["429"], times=99)
    with pytest.raises(SourceUnavailableError, match=r"status 429.*next run asks again.*fewer --workers"):
        QUICK.read_sentinel2(items, FOOTPRINT)


def test_a_service_that_is_down_is_left_alone_for_a_while(service: EarthEngine) -> None:
    items = sentinel2(service)
    service.fault = answering(refused(503, "Later."), times=99)
    for _ in range(4):
        with pytest.raises(SourceUnavailableError, match=SENTINEL2) as caught:
            QUICK.read_sentinel2(items, FOOTPRINT)
    assert "left alone" in str(caught.value)
    assert len(service.asked(PIXELS)) == 9  # three calls of three attempts; the fourth asked nothing


def test_an_asset_that_is_gone_is_named_and_not_asked_for_again(service: EarthEngine) -> None:
    items = sentinel2(service)
    service.assets = {}
    with pytest.raises(DamagedRasterError, match=rf"Image asset '{SENTINEL2}/.*' not found") as caught:
        EarthEngineImagery().read_sentinel2(items, FOOTPRINT)
    assert len(service.asked(PIXELS)) == 1
    says_nothing_of_the_request(caught.value)


def test_a_search_fails_as_unavailable_whatever_is_wrong(service: EarthEngine) -> None:
    for fault in (refused(404, "Asset not found."), Fault(200, b"<html>"), refused(503, "Later.")):
        service.fault = answering(fault, times=99, part="listAssets")
        with pytest.raises(SourceUnavailableError, match=f"the list of images in {NAIP}"):
            QUICK.search(Sensor.NAIP, shapely.box(*FOOTPRINT.bounds), NAIP_WINDOW)


def test_items_of_another_source_are_refused(service: EarthEngine) -> None:
    items = sentinel2(service)
    place = ITEMS.names.index("assets")
    for name in ("https://host/x.tif", "/etc/passwd", "", "../x", "COPERNICUS"):
        assets = pa.array([[("image", name)]], ITEMS.schema.field("assets").type)
        with pytest.raises(RefusedAddressError, match="COLLECTION/IMAGE"):
            EarthEngineImagery().read_sentinel2(items.set_column(place, "assets", assets), FOOTPRINT)
    assert not service.requests
    # And the other way round: an asset id is no address.
    named = [[(name, f"{SENTINEL2}/X") for name in ("red", "green", "blue", "scl")]]
    moved = items.set_column(place, "assets", pa.array(named, ITEMS.schema.field("assets").type))
    with pytest.raises(RefusedAddressError):
        StacImagery(url="http://127.0.0.1:9").read_sentinel2(moved, FOOTPRINT)


def test_threads_of_a_process_share_its_slots_and_its_pace(service: EarthEngine) -> None:
    items = sentinel2(service)
    service.most_at_once = 0
    with ThreadPoolExecutor(12) as threads:
        shown = list(threads.map(lambda _: EarthEngineImagery().read_sentinel2(items, FOOTPRINT), range(12)))
    assert all(np.array_equal(each.reflectance, shown[0].reflectance) for each in shown)
    assert 1 <= service.most_at_once <= MOST_AT_ONCE
    arrivals = [request.arrived for request in service.asked(PIXELS)]
    assert len(arrivals) == 12
    assert max(arrivals) - min(arrivals) >= 10 / MOST_A_SECOND


# Real pixels: the same rasters as the STAC source reads.


def real_rasters(*names: str) -> Path:
    for name in names:
        if not (REAL / name).exists():
            pytest.skip(f"needs the real imagery in {REAL / name}")
    return REAL


def test_real_naip_agrees_with_the_other_reader(service: EarthEngine) -> None:
    name = "m_3211605_ne_11_060_20200415"  # a crop at 0.6 m; its day is moved into the window of NAIP
    path = real_rasters(f"naip/{name}.tif") / f"naip/{name}.tif"
    with rasterio.open(path) as raster:
        west, south, east, north = raster.bounds
        epsg = raster.crs.to_epsg()
    place = centre(epsg, (west + east) / 2, (south + north) / 2)
    item = naip_item(name, "2022-04-15", epsg, outline_of(place), href=f"{name}.tif")
    service.assets = {}
    service.add(naip_asset(item, path))
    shown = EarthEngineImagery().read_naip(
        EarthEngineImagery().search(Sensor.NAIP, shapely.box(*place.bounds), NAIP_WINDOW), place
    )
    with stac_serving(World(files={f"{name}.tif": path.read_bytes()}, items=[item])) as world:
        other = StacImagery(url=world.url)
        expected = other.read_naip(other.search(Sensor.NAIP, shapely.box(*place.bounds), NAIP_WINDOW), place)
    both = shown.observed & expected.observed
    assert both.sum() > 0.9 * expected.observed.sum()
    assert 10_000 < both.sum() < 50_000
    # The kernel is not widened, and so is sharper; the ground is the same.
    difference = np.abs(shown.pixels.astype(int) - expected.pixels)[:, both]
    assert difference.mean() < 4
    assert np.corrcoef(shown.pixels[:, both].ravel(), expected.pixels[:, both].ravel())[0, 1] > 0.98


def test_real_sentinel_2_agrees_with_the_other_reader(service: EarthEngine) -> None:
    bands = ("B04", "B03", "B02", "cloud_mask")
    folder = real_rasters(*(f"sentinel2_10m/{band}.tif" for band in bands)) / "sentinel2_10m"
    place = centre(32633, 824_967, 5_000)
    item = sentinel2_item("s", "2023-07-06", 32633, outline_of(place), "s2")
    item["assets"]["SCL"]["href"] = "s2/cloud_mask.tif"
    service.assets = {}
    service.add(sentinel2_asset(item, folder))
    shown = EarthEngineImagery().read_sentinel2(sentinel2(service, place), place)
    files = {f"s2/{band}.tif": (folder / f"{band}.tif").read_bytes() for band in bands}
    with stac_serving(World(files=files, items=[item])) as world:
        other = StacImagery(url=world.url)
        found = other.search(Sensor.SENTINEL2, shapely.box(*place.bounds), SENTINEL2_WINDOW)
        expected = other.read_sentinel2(found, place)
    assert np.array_equal(shown.observed, expected.observed)
    assert (shown.classification == expected.classification).mean() > 0.999
    # Whole counts here, fractions there; and the loopback's warp is another one.
    assert np.abs(shown.reflectance - expected.reflectance).mean() < 1e-3


# Signing in


def test_the_source_travels_without_credentials(
    service: EarthEngine, caplog: pytest.LogCaptureFixture
) -> None:
    imagery = EarthEngineImagery()
    with caplog.at_level(logging.INFO):
        imagery.read_sentinel2(sentinel2(service), FOOTPRINT)
    assert pickle.loads(pickle.dumps(imagery)) == imagery  # noqa: S301 - our own
    assert b"ya29" not in pickle.dumps(imagery)
    assert "ya29" not in caplog.text
    assert service.asked(PIXELS)[0].authorization.startswith("Bearer ya29.SECRET")


def test_a_process_signs_in_once(service: EarthEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARTHENGINE_PROJECT", "another-project")  # forgets the sign-in of other tests
    items = sentinel2(service)
    EarthEngineImagery().sign_in()
    EarthEngineImagery().read_sentinel2(items, FOOTPRINT)
    assert [request.path for request in service.requests] == [f"/v1/projects/another-project/{PIXELS}"]


def test_without_credentials_the_remedy_is_named(
    service: EarthEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS")
    with pytest.raises(EarthEngineAccessError, match=r"nobody is signed in\. Run `earthengine authenticate`"):
        EarthEngineImagery().sign_in()
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "secret-place.json"))
    with pytest.raises(EarthEngineAccessError, match="names no file with a key") as caught:
        EarthEngineImagery().sign_in()
    assert "secret-place" not in "".join(traceback.format_exception(caught.value))
    assert not service.requests


def test_without_a_project_the_remedy_is_named(
    service: EarthEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    login = {
        "type": "authorized_user",
        "client_id": "764086051850-x.apps.googleusercontent.com",  # of gcloud itself
        "client_secret": "SECRET",
        "refresh_token": "SECRET",
    }
    (tmp_path / "login.json").write_text(json.dumps(login))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "login.json"))
    monkeypatch.delenv("EARTHENGINE_PROJECT")
    monkeypatch.delenv("GOOGLE_CLOUD_PROJECT", raising=False)
    with pytest.raises(EarthEngineAccessError, match=r"needs a Cloud project.*in EARTHENGINE_PROJECT"):
        EarthEngineImagery().sign_in()
    monkeypatch.setenv("EARTHENGINE_PROJECT", "../../x")
    with pytest.raises(EarthEngineAccessError, match="EARTHENGINE_PROJECT names a Cloud project"):
        EarthEngineImagery().sign_in()
    assert not service.requests


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "Request had invalid authentication credentials: Bearer ya29.SECRET"),
        (403, "Caller does not have required permission to use project gl10m-test."),
        (403, "Not signed up for Earth Engine or project is not registered."),
    ],
)
def test_an_account_that_may_not_is_told_what_to_do(service: EarthEngine, status: int, message: str) -> None:
    items = sentinel2(service)
    service.fault = answering(refused(status, message), times=99)
    with pytest.raises(EarthEngineAccessError, match=rf"HTTP {status}.*earthengine authenticate") as caught:
        QUICK.read_sentinel2(items, FOOTPRINT)
    assert message.split(":", maxsplit=1)[0].rstrip(".") in str(caught.value)
    says_nothing_of_the_request(caught.value)


def test_a_key_that_is_refused_is_told(
    service: EarthEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = EarthEngine(url=service.url)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(stranger.write_key(tmp_path / "key.json")))
    with pytest.raises(EarthEngineAccessError, match=r"no access token.*invalid_grant") as caught:
        EarthEngineImagery().sign_in()
    says_nothing_of_the_request(caught.value)


def test_a_token_is_sent_over_https_only(service: EarthEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    for address, said in (
        ("http://ee.example.org", "https://"),
        ("ftp://x", "http"),
        ("https://u:p@x", "password"),
    ):
        monkeypatch.setenv("EARTHENGINE_URL", address)
        with pytest.raises(EarthEngineAccessError, match=said):
            EarthEngineImagery().sign_in()
    assert not service.requests
