"""The grids of the two sensors, compared with real catalogue items."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.world.grids import (
    QUARTER_DEGREES,
    Granule,
    PixelFrame,
    QuarterQuad,
    granules,
    naip_utm,
    quarter_quads,
    utm_zone,
)

REAL_ITEMS = Path(__file__).parents[2] / "../shared/data/stac"


def real(name: str) -> list[dict[str, Any]]:
    path = REAL_ITEMS / name
    if not path.is_file():
        pytest.skip(f"needs the real catalogue items {name}, which are not here")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_quarter_quads_are_named_as_the_real_ones() -> None:
    for item in real("naip_items.ndjson"):
        west, south, east, north = item["bbox"]
        column = int(((west + east) / 2) // QUARTER_DEGREES)
        row = int(((south + north) / 2) // QUARTER_DEGREES)
        quad = QuarterQuad(row, column)
        zone = item["properties"]["proj:epsg"] - 26900
        assert f"_m_{quad.name}_{zone}_" in item["id"]


def test_a_quarter_quad_is_about_as_large_as_the_real_one() -> None:
    item = next(item for item in real("naip_items.ndjson") if item["properties"]["gsd"] == 0.6)
    west, south, east, north = item["bbox"]
    quad = QuarterQuad(
        int(((south + north) / 2) // QUARTER_DEGREES), int(((west + east) / 2) // QUARTER_DEGREES)
    )
    for ours, theirs in zip(quad.frame(0.6).bounds, item["properties"]["proj:bbox"], strict=True):
        assert abs(ours - theirs) < 150


def test_granules_are_named_and_placed_as_the_real_ones() -> None:
    seen = set()
    for item in real("sentinel-2-l2a_items.ndjson"):
        properties = item["properties"]
        west, _, _, north = bounds = item["assets"]["B02"].get("proj:bbox", [0, 0, 0, 0])
        if not 32600 < properties["proj:epsg"] < 32700 or not north:
            continue  # the demo world stays north of the equator
        granule = Granule(properties["proj:epsg"], round(west / 1e5), round(north / 1e5) - 1)
        assert granule.name == properties["s2:mgrs_tile"]
        assert list(granule.bounds) == bounds
        seen.add(granule.name)
    assert len(seen) >= 5


def test_a_rectangle_on_a_zone_border_meets_granules_of_both_zones() -> None:
    found = granules((-84.07, 33.93, -83.93, 34.07), 2500)
    assert [granule.epsg for granule, _ in found] == [32616, 32617]


def test_a_rectangle_on_a_granule_border_meets_both() -> None:
    names = [granule.name for granule, _ in granules((-97.2, 31.49, -97.05, 31.64), 2500)]
    assert names == ["14RPV", "14SPA"]


@given(
    st.floats(-1e6, 1e6),
    st.floats(-1e6, 1e6),
    st.floats(1, 5e4),
    st.floats(1, 5e4),
    st.sampled_from([0.6, 1, 10]),
)
def test_a_frame_covers_its_bounds_and_no_more_than_a_pixel_around(
    west: float, south: float, width: float, height: float, step: float
) -> None:
    frame = PixelFrame.covering(32614, step, (west, south, west + width, south + height))
    inner = (west, south, west + width, south + height)
    for outer, edge, sign in zip(frame.bounds, inner, (1, 1, -1, -1), strict=True):
        assert -1e-6 <= sign * (edge - outer) < step + 1e-6


@given(st.floats(-124, -67), st.floats(25, 49))
def test_the_footprint_of_any_anchor_lies_in_the_quads_about_it(longitude: float, latitude: float) -> None:
    quads = quarter_quads([(longitude, latitude)], 0.012)
    west = min(quad.bounds[0] for quad in quads)
    south = min(quad.bounds[1] for quad in quads)
    east = max(quad.bounds[2] for quad in quads)
    north = max(quad.bounds[3] for quad in quads)
    assert west <= longitude - 0.012 < longitude + 0.012 < east
    assert south <= latitude - 0.012 < latitude + 0.012 < north
    assert len(quads) in {1, 2, 4}


def test_naip_comes_in_nad_83_where_that_is_defined() -> None:
    assert naip_utm(utm_zone(-97.0), 31.0) == 26914
    assert naip_utm(utm_zone(9.5), 47.1) == 32632
