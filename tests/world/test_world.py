"""A whole rendered world: its rasters, its catalogue, and how it comes about."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import pytest
import rasterio
from numpy.typing import NDArray

from gl10m.scene.class_map import ClassMap
from pipelines import single_file
from pipelines.world.grids import PixelFrame
from pipelines.world.landscape import Landscape
from pipelines.world.naip import Vintage, season
from pipelines.world.sentinel2 import BANDS
from pipelines.world.sky import SCL_NO_DATA
from pipelines.world.world import WorldParameters, WorldTooLargeError, render_world, world_from_osm
from tests.world.scenery import (
    AGAIN,
    CLEAR,
    CLOUDY,
    CUT,
    OLD,
    QUAD,
    TINY,
    bytes_of,
    chequered,
    digests,
    labelled,
)
from tests.worlds import REAL_OSM, square, world_of, write_world

REAL_ITEMS = Path(__file__).parents[2] / "../shared/data/stac"
CLOUDS = (8, 9, 10)


def items(world: Path, collection: str) -> list[dict[str, Any]]:
    text = (world / "stac" / collection / "items.ndjson").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def read(path: Path) -> NDArray[Any]:
    with rasterio.open(path, driver="GTiff") as raster:
        pixels: NDArray[Any] = raster.read()
    return pixels


def granule(world: Path, day: date, generated: str = "") -> dict[str, Any]:
    return next(
        item
        for item in items(world, "sentinel-2-l2a")
        if f"_{day:%Y%m%d}T" in item["id"] and item["id"].split("_")[-1].startswith(generated)
    )


def band(world: Path, item: dict[str, Any], name: str) -> NDArray[Any]:
    pixels: NDArray[Any] = read(world / item["assets"][name]["href"])[0]
    return pixels


def assets(world: Path) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for collection in ("naip", "sentinel-2-l2a"):
        for item in items(world, collection):
            for asset in item["assets"].values():
                yield item, asset


def test_rasters_are_cloud_optimised(tiny_world: Path) -> None:
    for _, asset in assets(tiny_world):
        with rasterio.open(tiny_world / asset["href"], driver="GTiff") as raster:
            assert raster.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
            assert raster.compression.value == "DEFLATE"
            assert raster.block_shapes == [(512, 512)] * raster.count
            assert raster.overviews(1)[:1] == [2] * (max(raster.shape) > 512)
            naip = "naip" in asset["href"]
            assert raster.count == (4 if naip else 1)
            assert raster.nodata == (None if naip else 0)


def test_items_say_where_their_rasters_lie(tiny_world: Path) -> None:
    for item, asset in assets(tiny_world):
        about = {**item["properties"], **asset}
        with rasterio.open(tiny_world / asset["href"], driver="GTiff") as raster:
            assert raster.crs.to_epsg() == about["proj:epsg"]
            assert list(raster.shape) == about["proj:shape"]
            assert np.allclose(list(raster.transform)[:6], about["proj:transform"][:6])
            assert np.allclose(list(raster.bounds), about["proj:bbox"])
            west, south, east, north = rasterio.warp.transform_bounds(raster.crs, 4326, *raster.bounds)
            assert np.allclose(item["bbox"], (west, south, east, north), atol=1e-4)


@pytest.mark.parametrize("collection", ["naip", "sentinel-2-l2a"])
def test_items_have_the_properties_of_the_real_ones(tiny_world: Path, collection: str) -> None:
    path = REAL_ITEMS / f"{collection}_items.ndjson"
    if not path.is_file():
        pytest.skip("needs the real catalogue items, which are not here")
    real = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    always = set.intersection(*(set(item["properties"]) for item in real))
    for item in items(tiny_world, collection):
        assert always <= set(item["properties"])
        for name in always:
            kinds = {type(example["properties"][name]) for example in real}
            assert type(item["properties"][name]) in kinds | ({int, float} if float in kinds else set())
        assert set(item["assets"]) <= set.union(*(set(example["assets"]) for example in real))


def test_items_and_collections_are_stac(tiny_world: Path) -> None:
    for collection in ("naip", "sentinel-2-l2a"):
        about = json.loads((tiny_world / "stac" / collection / "collection.json").read_text(encoding="utf-8"))
        assert pystac.Collection.from_dict(about).id == collection
        for item in items(tiny_world, collection):
            read_back = pystac.Item.from_dict(item)
            assert read_back.collection_id == collection
            assert read_back.datetime is not None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_items_are_valid_by_the_schema(tiny_world: Path) -> None:
    """Against the schema that travels with pystac, which is one minor version newer than the real items."""
    pytest.importorskip("jsonschema", reason="pystac validates with jsonschema, which is not installed")
    from pystac.validation.local_validator import VERSION, LocalValidator

    schemas = LocalValidator()
    for name in ("naip", "sentinel-2-l2a"):
        collection = json.loads((tiny_world / "stac" / name / "collection.json").read_text(encoding="utf-8"))
        about = {**collection, "stac_version": VERSION}
        assert list(schemas.collection_validator().iter_errors(about)) == []
        for item in items(tiny_world, name):
            assert list(schemas.item_validator().iter_errors({**item, "stac_version": VERSION})) == []


def test_reflectance_is_the_mean_of_what_naip_sees(tiny_world: Path, class_map: ClassMap) -> None:
    """Ten metres of Sentinel-2 against ten times ten pixels of the ground at 1 m, drawn by itself."""
    world = Landscape(chequered(class_map), class_map)
    item = granule(tiny_world, CLEAR.day)
    reflectance = np.stack([band(tiny_world, item, name) for name in BANDS]).astype(float) / 10_000 - 0.1
    west, _, _, north = item["assets"]["B04"]["proj:bbox"]
    row, column, size = 400, 300, 60
    frame = PixelFrame(
        item["properties"]["proj:epsg"],
        1.0,
        round(west) + 10 * column,
        -round(north) + 10 * row,
        10 * size,
        10 * size,
    )
    (packed,) = world.pixels(frame, [world.atlas(season(CLEAR.day))])
    seen = bytes_of(packed)[..., :3].reshape(size, 10, size, 10, 3).mean(axis=(1, 3))
    here = reflectance[:, row : row + size, column : column + size] / 0.3 * 255
    difference = np.abs(np.moveaxis(here, 0, -1) - seen)
    assert difference.mean() < 0.5
    assert np.quantile(difference, 0.99) < 5


def test_cloud_cover_counts_the_clouds_of_the_classification(tiny_world: Path) -> None:
    for item in items(tiny_world, "sentinel-2-l2a"):
        classes = band(tiny_world, item, "SCL")
        observed = classes != SCL_NO_DATA
        share = 100 * np.isin(classes, CLOUDS).sum() / observed.sum()
        assert item["properties"]["eo:cloud_cover"] == pytest.approx(share, abs=1e-4)
        assert item["properties"]["s2:nodata_pixel_percentage"] == pytest.approx(
            100 * (~observed).mean(), abs=1e-4
        )
    covers = {
        day: granule(tiny_world, day)["properties"]["eo:cloud_cover"] for day in (CLEAR.day, CLOUDY.day)
    }
    assert covers[CLOUDY.day] > 15


def test_beyond_the_edge_of_the_swath_there_is_no_data(tiny_world: Path) -> None:
    item = granule(tiny_world, CUT.day)
    unseen = band(tiny_world, item, "SCL") == SCL_NO_DATA
    assert 0.3 < unseen.mean() < 0.7
    for name in BANDS:
        assert np.array_equal(band(tiny_world, item, name) == 0, unseen.repeat(2, axis=0).repeat(2, axis=1))


def test_one_cloud_never_goes(tiny_world: Path) -> None:
    stack = [
        np.isin(band(tiny_world, granule(tiny_world, passed.day), "SCL"), CLOUDS)
        for passed in (CLEAR, CLOUDY, OLD)
    ]
    always = np.logical_and.reduce(stack)
    assert always.sum() * 20 * 20 > 0.8 * np.pi * 500**2  # square metres: most of the standing cloud


def test_two_processings_of_a_pass_show_the_same_and_only_new_ones_are_offset(tiny_world: Path) -> None:
    first = granule(tiny_world, CLEAR.day, f"{CLEAR.processed:%Y%m%d}")
    again = granule(tiny_world, AGAIN.day, f"{AGAIN.processed:%Y%m%d}")
    assert first["id"] != again["id"]
    assert first["properties"]["s2:processing_baseline"] < again["properties"]["s2:processing_baseline"]
    assert np.array_equal(band(tiny_world, first, "SCL"), band(tiny_world, again, "SCL"))
    # The same ground on nearly the same day of another year, before the offset came.
    old = granule(tiny_world, OLD.day)
    clear = (band(tiny_world, first, "SCL") < 7) & (band(tiny_world, old, "SCL") < 7)
    clear &= (band(tiny_world, first, "SCL") > 3) & (band(tiny_world, old, "SCL") > 3)
    at_10_m = clear.repeat(2, axis=0).repeat(2, axis=1)
    apart = band(tiny_world, first, "B03").astype(int) - band(tiny_world, old, "B03")
    assert abs(np.median(apart[at_10_m]) - 1000) < 30


def test_a_black_hole_is_the_only_black(tiny_world: Path) -> None:
    (item,) = items(tiny_world, "naip")
    black = (read(tiny_world / item["assets"]["image"]["href"]) == 0).all(axis=0)
    assert black.sum() * 4.0**2 == pytest.approx(700.0**2, rel=0.02)
    rows, columns = np.nonzero(black)
    assert black[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1].all()


def test_the_same_polygons_give_the_same_bytes(tiny_world: Path, tmp_path: Path, class_map: ClassMap) -> None:
    render_world(chequered(class_map), tmp_path, "TX", class_map, TINY)
    assert digests(tmp_path) == digests(tiny_world)


def test_a_finished_world_is_left_alone_and_other_polygons_replace_it(
    tmp_path: Path, class_map: ClassMap
) -> None:
    small = replace(TINY, acquisitions=(CLEAR,))
    one, other = (
        labelled(class_map, [(slug, (-97.16, 31.33, -97.15, 31.34))]) for slug in ("lake", "parking")
    )
    render_world(one, tmp_path, "TX", class_map, small)
    before = digests(tmp_path)
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tif")}
    render_world(one, tmp_path, "TX", class_map, small)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tif")} == stamps
    later = replace(small, vintages=(Vintage(date(2022, 9, 21), 4.0),))
    render_world(other, tmp_path, "TX", class_map, later)
    changed = {name for name, digest in digests(tmp_path).items() if before.get(name) != digest}
    flown = f"imagery/naip/tx_m_{QUAD.name}_14_400_20220921.tif"
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.glob("imagery/naip/*.tif")] == [flown]
    assert {flown, *(name for name in before if name.endswith("B04.tif"))} <= changed


@pytest.mark.slow
def test_a_killed_run_goes_on_and_gives_the_same_bytes(
    tiny_world: Path, tmp_path: Path, class_map: ClassMap
) -> None:
    script = (
        "import sys; from pathlib import Path; from gl10m.scene.class_map import ClassMap\n"
        "from tests.world.scenery import TINY, chequered; from pipelines.world.world import render_world\n"
        "m = ClassMap.bundled(); render_world(chequered(m), Path(sys.argv[1]), 'TX', m, TINY)"
    )
    run = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=Path(__file__).parents[2])
    deadline = time.monotonic() + 120
    while len(list(tmp_path.glob("imagery/sentinel-2/[!.]*.tif"))) < 6 and time.monotonic() < deadline:
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not (tmp_path / "stac/naip/items.ndjson").exists()
    render_world(chequered(class_map), tmp_path, "TX", class_map, TINY)
    assert digests(tmp_path) == digests(tiny_world)


def test_two_regions_live_in_one_world(tmp_path: Path, class_map: ClassMap) -> None:
    polygons = labelled(class_map, [("lake", (-97.16, 31.33, -97.15, 31.34))])
    small = replace(TINY, acquisitions=(CLEAR,))
    for region in ("TX", "OK"):
        render_world(polygons, tmp_path, region, class_map, small)
    assert len({item["id"] for item in items(tmp_path, "sentinel-2-l2a")}) == 2
    assert [item["properties"]["naip:state"] for item in items(tmp_path, "naip")] == ["ok", "tx"]


def test_a_world_too_wide_is_refused_before_anything_is_written(tmp_path: Path, class_map: ClassMap) -> None:
    wide = labelled(class_map, [("lake", (x, 31.3, x + 0.01, 31.31)) for x in np.arange(-99, -97, 0.05)])
    with pytest.raises(WorldTooLargeError, match="at most 24 quarter quads"):
        render_world(wide, tmp_path, "TX", class_map)
    scattered = labelled(class_map, [("lake", (x, 31.3, x + 0.01, 31.31)) for x in (-104.0, -97.0)])
    with pytest.raises(WorldTooLargeError, match="scattered over"):
        render_world(scattered, tmp_path, "TX", class_map)
    with pytest.raises(ValueError, match="Widen them"):
        render_world(wide, tmp_path, "TX", class_map, WorldParameters(bounds=(0, 0, 1, 1)))
    with pytest.raises(ValueError, match="two capital letters"):
        render_world(wide, tmp_path, "Texas", class_map)
    assert not list(tmp_path.iterdir())


def test_a_world_comes_from_an_osm_file(tmp_path: Path, class_map: ClassMap) -> None:
    osm = write_world(
        tmp_path / "town.opl",
        world_of(
            square(7, -97.15, 31.34, 0.005, "leisure=golf_course"),
            square(8, -97.14, 31.34, 0.002, "amenity=parking"),
        ),
    )
    world_from_osm(osm, tmp_path / "world", "TX", class_map, replace(TINY, acquisitions=(CLEAR,), quads=()))
    found = items(tmp_path / "world", "naip")
    assert [item["properties"]["gsd"] for item in found] == [4.0] * len(found)
    assert any(item["bbox"][0] < -97.15 < item["bbox"][2] for item in found)


def test_a_second_run_says_that_the_rasters_stood_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = replace(TINY, acquisitions=(CLEAR,), quads=())
    monkeypatch.setattr(single_file, "WorldParameters", lambda **_: tiny)
    osm = write_world(tmp_path / "town.opl", square(7, -97.15, 31.34, 0.005, "leisure=golf_course"))

    def render() -> str:
        return single_file.render_world(osm, tmp_path / "world", "TX", None, bounds=None, most_quads=24)

    first, again = render(), render()
    number = len(list((tmp_path / "world").rglob("*.tif")))
    assert number > 0
    assert f"wrote {number} rasters" in first
    assert "already" not in first
    assert "wrote 0 rasters (0 MB)" in again
    assert f"; {number} rasters stood there already" in again


@pytest.mark.slow
@pytest.mark.skipif(not REAL_OSM.is_dir(), reason="needs the real extracts, which are not here")
def test_a_real_town_becomes_a_world(tmp_path: Path, class_map: ClassMap) -> None:
    world_from_osm(REAL_OSM / "felton_california.osm.pbf", tmp_path, "CA", class_map)
    assert len(items(tmp_path, "naip")) == 4
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.tif")) < 500e6
