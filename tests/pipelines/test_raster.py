"""Both ways to a raster's pixels: the header decides which, and both give the same."""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from rasterio.shutil import copy

from gl10m.scene.footprint import HR_PIXELS, Footprint
from pipelines.sources.cog_header import Foreign
from pipelines.sources.gdal_raster import GdalReader
from pipelines.sources.imagery import DamagedRasterError
from pipelines.sources.patch import Expected
from pipelines.sources.patience import Patience
from pipelines.sources.raster import Layer, Reader
from tests.pipelines.imagery_server import Request, World, serving
from tests.pipelines.ruler import Array, frame

PLACE = Footprint(-121.0, 37.0)
EPSG = 26910
AFFINE, HEIGHT, WIDTH = frame(PLACE, EPSG, 10.0)


def quick(attempts: int) -> Reader:
    return Reader(patience=Patience(attempts=attempts, wait_initial=0.05, jitter=0.05))


QUICK = quick(3)


@pytest.fixture
def world() -> Iterator[World]:
    with serving(World()) as running:
        yield running


def painted(bands: int, dtype: str, seed: int = 1) -> Array:
    rng = np.random.default_rng(seed)
    steps = rng.integers(0, 40, (bands, HEIGHT, WIDTH))
    pixels = (np.cumsum(steps, axis=2) % 251).astype(dtype)
    pixels[:, 40:90, 50:120] = 0
    pixels[1:, 100:120] = 0
    return pixels


def serve(world: World, folder: Path, pixels: Array, name: str = "x.tif", **options: Any) -> str:  # noqa: ANN401 - GDAL's
    """Serve a GeoTIFF of these pixels; gives its address."""
    driver, tag = options.pop("driver", "GTiff"), options.pop("etag", "")
    options = {"compress": "DEFLATE"} | options
    shape = {"count": len(pixels), "height": pixels.shape[1], "width": pixels.shape[2], "dtype": pixels.dtype}
    place = {"crs": f"EPSG:{EPSG}", "transform": AFFINE, "nodata": options.pop("nodata", None)}
    made = folder / name
    if driver == "GTiff":
        options = {"tiled": True, "blockxsize": 128, "blockysize": 64} | options
        with rasterio.open(made, "w", driver="GTiff", **place, **shape, **options) as raster:
            raster.write(pixels)
    else:
        with rasterio.open(folder / "plain.tif", "w", driver="GTiff", **place, **shape) as raster:
            raster.write(pixels)
        copy(folder / "plain.tif", made, driver=driver, **options)
    world.files[name] = made.read_bytes()
    if tag:
        world.etags[name] = tag
    return f"{world.url}/{name}"


def expected(bands: int, dtype: str) -> Expected:
    return Expected(dtype=dtype, counts=(bands,), wanted=tuple(range(1, min(bands, 3) + 1)), pixels=HR_PIXELS)


def reader_of(address: str) -> str:
    (known,) = QUICK.headers([address])
    return "GDAL" if isinstance(known, Foreign) else "ours"


OURS: dict[str, tuple[int, str, dict[str, Any]]] = {
    "NAIP": (4, "uint8", {"driver": "COG", "predictor": "YES", "blocksize": 512}),
    "three bands": (3, "uint8", {"predictor": 2, "interleave": "pixel"}),
    "four bands, no predictor": (4, "uint8", {"interleave": "pixel"}),
    "band after band": (4, "uint8", {"interleave": "band", "predictor": 2}),
    "no-data": (4, "uint8", {"interleave": "pixel", "nodata": 0, "predictor": 2}),
    "no-data, band after band": (3, "uint8", {"interleave": "band", "nodata": 0}),
    "blocks left out": (
        4,
        "uint8",
        {"sparse_ok": True, "interleave": "pixel", "blockxsize": 16, "blockysize": 16},
    ),
    "blocks left out of no-data": (
        1,
        "uint16",
        {"sparse_ok": True, "nodata": 0, "blockxsize": 16, "blockysize": 16},
    ),
    "Sentinel-2": (1, "uint16", {"driver": "COG", "predictor": "YES", "nodata": 0, "blocksize": 512}),
    "big-endian": (1, "uint16", {"ENDIANNESS": "BIG", "predictor": 2}),
    "big-endian, four bands": (4, "uint8", {"ENDIANNESS": "BIG", "predictor": 2, "interleave": "pixel"}),
    "BigTIFF": (4, "uint8", {"BIGTIFF": "YES", "interleave": "pixel"}),
}
GDALS: dict[str, tuple[int, str, dict[str, Any]]] = {
    "LZW": (4, "uint8", {"compress": "LZW"}),
    "ZSTD": (1, "uint16", {"compress": "ZSTD"}),
    "not compressed": (4, "uint8", {"compress": "NONE"}),
    "strips": (4, "uint8", {"tiled": False, "blockxsize": WIDTH}),
    "JPEG": (3, "uint8", {"driver": "COG", "compress": "JPEG", "quality": 90}),
}


