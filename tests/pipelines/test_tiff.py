"""Headers: what GDAL wrote is read back, and no bytes do harm."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st

from pipelines.sources.byte_ranges import Version
from pipelines.sources.cog_header import TAGS, ForeignRasterError, Header, read_header
from pipelines.sources.tiff import MalformedTiffError, read_directories

AFFINE = rasterio.Affine(10, 0, 500_000, 0, -10, 4_000_000)


def written(folder: Path, **options: Any) -> bytes:  # noqa: ANN401 - GDAL's
    profile = {"driver": "GTiff", "crs": "EPSG:26910", "transform": AFFINE, "count": 4, "dtype": "uint8"}
    profile |= {"width": 300, "height": 200, "tiled": True, "blockxsize": 64, "blockysize": 64}
    profile |= {"compress": "DEFLATE"} | options
    with rasterio.open(folder / "x.tif", "w", **profile) as raster:
        shape = (profile["count"], profile["height"], profile["width"])
        raster.write(np.random.default_rng(1).integers(0, 200, shape).astype(profile["dtype"]))
        raster.build_overviews([2, 4])
    return (folder / "x.tif").read_bytes()


def read(body: bytes, head: int = 1024) -> Header:
    order, directories = read_directories(body[:head], lambda start, size: body[start : start + size], TAGS)
    return read_header(order, directories, Version(len(body), ""))


@pytest.mark.parametrize(
    "options", [{}, {"BIGTIFF": "YES"}, {"ENDIANNESS": "BIG"}, {"BIGTIFF": "YES", "ENDIANNESS": "BIG"}]
)
@pytest.mark.parametrize("head", [16, 1024, 1 << 20])
def test_the_grid_and_the_blocks_are_found(tmp_path: Path, options: dict[str, str], head: int) -> None:
    body = written(tmp_path, nodata=0, **options)
    header = read(body, head)
    assert (header.crs, header.left, header.top) == ("EPSG:26910", 500_000, 4_000_000)
    assert (header.pixel_width, header.pixel_height) == (10, 10)
    assert (header.layout.dtype, header.layout.bands, header.layout.nodata) == ("uint8", 4, 0)
    assert [(level.width, level.height) for level in header.levels] == [(300, 200), (150, 100), (75, 50)]
    assert header.levels[0].offsets.shape == (1, 4, 5)
    assert (header.levels[0].lengths > 0).all()


@pytest.mark.parametrize(
    ("why", "options"),
    [
        ("not DEFLATE", {"compress": "LZW"}),
        ("not DEFLATE", {"compress": "JPEG", "count": 3, "photometric": "YCbCr"}),
        ("not DEFLATE", {"compress": "ZSTD"}),
        ("not DEFLATE", {"compress": "NONE"}),
        ("not tiles", {"tiled": False}),
        ("not whole bytes", {"dtype": "float32", "count": 1}),
        ("not whole bytes", {"dtype": "int16", "count": 1}),
        ("not whole bytes", {"dtype": "uint16", "count": 1, "NBITS": 12}),
        ("one tie point", {"transform": rasterio.Affine(10, 1, 500_000, 1, -10, 4_000_000)}),
        ("more than a number|not projected", {"crs": "EPSG:4326"}),
        ("more than a number", {"crs": "+proj=lcc +lat_1=33 +lat_2=45 +lat_0=40 +lon_0=-97 +datum=WGS84"}),
    ],
)
def test_what_is_foreign_is_left_to_gdal(tmp_path: Path, why: str, options: dict[str, Any]) -> None:
    with pytest.raises(ForeignRasterError, match=why):
        read(written(tmp_path, **options))


def test_a_mask_is_foreign(tmp_path: Path) -> None:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True):
        written(tmp_path)
        with rasterio.open(tmp_path / "x.tif", "r+") as raster:
            raster.write_mask(np.eye(200, 300, dtype=np.uint8) * 255)
    with pytest.raises(ForeignRasterError, match="mask"):
        read((tmp_path / "x.tif").read_bytes())


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return written(tmp_path_factory.mktemp("tiff"), nodata=0)


@given(st.data())
def test_damaged_headers_are_errors_of_their_own(whole: bytes, data: st.DataObject) -> None:
    body = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 6))):
        place = data.draw(st.integers(0, 1500) | st.integers(0, len(body) - 1))
        body[place] = data.draw(st.integers(0, 255))
    asked = [0]

    def fetch(start: int, size: int) -> bytes:
        asked[0] += 1
        assert asked[0] < 1000
        return bytes(body[start : start + size])

    try:
        order, directories = read_directories(bytes(body[:64]), fetch, TAGS)
        header = read_header(order, directories, Version(len(body), ""))
    except (MalformedTiffError, ForeignRasterError):
        return
    for level in header.levels:
        assert (level.offsets + level.lengths <= len(body)).all()
        assert level.offsets.size <= 1 << 20


@given(st.binary(max_size=200))
def test_any_bytes_are_no_tiff_or_a_bounded_one(body: bytes) -> None:
    for start in (b"", b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0"):
        with pytest.raises((MalformedTiffError, ForeignRasterError)):
            read(start + body)


def test_a_directory_that_leads_back_is_refused() -> None:
    entry = b"\x00\x01\x03\x00\x01\x00\x00\x00\x05\x00\x00\x00"
    body = b"II*\0\x08\0\0\0" + b"\x01\0" + entry + b"\x08\0\0\0"
    with pytest.raises(MalformedTiffError, match="leads back"):
        read(body)
