"""Pixels over real HTTP: masks, mosaics, overviews, faults, and hostile files."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import rasterio
import shapely
from pyproj import Transformer

from gl10m.manifest.schema import ITEMS
from gl10m.scene.footprint import HR_PIXELS, LR_PIXELS, Footprint
from pipelines.sources.asset_urls import RefusedAddressError
from pipelines.sources.cog import NAIP_IMAGE, read_naip, read_sentinel2
from pipelines.sources.imagery import DamagedRasterError, Sensor, SourceUnavailableError
from pipelines.sources.items import item_row
from pipelines.sources.patience import Patience
from pipelines.sources.raster import Reader
from tests.pipelines.imagery_server import Fault, Request, World, serving
from tests.pipelines.ruler import Array, frame, naip_item, outline, sentinel2_item, write_tiff

REAL = Path(__file__).parents[2] / "../shared/data/imagery"
PLACE = Footprint(-121.0, 37.0)
EPSG = 26910


def quick(attempts: int) -> Reader:
    return Reader(patience=Patience(attempts=attempts, wait_initial=0.1, jitter=0.1))


QUICK = quick(3)
Painter = Callable[[int, int], Array]
"""Gives the pixels of a raster of so many rows and columns."""


@pytest.fixture
def world() -> Iterator[World]:
    with serving(World()) as running:
        yield running


def naip(world: World, *names: str, epsg: int = EPSG) -> pa.Table:
    affine, height, width = frame(PLACE, epsg, 10.0)
    ground = outline(epsg, affine, height, width)
    rows = [naip_item(name, "2023-06-01", epsg, ground, href=f"{world.url}/{name}.tif") for name in names]
    return pa.Table.from_pylist([item_row(row, Sensor.NAIP) for row in rows], schema=ITEMS.schema)


def put(
    world: World,
    folder: Path,
    name: str,
    paint: Painter,
    *,
    epsg: int = EPSG,
    part: tuple[float, float] = (-0.1, 1.1),
    nodata: int | None = None,
) -> None:
    """Serve a NAIP quad of 10 m pixels over a part of the footprint from west to east."""
    affine, height, width = frame(PLACE, epsg, 10.0, west=part[0], east=part[1])
    file = folder / f"{name}.tif"
    world.files[file.name] = write_tiff(file, paint(height, width), epsg, affine, nodata=nodata)


def plain(value: int) -> Painter:
    return lambda height, width: np.full((4, height, width), value, np.uint8)


def noise(seed: int) -> Painter:
    rng = np.random.default_rng(seed)
    return lambda height, width: rng.integers(0, 255, (4, height, width), np.uint8)


def test_zero_is_a_value_and_near_infrared_no_alpha(world: World, tmp_path: Path) -> None:
    put(world, tmp_path, "dark", plain(0))
    shown = read_naip(naip(world, "dark"), PLACE, QUICK)
    assert shown.observed.all()
    assert (shown.pixels == 0).all()


def test_beyond_the_raster_nothing_is_observed_and_nothing_mixes_in(world: World, tmp_path: Path) -> None:
    put(world, tmp_path, "west", plain(200), part=(-0.1, 0.5))
    shown = read_naip(naip(world, "west"), PLACE, QUICK)
    assert 0.45 < shown.observed.mean() < 0.55
    assert set(np.unique(shown.pixels[:, shown.observed])) == {200}
    assert (shown.pixels[:, ~shown.observed] == 0).all()


def test_the_earlier_item_wins_and_no_pixel_lies_between(world: World, tmp_path: Path) -> None:
    put(world, tmp_path, "west", plain(200), part=(-0.1, 0.6))
    put(world, tmp_path, "east", plain(100), part=(0.4, 1.1))
    for first, other in (("west", "east"), ("east", "west")):
        shown = read_naip(naip(world, first, other), PLACE, QUICK)
        assert shown.observed.all()
        share = (shown.pixels == (200 if first == "west" else 100)).mean()
        assert 0.58 < share < 0.63
        # One native sheet: only the pixels about the border are interpolated between the quads.
        assert np.isin(shown.pixels, (100, 200)).mean() > 0.99


def test_two_zones_meet_without_a_seam(world: World, tmp_path: Path) -> None:
    put(world, tmp_path, "west", plain(200), part=(-0.1, 0.6))
    put(world, tmp_path, "east", plain(100), part=(0.4, 1.1), epsg=26911)
    items = pa.concat_tables([naip(world, "west"), naip(world, "east", epsg=26911)])
    shown = read_naip(items, PLACE, QUICK)
    assert shown.observed.all()
    assert set(np.unique(shown.pixels)) == {100, 200}


def test_no_data_counts_only_where_all_bands_have_it(world: World, tmp_path: Path) -> None:
    def pixels(height: int, width: int) -> Array:
        image = np.full((4, height, width), 90, np.uint8)
        image[0] = 0
        image[:, : height // 2] = 0
        return image

    put(world, tmp_path, "collar", pixels, nodata=0)
    shown = read_naip(naip(world, "collar"), PLACE, QUICK)
    assert 0.4 < shown.observed.mean() < 0.6
    assert set(np.unique(shown.pixels[1, shown.observed])) == {90}
    assert (shown.pixels[0] == 0).all()


def test_a_half_that_is_covered_already_is_not_read_twice(world: World, tmp_path: Path) -> None:
    put(world, tmp_path, "a", noise(1))
    put(world, tmp_path, "b", noise(2))
    read_naip(naip(world, "a", "b"), PLACE, QUICK)
    assert not [request for request in world.requests if request.path == "b.tif"]


def test_the_overview_that_is_not_coarser_than_the_image_is_read(world: World, tmp_path: Path) -> None:
    affine, height, width = frame(PLACE, EPSG, 0.5, west=0.45, east=0.55, margin=-0.45)
    image = np.zeros((4, height, width), np.uint8)
    image[:, :, 0::2] = 200  # a stripe a pixel: the overview of two is even
    world.files["fine.tif"] = write_tiff(tmp_path / "fine.tif", image, EPSG, affine, overviews=True)
    steps = (HR_PIXELS, LR_PIXELS)
    for pixels, size in zip(steps, (0.5, 1.0), strict=True):
        expected = type(NAIP_IMAGE)(dtype="uint8", counts=(4,), wanted=(1, 2, 3), pixels=pixels)
        patch = QUICK.read(f"{world.url}/fine.tif", expected, PLACE)
        assert patch.frame.lattice.width == pytest.approx(size, rel=0.01)


def sentinel2(world: World, folder: Path, counts: Painter, classes: Painter) -> dict[str, Any]:
    """Serve a Sentinel-2 item; gives its row of schema ITEMS."""
    epsg = 32610
    affine, height, width = frame(PLACE, epsg, 10.0)
    for band in ("B04", "B03", "B02"):
        pixels = counts(height, width).astype(np.uint16)[None]
        world.files[f"s2/{band}.tif"] = write_tiff(folder / f"{band}.tif", pixels, epsg, affine)
    coarse = rasterio.Affine(20.0, 0, affine.c, 0, -20.0, affine.f)
    coarsely = classes(height // 2 + 1, width // 2 + 1).astype(np.uint8)[None]
    world.files["s2/SCL.tif"] = write_tiff(folder / "SCL.tif", coarsely, epsg, coarse)
    ground = outline(epsg, affine, height, width)
    return item_row(sentinel2_item("s", "2023-06-01", epsg, ground, f"{world.url}/s2"), Sensor.SENTINEL2)


def table(row: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist([row], schema=ITEMS.schema)


def flat(value: int) -> Painter:
    return lambda height, width: np.full((height, width), value)


def test_no_data_does_not_bleed_into_reflectance(world: World, tmp_path: Path) -> None:
    def counts(height: int, width: int) -> Array:
        swath = np.full((height, width), 3000)
        swath[np.add.outer(np.arange(height), np.arange(width)) < (height + width) // 2] = 0
        return swath

    item = sentinel2(world, tmp_path, counts, flat(5))
    shown = read_sentinel2(table(item), PLACE, QUICK)
    assert 0.4 < shown.observed.mean() < 0.6
    assert np.ptp(shown.reflectance[:, shown.observed]) < 1e-6
    assert shown.reflectance[0, shown.observed].mean() == pytest.approx(0.2)
    assert (shown.reflectance[:, ~shown.observed] == 0).all()
    assert (shown.classification == 5 * shown.observed).all()
    assert shown.reflectance.dtype == np.float32


def test_classes_are_never_interpolated(world: World, tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    item = sentinel2(world, tmp_path, flat(1500), lambda height, width: rng.choice([4, 9], (height, width)))
    shown = read_sentinel2(table(item), PLACE, QUICK)
    assert set(np.unique(shown.classification)) == {4, 9}


def test_scale_and_offset_come_from_the_item(world: World, tmp_path: Path) -> None:
    item = sentinel2(world, tmp_path, flat(2000), flat(4)) | {"scale": 2e-4, "offset": 0.1}
    assert read_sentinel2(table(item), PLACE, QUICK).reflectance == pytest.approx(0.5)


def first(count: int, fault: Fault, only: Callable[[Request], bool]) -> Callable[[Request], Fault | None]:
    """A server that fails `count` times."""
    left = [count]

    def inject(request: Request) -> Fault | None:
        if not only(request) or left[0] == 0:
            return None
        left[0] -= 1
        return fault

    return inject


FAULTS = {
    "busy": Fault(503, b"", {"Retry-After": "0"}),
    "too many": Fault(429),
    "expired signature": Fault(403),
    "not found": Fault(404),
    "a page instead": Fault(200, b"<html>please log in</html>"),
    "cut off": Fault(hang_up_after=3000),
    "reset": Fault(hang_up_after=0),
    "a flipped bit": Fault(flip=True),
}


@pytest.mark.parametrize("when", ["at once", "later"])
@pytest.mark.parametrize("name", FAULTS)
def test_passing_faults_change_no_pixel(world: World, tmp_path: Path, name: str, when: str) -> None:
    put(world, tmp_path, "calm", noise(3))
    world.files["rough.tif"] = world.files["calm.tif"]
    calm = QUICK.read(f"{world.url}/calm.tif", NAIP_IMAGE, PLACE)

    def hit(request: Request) -> bool:
        return when == "at once" or not (request.range or "bytes=0-").startswith("bytes=0-")

    world.fault = first(1, FAULTS[name], hit)
    rough = QUICK.read(f"{world.url}/rough.tif", NAIP_IMAGE, PLACE)
    assert np.array_equal(rough.pixels, calm.pixels)
    assert rough.valid.all()


@pytest.mark.parametrize("name", ["not found", "expired signature", "busy"])
def test_lasting_faults_are_errors_not_black_pixels(world: World, tmp_path: Path, name: str) -> None:
    put(world, tmp_path, "x", plain(7))
    world.fault = lambda _: FAULTS[name]
    with pytest.raises(SourceUnavailableError, match=r"x\.tif could not be read in 2 attempts") as raised:
        read_naip(naip(world, "x"), PLACE, quick(2))
    assert "\n" not in str(raised.value)


def test_a_server_that_is_gone_is_unavailable() -> None:
    with serving(World()) as gone:
        items = naip(gone, "x")
    with pytest.raises(SourceUnavailableError):
        read_naip(items, PLACE, quick(2))


def tiff(folder: Path, pixels: Array, profile: dict[str, Any]) -> bytes:
    count, height, width = pixels.shape
    shape = {"count": count, "height": height, "width": width, "dtype": pixels.dtype}
    affine, _, _ = frame(PLACE, EPSG, 10.0)
    profile = {"driver": "GTiff", "crs": f"EPSG:{EPSG}", "transform": affine} | shape | profile
    with rasterio.open(folder / "made.tif", "w", **profile) as raster:
        raster.write(pixels)
    return (folder / "made.tif").read_bytes()


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize(
    ("what", "profile"),
    [
        ("two bands", {"count": 2}),
        ("16 bits", {"dtype": "uint16"}),
        ("no CRS", {"crs": None}),
        ("rotated", {"transform": rasterio.Affine(1, 1, 0, 1, -1, 0)}),
        ("no place", {"transform": rasterio.Affine(1, 0, 0, 0, 1, 0)}),
        ("PNG", {"driver": "PNG"}),
    ],
)
def test_a_raster_of_another_kind_is_damaged(
    world: World, tmp_path: Path, what: str, profile: dict[str, Any]
) -> None:
    pixels = np.ones((profile.get("count", 4), 260, 230), profile.get("dtype", "uint8"))
    world.files["x.tif"] = tiff(tmp_path, pixels, profile)
    with pytest.raises(DamagedRasterError, match=r"x\.tif"):
        read_naip(naip(world, "x"), PLACE, quick(1))
    assert what


def test_a_raster_that_claims_to_be_huge_is_refused(world: World, tmp_path: Path) -> None:
    affine, _, _ = frame(PLACE, EPSG, 10.0)
    fine = rasterio.Affine(0.02, 0, affine.c, 0, -0.02, affine.f)
    profile = {"driver": "GTiff", "crs": f"EPSG:{EPSG}", "dtype": "uint8", "count": 4, "sparse_ok": True}
    size = {"width": 130_000, "height": 130_000, "tiled": True, "blockxsize": 4096, "blockysize": 4096}
    with rasterio.open(tmp_path / "x.tif", "w", transform=fine, **profile, **size):
        pass
    world.files["x.tif"] = (tmp_path / "x.tif").read_bytes()
    with pytest.raises(DamagedRasterError, match="at most"):
        read_naip(naip(world, "x"), PLACE, quick(1))


def test_damaged_blocks_are_an_error(world: World, tmp_path: Path) -> None:
    put(world, tmp_path, "x", noise(4))
    body = bytearray(world.files["x.tif"])
    body[len(body) // 2 : len(body) // 2 + 5000] = bytes(5000)
    world.files["x.tif"] = bytes(body)
    with pytest.raises(DamagedRasterError, match=r"x\.tif"):
        read_naip(naip(world, "x"), PLACE, quick(2))


@pytest.mark.parametrize("href", ["file:///etc/passwd", "/vsimem/x.tif", "/etc/passwd", "s3://bucket/x.tif"])
def test_only_web_addresses_are_read(href: str) -> None:
    with pytest.raises(RefusedAddressError):
        QUICK.read(href, NAIP_IMAGE, PLACE)


# Real pixels, served over the loopback.


def serve_real(world: World, path: str) -> None:
    file = REAL / path
    if not file.exists():
        pytest.skip(f"needs the real imagery in {file}")
    world.files[path] = file.read_bytes()


def centre(epsg: int, x: float, y: float) -> Footprint:
    longitude, latitude = Transformer.from_crs(epsg, 4326, always_xy=True).transform(x, y)
    return Footprint(longitude, latitude)


def test_real_naip_of_two_years_shows_the_same_ground(world: World) -> None:
    place = centre(26914, 488_240, 5_207_440)
    images = []
    for year in ("20180716", "20200831"):
        name = f"naip/m_4709963_se_14_1_{year}.tif"
        serve_real(world, name)
        item = naip_item(year, "2020-08-31", 26914, outline_of(place), href=f"{world.url}/{name}", gsd=5.0)
        shown = read_naip(table(item_row(item, Sensor.NAIP)), place, QUICK)
        assert shown.observed.mean() > 0.99
        images.append(shown.pixels[:, ::10, ::10].astype(float))
    # Fields change in two years; roads and shores do not.
    assert np.corrcoef(images[0].ravel(), images[1].ravel())[0, 1] > 0.5


@pytest.mark.parametrize(
    "name", ["naip/m_3211605_ne_11_060_20200415.tif", "naip/m_4112001_sw_10_060_20220716.tif"]
)
def test_real_crops_of_naip_are_observed_where_they_lie(world: World, name: str) -> None:
    serve_real(world, name)
    with rasterio.open(REAL / name) as raster:
        west, south, east, north = raster.bounds
        epsg, whole = raster.crs.to_epsg(), raster.read([1, 2, 3])
    place = centre(epsg, (west + east) / 2, (south + north) / 2)
    item = naip_item("n", "2022-07-16", epsg, outline_of(place), href=f"{world.url}/{name}")
    shown = read_naip(pa.Table.from_pylist([item_row(item, Sensor.NAIP)], schema=ITEMS.schema), place, QUICK)
    assert shown.observed.any()
    seen = shown.pixels[:, shown.observed]
    assert abs(float(seen.mean()) - float(whole.mean())) < 25


def test_real_sentinel2_reads_as_reflectance(world: World) -> None:
    bands = {"B04": "B04", "B03": "B03", "B02": "B02", "SCL": "cloud_mask"}
    for name in bands.values():
        serve_real(world, f"sentinel2_10m/{name}.tif")
    place = centre(32633, 824_967, 5_000)
    item = sentinel2_item("s", "2022-07-06", 32633, outline_of(place), f"{world.url}/sentinel2_10m")
    item["assets"]["SCL"]["href"] = f"{world.url}/sentinel2_10m/cloud_mask.tif"
    shown = read_sentinel2(table(item_row(item, Sensor.SENTINEL2)), place, QUICK)
    assert shown.observed.all()
    assert 0 < np.median(shown.reflectance) < 0.4


def outline_of(place: Footprint) -> shapely.Polygon:
    return shapely.box(*place.bounds)
