"""Alignment, proved: a ruler on the ground comes back in LR and in all 100 tiles where it belongs."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import rasterio
import shapely
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from gl10m.scene.acquisition import NAIP_WINDOW, SENTINEL2_WINDOW
from gl10m.scene.footprint import HR_PIXELS, LR_PIXELS, Footprint
from gl10m.scene.grid import cut, join
from gl10m.store.codec import decode
from pipelines.sources.imagery import Sensor
from pipelines.sources.stac import StacImagery
from pipelines.stages.coverage import CoverageParameters, within_coverage
from pipelines.stages.hr import HRParameters, fetch_hr
from pipelines.stages.lr import LRParameters, fetch_lr
from pipelines.stages.matching import MatchParameters, match
from tests.pipelines.imagery_server import World, serving
from tests.pipelines.ruler import (
    COUNTS_HIGH,
    COUNTS_LOW,
    HIGH,
    LOW,
    OFFSET,
    TILE,
    Array,
    Ruler,
    candidate,
    centres,
    coordinates,
    frame,
    naip_item,
    outline,
    sentinel2_item,
    shifts,
    write_tiff,
)

Quad = tuple[int, float, float, float]
"""EPSG code, metres a pixel, western and eastern edge as shares of the footprint."""

ONE = (-0.1, 1.1)
WGS84 = 32600 - 26900
"""From a UTM zone of NAD 83 to that of WGS 84 in EPSG codes."""

PLACES: dict[str, tuple[Footprint, list[Quad]]] = {
    "Florida, 25 N, zone 17": (Footprint(-80.6, 25.45), [(26917, 1.0, *ONE)]),
    "Texas, 29 N, zone 14, two quads at 0.6 m": (
        Footprint(-98.1, 29.3),
        [(26914, 0.6, -0.1, 0.6), (26914, 0.6, 0.45, 1.1)],
    ),
    "Arizona, 36 N, zones 12 and 11": (
        Footprint(-113.998, 36.2),
        [(26912, 1.0, 0.3, 1.1), (26911, 1.0, -0.1, 0.5)],
    ),
    "Washington, 49 N, zone 10, far west of its meridian": (Footprint(-124.4, 48.2), [(26910, 1.0, *ONE)]),
    "Maine, 47 N, zone 19, at 0.3 m, so from an overview": (Footprint(-68.4, 47.3), [(26919, 0.3, *ONE)]),
}
SLOW = {"Maine, 47 N, zone 19, at 0.3 m, so from an overview"}


def draw_naip(world: World, folder: Path, ruler: Ruler, quads: list[Quad]) -> None:
    for number, (epsg, gsd, west, east) in enumerate(quads):
        affine, height, width = frame(ruler.footprint, epsg, gsd, west=west, east=east)
        longitude, latitude = coordinates(epsg, affine, height, width)
        pixels = np.empty((4, height, width), np.uint8)
        pixels[:2] = np.rint(LOW + (HIGH - LOW) * ruler.heights(longitude, latitude))
        pixels[2] = ruler.code(longitude, latitude)
        pixels[3] = 0  # near infrared of 0 would hide everything if it were taken for alpha
        name = f"quad_{number}"
        world.files[f"naip/{name}.tif"] = write_tiff(
            folder / f"{name}.tif", pixels, epsg, affine, overviews=from_overview(quads)
        )
        ground = outline(epsg, affine, height, width)
        world.items.append(naip_item(name, "2023-06-01", epsg, ground, href=f"naip/{name}.tif", gsd=gsd))


def draw_sentinel2(world: World, folder: Path, ruler: Ruler, epsg: int) -> None:
    affine, height, width = frame(ruler.footprint, epsg, 10.0)
    longitude, latitude = coordinates(epsg, affine, height, width)
    wave = ruler.heights(longitude, latitude)
    counts = np.rint(OFFSET + COUNTS_LOW + (COUNTS_HIGH - COUNTS_LOW) * wave).astype(np.uint16)
    for band, pixels in zip(("B04", "B03", "B02"), [counts[0], counts[1], counts[0]], strict=True):
        world.files[f"s2/{band}.tif"] = write_tiff(
            folder / f"{band}.tif", pixels[None], epsg, affine, nodata=0
        )
    coarse = rasterio.Affine(20.0, 0, affine.c, 0, -20.0, affine.f)
    classes = np.full((1, height // 2 + 1, width // 2 + 1), 4, np.uint8)
    world.files["s2/SCL.tif"] = write_tiff(folder / "SCL.tif", classes, epsg, coarse, nodata=0)
    ground = outline(epsg, affine, height, width)
    world.items.append(sentinel2_item("s2", "2023-06-11", epsg, ground, "s2"))


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in PLACES],
)
def place(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[World, Footprint, list[Quad]]]:
    footprint, quads = PLACES[request.param]
    folder = tmp_path_factory.mktemp("ruler")
    with serving(World()) as world:
        draw_naip(world, folder, Ruler(footprint=footprint, half_wave=TILE / 2), quads)
        draw_sentinel2(world, folder, Ruler(footprint=footprint, half_wave=TILE), quads[0][0] + WGS84)
        yield world, footprint, quads


def items_of(imagery: StacImagery, footprint: Footprint) -> pa.Table:
    naip = imagery.search(Sensor.NAIP, shapely.box(*footprint.bounds), NAIP_WINDOW)
    return pa.concat_tables(
        [naip, imagery.search(Sensor.SENTINEL2, shapely.box(*footprint.bounds), SENTINEL2_WINDOW)]
    )


def test_the_ruler_comes_back_in_lr_and_in_all_tiles(place: tuple[World, Footprint, list[Quad]]) -> None:
    world, footprint, quads = place
    imagery = StacImagery(url=world.url)
    items = items_of(imagery, footprint)

    covered = within_coverage(candidate(footprint), items, "CA", CoverageParameters()).kept
    matched = match(covered, items, "CA", MatchParameters())
    lr = fetch_lr(matched.kept, items, imagery, "CA", LRParameters())
    hr = fetch_hr(lr.kept, items, imagery, "CA", HRParameters())
    (scene,) = hr.kept.to_pylist()
    assert len(scene["naip_items"]) == len(quads)
    assert scene["black_lr"] == scene["filled_lr"] == 0
    assert max(scene["black_hr"]) == 0

    # LR, through rendering and JPEG: 0.3 of reflectance is 255 levels.
    lr_ruler, at = Ruler(footprint=footprint, half_wave=TILE), centres(footprint, LR_PIXELS)
    low, high = COUNTS_LOW * 255 / 3000, COUNTS_HIGH * 255 / 3000
    east, south = shifts(lr_ruler, decode(scene["lr"])[:2], *at, low=low, high=high)
    assert max(abs(east), abs(south)) < 0.05  # of a pixel of 10 m; half a source pixel is 0.5

    # HR, through JPEG: each tile by itself.
    hr_ruler = Ruler(footprint=footprint, half_wave=TILE / 2)
    longitude, latitude = (cut(degrees[None])[:, 0] for degrees in centres(footprint, HR_PIXELS))
    tiles = np.stack([decode(tile) for tile in scene["hr"]])
    worst = 0.0
    for number, tile in enumerate(tiles):
        moved = shifts(hr_ruler, tile[:2], longitude[number], latitude[number], low=LOW, high=HIGH)
        worst = max(worst, float(np.abs(moved).max()))
        code = 30 + 20 * (number // 10) + 2 * (number % 10)
        assert abs(float(np.median(tile[2])) - code) <= 1, f"tile {number} shows another tile"
    # Of a pixel of 1 m. GDAL writes the overviews of an odd-sized raster half a full pixel off, here 0.15 m.
    assert worst < (0.2 if from_overview(quads) else 0.02)


def test_pixels_agree_with_gdal_and_tiles_with_the_mosaic(place: tuple[World, Footprint, list[Quad]]) -> None:
    world, footprint, quads = place
    imagery = StacImagery(url=world.url)
    items = imagery.search(Sensor.NAIP, shapely.box(*footprint.bounds), NAIP_WINDOW)
    order = pa.array([items["item_id"].to_pylist().index(f"quad_{number}") for number in range(len(quads))])
    shown = imagery.read_naip(items.take(order), footprint)
    assert shown.observed.all()
    assert np.array_equal(join(cut(shown.pixels)), shown.pixels)

    expected = np.zeros_like(shown.pixels)
    missing = np.ones(shown.observed.shape, np.bool_)
    for number in range(len(quads)):
        exact, whole = oracle(world.files[f"naip/quad_{number}.tif"], footprint)
        np.copyto(expected, exact, where=missing & whole)
        missing &= ~whole
    assert not missing.any()
    difference = np.abs(shown.pixels[:2].astype(int) - expected[:2])
    assert difference.mean() < (0.3 if from_overview(quads) else 0.15)
    assert np.quantile(difference, 0.999) <= 3


def from_overview(quads: list[Quad]) -> bool:
    """Whether the output is twice as coarse as the quads."""
    return quads[0][1] < 0.5


def oracle(tiff: bytes, footprint: Footprint) -> tuple[Array, Array]:
    """GDAL's own virtual warp of one quad without near infrared: RGB, and where the kernel is whole."""
    with rasterio.MemoryFile(tiff) as memory, memory.open() as quad:
        profile = {**quad.profile, "driver": "GTiff", "count": 3, "photometric": "RGB", "compress": None}
        pixels = quad.read([1, 2, 3])
    with rasterio.MemoryFile() as memory:
        with memory.open(**profile) as coloured:
            coloured.write(pixels)
        with memory.open() as coloured, virtual_warp(coloured, footprint) as warped:
            shown = warped.read()
    return shown[:3], shown[3] == 255


def virtual_warp(raster: rasterio.DatasetReader, footprint: Footprint) -> WarpedVRT:
    return WarpedVRT(
        raster,
        crs="EPSG:4326",
        transform=rasterio.Affine(*footprint.affine(HR_PIXELS)),
        width=HR_PIXELS,
        height=HR_PIXELS,
        resampling=Resampling.bilinear,
        tolerance=0.001,
        add_alpha=True,
    )
