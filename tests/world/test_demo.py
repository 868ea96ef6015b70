"""The demo world of one state, as the build gets it."""

from pathlib import Path

import pytest
import rasterio

from gl10m.scene.acquisition import NAIP_WINDOW, SENTINEL2_WINDOW
from pipelines.world.demo import PASSES, demo_parameters, demo_region, demo_world
from pipelines.world.layout import SITE_DEGREES
from pipelines.world.plan import SITES
from tests.world.test_world import items

CLEAR_PERCENT = 2.0


def test_a_state_that_the_paper_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="AZ, CA, CO, FL, GA, IL, ME, NC, PA, TX, WA; asked for 'NY'"):
        demo_region("NY", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("region", SITES)
def test_every_state_is_flown_whole_in_the_window_and_in_part_before_it(region: str) -> None:
    parameters = demo_parameters(region)
    site = SITES[region]
    assert min(quad.bounds[0] for quad in parameters.quads) == site.west
    assert max(quad.bounds[3] for quad in parameters.quads) == site.south + SITE_DEGREES
    counted = [flight for flight in parameters.vintages if flight.day in NAIP_WINDOW]
    assert {flight.gsd for flight in counted} == {0.6, 1.0}
    assert any(flight.share == 1 for flight in counted)
    assert any(flight.day not in NAIP_WINDOW for flight in parameters.vintages)
    assert len({flight.day.year for flight in parameters.vintages}) == len(parameters.vintages)


def test_the_passes_hold_what_real_catalogues_hold() -> None:
    days = [passed.day for passed in PASSES]
    assert len(days) > len(set(days)), "a pass processed twice"
    assert {passed.offset for passed in PASSES if passed.day in SENTINEL2_WINDOW} == {1000}
    assert {passed.offset for passed in PASSES} == {0, 1000}
    assert any(passed.swath_share < 1 for passed in PASSES)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_whole_state(tmp_path: Path) -> None:
    demo_world(["IL"], tmp_path)
    assert (tmp_path / "osm/IL.osm.pbf").is_file()
    naip, passes = items(tmp_path, "naip"), items(tmp_path, "sentinel-2-l2a")
    assert len(naip) == 7
    covers = [item["properties"]["eo:cloud_cover"] for item in passes]
    assert sum(cover < CLEAR_PERCENT for cover in covers) >= 4
    assert max(covers) > 20
    for item in naip:
        with rasterio.open(tmp_path / item["assets"]["image"]["href"], driver="GTiff") as image:
            assert image.dtypes == ("uint8",) * 4
            assert image.crs.to_epsg() == 26916
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.tif")) < 800e6
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tif")}
    demo_world(["IL"], tmp_path)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tif")} == stamps
