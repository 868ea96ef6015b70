"""Which ground is searched, and searches that are kept between builds."""

import json
import pickle
from datetime import date
from pathlib import Path

import geopandas
import numpy as np
import pyarrow.parquet as pq
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from gl10m.scene.acquisition import NAIP_WINDOW, Window
from pipelines.execution.journal import Journal
from pipelines.inputs import BuildRequest, _keeping
from pipelines.sources import kept_searches
from pipelines.sources.asset_urls import passing
from pipelines.sources.imagery import Sensor
from pipelines.sources.item_index import SEARCHED_AT, area_of, find_items, years
from pipelines.sources.kept_searches import KeptSearches
from pipelines.sources.stac import StacImagery
from tests.pipelines.imagery_server import World, serving
from tests.pipelines.ruler import naip_item, sentinel2_item

YEAR = Window(date(2023, 1, 1), date(2023, 12, 31))
WEST, EAST = shapely.box(-121.4, 36.6, -121.1, 36.9), shapely.box(-120.4, 36.6, -120.1, 36.9)
AREA = area_of(shapely.bounds([WEST, EAST]))


def archive() -> World:
    items = [
        naip_item("n-west", "2023-05-01", 26910, WEST, href="naip/w.tif"),
        naip_item("n-east", "2023-06-01", 26910, EAST, href="naip/e.tif"),
        naip_item("n-older", "2022-06-01", 26910, WEST, href="naip/o.tif"),
        sentinel2_item("s", "2023-06-02", 32610, WEST, "s2"),
    ]
    return World(items=items)


def kept(world: World, folder: Path, days_kept: int = 30) -> KeptSearches:
    return KeptSearches(source=StacImagery(url=world.url), name=world.url, folder=folder, days_kept=days_kept)


def searches(world: World) -> int:
    return sum(request.path == "search" for request in world.requests)


@given(st.lists(st.tuples(st.floats(-120, -110), st.floats(30, 45)), min_size=1, max_size=20))
def test_the_area_holds_every_rectangle_and_little_else(places: list[tuple[float, float]]) -> None:
    corners = np.array(places)
    bounds = np.hstack([corners, corners + 0.024])
    area = area_of(bounds)
    assert shapely.covers(area, shapely.box(*bounds.T)).all()
    assert shapely.equals(area, area_of(bounds[::-1]))
    assert shapely.area(area) <= 4 * 0.25 * len(places)
    assert (shapely.get_coordinates(area) % 0.5 == 0).all()


def test_a_window_is_searched_year_by_year() -> None:
    assert [(year.first, year.last) for year in years(NAIP_WINDOW)] == [
        (date(2022, 1, 1), date(2022, 12, 31)),
        (date(2023, 1, 1), date(2023, 12, 31)),
        (date(2024, 1, 1), date(2024, 3, 31)),
    ]
    assert list(years(YEAR)) == [YEAR]


def test_the_index_in_the_journal_is_geoparquet_and_names_its_searches(tmp_path: Path) -> None:
    with serving(archive()) as world:
        imagery = StacImagery(url=world.url)
        asked = {Sensor.NAIP: (imagery, "naip here", NAIP_WINDOW), Sensor.SENTINEL2: (imagery, "s2", YEAR)}
        Journal(tmp_path).table("items", "CA", "key", lambda: find_items(asked, AREA))
    path = Path(str(Journal(tmp_path).table_path("items", "CA", "key")))
    shown = geopandas.read_parquet(path)
    assert sorted(shown.item_id) == ["n-east", "n-older", "n-west", "s"]
    assert shown.total_bounds.tolist() == [-121.4, 36.6, -120.1, 36.9]
    about = json.loads(pq.read_schema(path).metadata[b"gl10m.searches"])
    assert [(search["catalogue"], search["first"], search["items"]) for search in about] == [
        ("naip here", "2022-01-01", 1),
        ("naip here", "2023-01-01", 2),
        ("naip here", "2024-01-01", 0),
        ("s2", "2023-01-01", 1),
    ]
    assert all(search["searched_at"] for search in about)


