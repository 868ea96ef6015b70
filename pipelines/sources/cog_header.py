"""What the header of a GeoTIFF says: its grid, its levels, and where each block lies in the file.

A header is fetched and read once in a process. It also decides who reads the pixels: a raster in tiles,
DEFLATE, of whole bytes, north up in a CRS that has a number, is read block by block here; whatever else TIFF
allows is GDAL's, and the header says what it was that is foreign.
"""

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import CRSError

from pipelines.sources.byte_ranges import Ranges, Span, Version
from pipelines.sources.tiff import Directory, MalformedTiffError, read_directories

HEAD_BYTES = 32_768
"""First request: holds the whole header of a quad of 0.6 m or of a Sentinel-2 band."""

MOST_HEADER_BYTES = 16 << 20
"""Bytes of a header at most, all requests together."""

MOST_HEADER_REQUESTS = 64
"""Requests for a header at most: GDAL writes some 3 for a file that is not cloud-optimised."""

MOST_BLOCK_SIDE = 4096
"""Pixels on a side of a block at most."""

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 254, 256, 257, 258, 259, 262, 266
ORIENTATION, SAMPLES, PLANAR, PREDICTOR = 274, 277, 284, 317
TILE_WIDTH, TILE_HEIGHT, OFFSETS, LENGTHS, FORMAT = 322, 323, 324, 325, 339
SCALE, TIEPOINT, MATRIX, GEO_KEYS, NODATA = 33550, 33922, 34264, 34735, 42113
TAGS = frozenset(
    {
        SUBFILE,
        WIDTH,
        HEIGHT,
        BITS,
        COMPRESSION,
        PHOTOMETRIC,
        FILL_ORDER,
        ORIENTATION,
        SAMPLES,
        PLANAR,
        PREDICTOR,
    }
    | {TILE_WIDTH, TILE_HEIGHT, OFFSETS, LENGTHS, FORMAT, SCALE, TIEPOINT, MATRIX, GEO_KEYS, NODATA}
)

_DEFLATE = frozenset({8, 32946})
_MODEL, _RASTER, _PROJECTED = 1024, 1025, 3072
_PLAIN_KEYS = frozenset({_MODEL, _RASTER, 1026, 2048, 2049, 2050, 2052, 2054, 2056, 2057, 2058, 2059})
"""GeoTIFF keys that say nothing against the number of the CRS (OGC 19-008r4)."""
_PROJECTED_KEYS = frozenset({_PROJECTED, 3073, 3076})


