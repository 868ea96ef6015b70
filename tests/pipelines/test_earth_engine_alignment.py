"""Alignment of the Earth Engine source: the ruler of test_alignment, read through the real client library."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import shapely

from gl10m.scene.acquisition import NAIP_WINDOW, SENTINEL2_WINDOW
from gl10m.scene.footprint import HR_PIXELS, LR_PIXELS, Footprint
from gl10m.scene.grid import join
from gl10m.store.codec import decode
from pipelines.sources.earth_engine import EarthEngineImagery
from pipelines.sources.imagery import Sensor
from pipelines.stages.coverage import CoverageParameters, within_coverage
from pipelines.stages.hr import HRParameters, fetch_hr
from pipelines.stages.lr import LRParameters, fetch_lr
from pipelines.stages.matching import MatchParameters, match
from tests.pipelines.earth_engine_server import EarthEngine, naip_asset, sentinel2_asset, serving
from tests.pipelines.imagery_server import World
from tests.pipelines.ruler import (
    COUNTS_HIGH,
    COUNTS_LOW,
    HIGH,
    LOW,
    TILE,
    Ruler,
    candidate,
    centres,
    shifts,
)
from tests.pipelines.test_alignment import PLACES, WGS84, Quad, draw_naip, draw_sentinel2

QUICK = "Texas, 29 N, zone 14, two quads at 0.6 m"
"""The others are slow: the loopback server computes some 3 s a quad."""


def drawn(folder: Path, footprint: Footprint, quads: list[Quad]) -> EarthEngine:
    """The ruler's rasters as Earth Engine has them."""
    rasters, service = World(), EarthEngine()
    draw_naip(rasters, folder, Ruler(footprint=footprint, half_wave=TILE / 2), quads)
    draw_sentinel2(rasters, folder, Ruler(footprint=footprint, half_wave=TILE), quads[0][0] + WGS84)
    for item in rasters.items:
        if item["collection"] == "naip":
            service.add(naip_asset(item, folder / Path(item["assets"]["image"]["href"]).name))
        else:
            service.add(sentinel2_asset(item, folder))
    return service


@pytest.fixture(
    params=[pytest.param(name, marks=() if name == QUICK else pytest.mark.slow) for name in PLACES]
)
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[EarthEngine, Footprint, list[Quad]]]:
    footprint, quads = PLACES[request.param]
    with serving(drawn(tmp_path, footprint, quads)) as service:
        for name, value in service.environment(service.write_key(tmp_path / "key.json")).items():
            monkeypatch.setenv(name, value)
        yield service, footprint, quads


def test_the_ruler_comes_back_from_earth_engine(place: tuple[EarthEngine, Footprint, list[Quad]]) -> None:
    service, footprint, quads = place
    imagery = EarthEngineImagery()
    naip = imagery.search(Sensor.NAIP, shapely.box(*footprint.bounds), NAIP_WINDOW)
    items = pa.concat_tables(
        [naip, imagery.search(Sensor.SENTINEL2, shapely.box(*footprint.bounds), SENTINEL2_WINDOW)]
    )

    covered = within_coverage(candidate(footprint), items, "CA", CoverageParameters()).kept
    matched = match(covered, items, "CA", MatchParameters())
    lr = fetch_lr(matched.kept, items, imagery, "CA", LRParameters())
    hr = fetch_hr(lr.kept, items, imagery, "CA", HRParameters())
    (scene,) = hr.kept.to_pylist()
    assert len(scene["naip_items"]) == len(quads)
    assert scene["black_lr"] == scene["filled_lr"] == 0
    assert max(scene["black_hr"]) == 0
    assert len(service.asked("computePixels")) == 2  # one an image

    ruler, at = Ruler(footprint=footprint, half_wave=TILE), centres(footprint, LR_PIXELS)
    low, high = COUNTS_LOW * 255 / 3000, COUNTS_HIGH * 255 / 3000
    found = shifts(ruler, decode(scene["lr"])[:2], *at, low=low, high=high)
    assert np.abs(found).max() < 0.05  # of a pixel of 10 m; half a source pixel is 0.5

    ruler, at = Ruler(footprint=footprint, half_wave=TILE / 2), centres(footprint, HR_PIXELS)
    mosaic = join(np.stack([decode(tile) for tile in scene["hr"]]))
    assert np.abs(shifts(ruler, mosaic[:2], *at, low=LOW, high=HIGH)).max() < 0.02  # of a pixel of 1 m
    for number, tile in enumerate(decode(tile) for tile in scene["hr"]):
        code = 30 + 20 * (number // 10) + 2 * (number % 10)
        assert abs(float(np.median(tile[2])) - code) <= 1, f"tile {number} shows another tile"