@pytest.mark.parametrize("name", [*OURS, *GDALS])
def test_both_readers_give_the_same_pixels(world: World, tmp_path: Path, name: str) -> None:
    bands, dtype, options = (OURS | GDALS)[name]
    address = serve(world, tmp_path, painted(bands, dtype), **dict(options))
    assert reader_of(address) == ("ours" if name in OURS else "GDAL")
    shown = QUICK.read(address, expected(bands, dtype), PLACE)
    other = GdalReader().read(address, expected(bands, dtype), PLACE)
    assert shown.frame == other.frame
    assert shown.pixels.dtype == other.pixels.dtype
    assert np.array_equal(shown.pixels, other.pixels)
    assert np.array_equal(shown.valid, other.valid)
    if options.get("nodata") == 0:
        assert 0 < shown.valid.mean() < 1
    else:
        assert shown.valid.all()


def test_few_requests_bring_the_blocks_and_little_else(world: World, tmp_path: Path) -> None:
    address = serve(
        world, tmp_path, painted(4, "uint8"), driver="COG", predictor="YES", blocksize=128, etag='"1"'
    )
    (known,) = QUICK.headers([address])
    layer = QUICK.plan(address, known, expected(4, "uint8"), PLACE)
    assert isinstance(layer, Layer)
    blocks = [block for run in layer.runs for block in run.blocks]
    rows = len({block.row for block in blocks})
    before, asked = world.sent, len(world.requests)
    QUICK.read(address, expected(4, "uint8"), PLACE)
    assert len(world.requests) - asked == len(layer.runs) <= rows
    assert world.sent - before <= 1.02 * sum(block.span.stop - block.span.start for block in blocks)


def test_a_neighbour_asks_for_nothing_that_is_known(world: World, tmp_path: Path) -> None:
    address = serve(world, tmp_path, painted(1, "uint16"), etag='"1"', name="neighbour.tif")
    first = QUICK.read(address, expected(1, "uint16"), PLACE)
    asked = len(world.requests)
    again = QUICK.read(address, expected(1, "uint16"), PLACE)
    assert len(world.requests) == asked
    assert np.array_equal(first.pixels, again.pixels)


def test_two_versions_are_never_mixed(world: World, tmp_path: Path) -> None:
    address = serve(world, tmp_path, painted(4, "uint8", seed=1), etag='"old"')
    before = world.files["x.tif"]
    serve(world, tmp_path, painted(4, "uint8", seed=2), name="new.tif")

    def replace(request: Request) -> None:
        if (request.range or "").startswith("bytes=0-"):
            return  # the header is still the old one's, the blocks are the new one's
        world.files["x.tif"], world.etags["x.tif"] = world.files["new.tif"], '"new"'

    world.fault = replace
    shown = QUICK.read(address, expected(4, "uint8"), PLACE)
    assert world.files["x.tif"] != before
    assert np.array_equal(
        shown.pixels, GdalReader().read(f"{world.url}/new.tif", expected(4, "uint8"), PLACE).pixels
    )