class ForeignRasterError(ValueError):
    """A TIFF of a kind that is left to GDAL."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """One resolution of a raster: the whole one, or an overview."""

    width: int
    height: int
    block_width: int
    block_height: int

    offsets: NDArray[np.int64]
    """Shape (planes, rows, columns) of blocks: where each begins in the file; 0 with length 0 if left out."""

    lengths: NDArray[np.int64]
    """Likewise, bytes of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How the pixels of all levels are written."""

    dtype: str
    """uint8 or uint16."""

    order: str
    """Byte order, "<" or ">"."""

    bands: int

    planes: int
    """Planes of blocks: 1 if a block holds all bands, else one for each band."""

    differenced: bool
    """Whether a row holds differences to the pixel on its left (predictor 2)."""

    nodata: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """All that is known of a raster before a pixel is read."""

    version: Version
    crs: str
    """As "EPSG:26910"."""
    left: float
    top: float
    """North-western corner, in units of the CRS."""
    pixel_width: float
    pixel_height: float
    """Of the whole raster, positive, in units of the CRS."""
    layout: Layout
    levels: tuple[Level, ...]
    """The whole raster first, then its overviews, finest first."""


@dataclass(frozen=True, slots=True)
class Foreign:
    """A raster that GDAL is to read."""

    why: str


Known = Header | Foreign
"""What is known of a raster."""


def fetch_header(ranges: Ranges, href: str) -> Known:
    """Fetch and read a header.

    Raises:
        SourceUnavailableError: the file cannot be reached.
        MalformedTiffError: it is no TIFF, contradicts itself, or was replaced meanwhile.
    """
    head = ranges.vouched(href, Span(0, HEAD_BYTES), whole=False)
    spent = [0, 0]

    def fetch(start: int, length: int) -> bytes:
        spent[0] += 1
        spent[1] += length
        stop = min(start + length, head.version.size)
        if spent[0] > MOST_HEADER_REQUESTS or spent[1] > MOST_HEADER_BYTES or start >= stop:
            raise MalformedTiffError(
                f"a header takes at most {MOST_HEADER_REQUESTS} requests and {MOST_HEADER_BYTES} bytes of "
                f"the file; it leads to {length} bytes from {start} of {head.version.size}"
            )
        piece = ranges.vouched(href, Span(start, stop))
        if piece.version != head.version:
            raise MalformedTiffError("the file was replaced while its header was read")
        return piece.body

    order, directories = read_directories(head.body, fetch, TAGS)
    try:
        return read_header(order, directories, head.version)
    except ForeignRasterError as foreign:
        return Foreign(str(foreign))


def read_header(order: str, directories: list[Directory], version: Version) -> Header:
    """What the directories of a file say about its pixels.

    Args:
        order: byte order, "<" or ">".
        directories: the whole raster first, with TAGS read.
        version: of the file.

    Raises:
        MalformedTiffError: they contradict themselves.
        ForeignRasterError: GDAL is to read the pixels.
    """
    whole, reduced = directories[0], 1
    if any(directory.number(SUBFILE, 0) not in {0, reduced} for directory in directories):
        raise ForeignRasterError("a mask or a page of its own")
    overviews = [other for other in directories[1:] if other.number(SUBFILE, 0) == reduced]
    if len(overviews) != len(directories) - 1:
        raise ForeignRasterError("several images")
    layout = _layout(order, whole)
    if any(_layout(order, overview) != layout for overview in overviews if NODATA in overview.tags):
        raise ForeignRasterError("overviews of another kind")
    left, top, pixel_width, pixel_height = _place(whole)
    levels = [_level(directory, layout, version.size) for directory in (whole, *overviews)]
    return Header(
        version=version,
        crs=_crs(whole.numbers(GEO_KEYS)),
        left=left,
        top=top,
        pixel_width=pixel_width,
        pixel_height=pixel_height,
        layout=layout,
        levels=(levels[0], *sorted(levels[1:], key=lambda level: -level.width)),
    )


def _layout(order: str, image: Directory) -> Layout:
    """How the pixels of an image are written.

    Raises:
        ForeignRasterError: in another way than here.
    """
    bands = image.number(SAMPLES, 1)
    bits, formats = set(image.numbers(BITS).tolist()), set(image.numbers(FORMAT).tolist()) or {1}
    kind = {
        "tiles": TILE_WIDTH in image.tags and OFFSETS in image.tags,
        "DEFLATE": image.number(COMPRESSION, 1) in _DEFLATE,
        "whole bytes": (bits, formats) in (({8}, {1}), ({16}, {1})),
        "grey or RGB": image.number(PHOTOMETRIC, 1) in {1, 2},
        "the usual order": image.number(FILL_ORDER, 1) == image.number(ORIENTATION, 1) == 1,
        "predictor 1 or 2": image.number(PREDICTOR, 1) in {1, 2},
        "a known planar configuration": image.number(PLANAR, 1) in {1, 2},
    }
    if not all(kind.values()):
        raise ForeignRasterError(f"not {next(name for name, true in kind.items() if not true)}")
    interleaved = image.number(PLANAR, 1) == 1
    dtype = "uint8" if bits == {8} else "uint16"
    return Layout(
        dtype=dtype,
        order=order,
        bands=bands,
        planes=1 if interleaved else bands,
        differenced=image.number(PREDICTOR, 1) == 2,  # noqa: PLR2004 - predictor 2
        nodata=_nodata(image.text(NODATA), dtype),
    )


def _nodata(text: str | None, dtype: str) -> int | None:
    """The no-data value, if a pixel can have it."""
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        raise ForeignRasterError("a no-data value that is no number") from None
    possible = math.isfinite(value) and value == int(value) and 0 <= value <= np.iinfo(dtype).max
    return int(value) if possible else None


def _place(image: Directory) -> tuple[float, float, float, float]:
    """Left, top, pixel width and height.

    Raises:
        ForeignRasterError: not north up, or told in another way.
    """
    scale, tie, needed = image.numbers(SCALE), image.numbers(TIEPOINT), (3, 6)
    if MATRIX in image.tags or (scale.size, tie.size) != needed or scale.dtype.kind != "f":
        raise ForeignRasterError("a grid without one scale and one tie point")
    width, height = float(scale[0]), float(scale[1])
    left, top = float(tie[3] - tie[0] * width), float(tie[4] + tie[1] * height)
    if not (width > 0 and height > 0 and all(map(math.isfinite, (width, height, left, top)))):
        raise ForeignRasterError("a grid that is not north up")
    return left, top, width, height


def _crs(keys: NDArray[Any]) -> str:
    """The CRS by its number.

    Raises:
        ForeignRasterError: it has none, or the keys say more than a number can.
    """
    head = 4
    values = [tuple(map(int, entry)) for entry in keys[head : keys.size // head * head].reshape(-1, head)]
    # A key whose value stands in another tag holds a text or a double; none of those allowed here matter.
    told = {key: value for key, place, _, value in values if place == 0}
    if not {key for key, *_ in values} <= _PLAIN_KEYS | _PROJECTED_KEYS:
        raise ForeignRasterError("a CRS that is more than a number")
    if told.get(_MODEL) != 1 or told.get(_RASTER, 1) != 1 or not _is_projected(told.get(_PROJECTED, 0)):
        raise ForeignRasterError("a CRS that is not projected and numbered, or pixels that are points")
    return f"EPSG:{told[_PROJECTED]}"


@functools.lru_cache(256)
def _is_projected(code: int) -> bool:
    try:
        return bool(CRS.from_epsg(code).is_projected)
    except CRSError:
        return False


def _level(image: Directory, layout: Layout, size: int) -> Level:
    """The block table of an image, each block inside of the file.

    Raises:
        MalformedTiffError: sizes or table are not possible.
    """
    width, height = image.number(WIDTH), image.number(HEIGHT)
    block_width, block_height = image.number(TILE_WIDTH), image.number(TILE_HEIGHT)
    if not (0 < block_width <= MOST_BLOCK_SIDE and 0 < block_height <= MOST_BLOCK_SIDE and width and height):
        raise MalformedTiffError(
            f"blocks of at most {MOST_BLOCK_SIDE} pixels a side; found {block_width} x {block_height} of "
            f"{width} x {height}"
        )
    shape = (layout.planes, -(-height // block_height), -(-width // block_width))
    offsets, lengths = image.numbers(OFFSETS), image.numbers(LENGTHS)
    if (
        offsets.size != math.prod(shape)
        or lengths.size != offsets.size
        or "f" in (offsets.dtype.kind + lengths.dtype.kind)
    ):
        raise MalformedTiffError(
            f"{math.prod(shape)} blocks of {width} x {height}; found {offsets.size} offsets"
        )
    starts, sizes = offsets.astype(np.int64), lengths.astype(np.int64)
    # DEFLATE grows what it cannot shrink by 5 bytes in 16,000.
    most = block_width * block_height * (layout.bands // layout.planes) * np.dtype(layout.dtype).itemsize
    inside = (starts >= 0) & (starts <= size) & (sizes >= 0) & (sizes <= size - starts)
    if not inside.all() or sizes.max() > 2 * most + 1024:
        raise MalformedTiffError(
            f"blocks that lie inside of a file of {size} bytes and hold {most} bytes each"
        )
    return Level(
        width=width,
        height=height,
        block_width=block_width,
        block_height=block_height,
        offsets=starts.reshape(shape),
        lengths=sizes.reshape(shape),
    )
