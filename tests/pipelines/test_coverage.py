"""Coverage: the whole footprint in Sentinel-2, all tiles in NAIP."""

from datetime import date

import pyarrow as pa
import pytest
import shapely
from pyproj import Geod

from gl10m.manifest.outcome import Outcome
from gl10m.manifest.schema import CANDIDATES, ITEMS
from gl10m.scene.footprint import Footprint
from gl10m.scene.rejection import Reason
from pipelines.sources.imagery import Sensor
from pipelines.stages.coverage import CoverageParameters, coverage_footprints, within_coverage
from tests.pipelines.ruler import candidate
from tests.pipelines.test_matching import naip, sentinel2, table

DAY = date(2023, 6, 1)
LEFT, RIGHT = shapely.box(-121.1, 36.9, -121.0, 37.1), shapely.box(-121.0, 36.9, -120.9, 37.1)
CENTRE = candidate(Footprint(-121.0, 37.0))


def cover(candidates: pa.Table, items: pa.Table) -> Outcome:
    return within_coverage(candidates, items, "CA", CoverageParameters())


def test_items_cover_together() -> None:
    items = table(
        [
            naip("n1", DAY, LEFT),
            naip("n2", DAY, RIGHT),
            sentinel2("s1", DAY, LEFT),
            sentinel2("s2", DAY, RIGHT),
        ]
    )
    outcome = cover(CENTRE, items)
    assert outcome.kept.equals(CENTRE)
    assert outcome.dropped.num_rows == 0


def test_half_a_footprint_of_sentinel2_is_not_enough() -> None:
    outcome = cover(
        CENTRE, table([naip("n1", DAY, LEFT), naip("n2", DAY, RIGHT), sentinel2("s1", DAY, LEFT)])
    )
    assert outcome.dropped["reason"].to_pylist() == [Reason.OUTSIDE_SENTINEL2_COVERAGE]


def test_clouded_and_undated_items_are_no_coverage() -> None:
    clouded = sentinel2("s", DAY, shapely.box(-121.1, 36.9, -120.9, 37.1), cloud=2.0)
    older = naip("n", date(2021, 12, 31), LEFT)
    assert cover(CENTRE, table([clouded, naip("n", DAY, LEFT)])).kept.num_rows == 0
    clear = sentinel2("s", DAY, shapely.box(-122, 36, -120, 38))
    assert cover(CENTRE, table([clear, older])).dropped["reason"].to_pylist() == [
        Reason.OUTSIDE_NAIP_COVERAGE
    ]


def test_every_tile_must_meet_naip_but_need_not_be_filled() -> None:
    clear = sentinel2("s", DAY, shapely.box(-122, 36, -120, 38))
    west, south, east, north = Footprint(-121.0, 37.0).bounds
    touching_all = shapely.box(west + 0.0012, south + 0.0012, east - 0.0012, north - 0.0012)
    without_last_column = shapely.box(west, south, east - 0.003, north)
    assert cover(CENTRE, table([clear, naip("n", DAY, touching_all)])).kept.num_rows == 1
    (row,) = cover(CENTRE, table([clear, naip("n", DAY, without_last_column)])).dropped.to_pylist()
    assert row["detail"] == "10 of 100 tiles meet no NAIP item"


def test_to_touch_a_tile_is_not_to_show_it() -> None:
    clear = sentinel2("s", DAY, shapely.box(-122, 36, -120, 38))
    footprint = Footprint(-121.0, 37.0)
    west, south, _, north = footprint.bounds
    to_the_last_column = shapely.box(west, south, footprint.edges(10)[0][9], north)
    (row,) = cover(CENTRE, table([clear, naip("n", DAY, to_the_last_column)])).dropped.to_pylist()
    assert row["detail"] == "10 of 100 tiles meet no NAIP item"


def test_without_items_everything_is_rejected_and_without_rows_nothing() -> None:
    assert cover(CENTRE, ITEMS.empty()).dropped.num_rows == 1
    assert cover(CANDIDATES.empty(), ITEMS.empty()).read == 0


def test_the_footprints_of_coverage_are_measured_on_the_ellipsoid() -> None:
    items = table(
        [
            naip("n1", DAY, LEFT),
            naip("n2", date(2023, 7, 1), LEFT),
            sentinel2("s1", DAY, LEFT),
            sentinel2("s2", DAY, RIGHT),
            sentinel2("clouded", date(2023, 8, 1), shapely.box(-125, 30, -120, 40), cloud=2.0),
        ]
    )
    names = {Sensor.NAIP: "here", Sensor.SENTINEL2: "there"}
    high, low = coverage_footprints(items, "CA", names, CoverageParameters()).to_pylist()
    one = abs(Geod(ellps="WGS84").geometry_area_perimeter(LEFT)[0]) / 1e6
    assert (high["sensor"], high["source"], high["items"]) == ("naip", "here", 2)
    assert (high["first_day"], high["last_day"]) == (DAY, date(2023, 7, 1))
    assert high["area_km2"] == pytest.approx(one)  # 8.9 x 22.2 km; overlaps count once
    assert one == pytest.approx(197.7, abs=0.5)
    assert (low["items"], low["last_day"], low["most_cloud_percent"]) == (2, DAY, 2.0)
    assert low["area_km2"] == pytest.approx(2 * one)
    assert shapely.from_wkb(low["geometry"]).equals(shapely.union(LEFT, RIGHT))


def test_no_items_cover_nothing() -> None:
    names = {Sensor.NAIP: "here", Sensor.SENTINEL2: "there"}
    for row in coverage_footprints(ITEMS.empty(), "CA", names, CoverageParameters()).to_pylist():
        assert (row["items"], row["area_km2"], row["first_day"]) == (0, 0, None)