def test_a_file_that_never_rests_is_an_error(world: World, tmp_path: Path) -> None:
    address = serve(world, tmp_path, painted(4, "uint8"))

    def change(request: Request) -> None:
        world.etags["x.tif"] = f'"{request.number}"'

    world.fault = change
    with pytest.raises(DamagedRasterError, match=r"x\.tif was replaced while it was read"):
        quick(2).read(address, expected(4, "uint8"), PLACE)


def damaged(body: bytes, damage: bytes, *, keep_length: bool = True) -> bytes:
    """A file whose first block is another one."""
    with rasterio.MemoryFile(body) as memory, memory.open() as raster:
        start = int(raster.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1))
        size = int(raster.get_tag_item("BLOCK_SIZE_0_0", "TIFF", bidx=1))
    assert len(damage) <= size or not keep_length
    return body[:start] + damage + body[start + len(damage) :]


def test_a_block_that_swells_is_refused(world: World, tmp_path: Path) -> None:
    address = serve(world, tmp_path, painted(4, "uint8"), interleave="pixel")
    bomb = zlib.compress(bytes(1 << 20), 9)  # 1 MB from 1 kB, where 32 kB are due
    world.files["x.tif"] = damaged(world.files["x.tif"], bomb)
    with pytest.raises(
        DamagedRasterError, match=r"x\.tif could not be read in 2 attempts: a block inflates to"
    ):
        quick(2).read(address, expected(4, "uint8"), PLACE)


def test_a_flipped_bit_is_asked_for_again_and_alone(world: World, tmp_path: Path) -> None:
    address = serve(world, tmp_path, painted(4, "uint8"), interleave="pixel", etag='"1"')
    calm = QUICK.read(address, expected(4, "uint8"), PLACE)
    address = serve(world, tmp_path, painted(4, "uint8"), interleave="pixel", name="y.tif", etag='"2"')
    right = world.files["y.tif"]
    with rasterio.open(tmp_path / "y.tif") as raster:
        start = int(raster.get_tag_item("BLOCK_OFFSET_1_1", "TIFF", bidx=1))
    world.files["y.tif"] = right[: start + 700] + bytes([right[start + 700] ^ 4]) + right[start + 701 :]

    def mend(request: Request) -> None:
        if (request.range or "").startswith(f"bytes={start}-"):
            world.files["y.tif"] = right

    world.fault = mend
    shown = QUICK.read(address, expected(4, "uint8"), PLACE)
    assert np.array_equal(shown.pixels, calm.pixels)
    assert world.requests[-1].range is not None
    assert world.requests[-1].range.startswith(f"bytes={start}-")


def test_a_table_that_leads_out_of_the_file_is_damaged(world: World, tmp_path: Path) -> None:
    address = serve(world, tmp_path, painted(4, "uint8"), interleave="pixel")
    body = bytearray(world.files["x.tif"])
    count, place = struct.unpack_from("<H", body, 8)[0], 10
    for number in range(count):
        tag, kind, values, at = struct.unpack_from("<HHII", body, place + 12 * number)
        if tag == 324:
            assert kind == 4
            struct.pack_into("<I", body, at + 4 * (values // 2), 2**32 - 5)
    world.files["x.tif"] = bytes(body)
    with pytest.raises(DamagedRasterError, match="inside of a file"):
        quick(1).read(address, expected(4, "uint8"), PLACE)


def test_pixels_too_small_to_be_real_are_refused_before_memory_is_taken(world: World, tmp_path: Path) -> None:
    fine = rasterio.Affine(0.01, 0, AFFINE.c + 1000, 0, -0.01, AFFINE.f - 1000)
    address = serve(world, tmp_path, painted(4, "uint8"), interleave="pixel")
    with rasterio.open(tmp_path / "x.tif", "r+") as raster:
        raster.transform = fine
    world.files["x.tif"] = (tmp_path / "x.tif").read_bytes()
    with pytest.raises(DamagedRasterError, match="at most"):
        quick(1).read(address, expected(4, "uint8"), PLACE)