def test_the_same_ground_and_year_are_not_searched_twice(tmp_path: Path) -> None:
    with serving(archive()) as world:
        first = kept(world, tmp_path).search(Sensor.NAIP, AREA, YEAR)
        again = kept(world, tmp_path).search(Sensor.NAIP, AREA, YEAR)
        assert searches(world) == 1
        assert again.equals(first)
        assert again.schema.metadata[SEARCHED_AT.encode()] == first.schema.metadata[SEARCHED_AT.encode()]
        # A part of the ground and of the days is answered from it, as the catalogue would answer it.
        spring = Window(date(2023, 4, 1), date(2023, 5, 31))
        assert kept(world, tmp_path).search(Sensor.NAIP, WEST, spring)["item_id"].to_pylist() == ["n-west"]
        assert kept(world, tmp_path).search(Sensor.NAIP, EAST, YEAR)["item_id"].to_pylist() == ["n-east"]
        assert searches(world) == 1
    (file,) = tmp_path.rglob("*.parquet")
    assert len(geopandas.read_parquet(file)) == 2


def test_another_sensor_year_or_ground_is_searched(tmp_path: Path) -> None:
    with serving(archive()) as world:
        kept(world, tmp_path).search(Sensor.NAIP, AREA, YEAR)
        kept(world, tmp_path).search(Sensor.SENTINEL2, AREA, YEAR)
        kept(world, tmp_path).search(Sensor.NAIP, AREA, Window(date(2022, 6, 1), date(2023, 6, 1)))
        kept(world, tmp_path).search(Sensor.NAIP, shapely.box(-122, 36, -120, 38), YEAR)
        assert searches(world) == 4


def test_a_search_dated_ahead_by_a_wrong_clock_is_not_kept_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(archive()) as world:
        with monkeypatch.context() as patched:
            patched.setattr(kept_searches, "now", lambda: "2199-01-01T00:00:00+00:00")
            kept(world, tmp_path).search(Sensor.NAIP, AREA, YEAR)
        kept(world, tmp_path).search(Sensor.NAIP, AREA, YEAR)
        kept(world, tmp_path).search(Sensor.NAIP, AREA, YEAR)
        assert searches(world) == 2


def test_old_damaged_and_unsettled_searches_are_made_anew(tmp_path: Path) -> None:
    with serving(archive()) as world:
        kept(world, tmp_path).search(Sensor.NAIP, AREA, YEAR)
        kept(world, tmp_path, days_kept=0).search(Sensor.NAIP, AREA, YEAR)
        assert searches(world) == 2
        (file,) = tmp_path.rglob("*.parquet")
        file.write_bytes(file.read_bytes()[:-100])
        assert kept(world, tmp_path).search(Sensor.NAIP, AREA, YEAR).num_rows == 2
        assert searches(world) == 3
        coming = Window(date.today(), date.today())  # noqa: DTZ011 - any zone will do
        for _ in range(2):
            kept(world, tmp_path).search(Sensor.NAIP, AREA, coming)
        assert searches(world) == 5


def test_a_folder_that_cannot_be_written_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    with serving(archive()) as world:
        assert kept(world, tmp_path / "file").search(Sensor.NAIP, AREA, YEAR).num_rows == 2
    assert "a search is not kept" in caplog.text


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("http://127.0.0.1:8080/stac", True),
        ("http://[::1]/", True),
        ("http://localhost/stac", True),
        ("https://planetarycomputer.microsoft.com/api/stac/v1", False),
        ("http://10.0.0.7/stac", False),
    ],
)
def test_addresses_of_this_machine_do_not_last(address: str, here: bool) -> None:  # noqa: FBT001 - a case
    assert passing(address) is here


def test_searches_of_a_lasting_address_are_kept_and_name_no_secret(tmp_path: Path) -> None:
    request = BuildRequest(root=tmp_path, regions=("ME",), sentinel2_collection="sentinel-2-c1-l2a")
    api = StacImagery(url="https://stac.example.org/v1?key=SECRET")
    source = _keeping(api, request, 20.0)
    assert isinstance(source, KeptSearches)
    assert source.name == "https://stac.example.org/v1 naip sentinel-2-c1-l2a under 20.0 % cloud"
    assert pickle.loads(pickle.dumps(source)) == source  # noqa: S301 - our own
    assert isinstance(_keeping(StacImagery(url="http://127.0.0.1:9"), request, 20.0), StacImagery)
