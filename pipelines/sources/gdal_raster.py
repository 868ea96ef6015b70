"""Rasters that GDAL reads: whatever the fast path does not know, one at a time, over /vsicurl."""

import logging
import math
from typing import Any

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window

from gl10m.scene.footprint import Footprint
from pipelines.sources.asset_urls import NoQueries, redacted, unsigned, without_queries
from pipelines.sources.byte_ranges import asked_again
from pipelines.sources.imagery import DamagedRasterError, SourceUnavailableError
from pipelines.sources.lattice import Lattice
from pipelines.sources.patch import Expected, Lacking, Patch, all_of, check_kind, needed_frame, usable_level
from pipelines.sources.signing import Signer

GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no side-car file is looked for, and none is trusted
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_GEOREF_SOURCES": "INTERNAL",
    "GDAL_INGESTED_BYTES_AT_OPEN": 32_768,  # a COG's whole header in one request
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GDAL_HTTP_CONNECTTIMEOUT": 5,
    "GDAL_HTTP_TIMEOUT": 120,
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1_000,
    "GDAL_HTTP_LOW_SPEED_TIME": 20,
    "GDAL_HTTP_MAX_RETRY": 3,  # single requests; the whole raster is tried again here
    "GDAL_HTTP_RETRY_DELAY": 0.3,
    "GTIFF_IGNORE_READ_ERRORS": "NO",
    "GDAL_NUM_THREADS": 1,
}
"""Options that GDAL reads with."""

_NETWORK_FAULTS = ("HTTP response code", "CURL error", "Read error", "bytes, expected", "Could not resolve")
"""Parts of GDAL's messages that tell of the way, not of the file."""


for _name_of_log in (
    "rasterio",
    "rasterio._env",
    "rasterio._err",
    "rasterio._base",
    "rasterio._io",
    "rasterio.env",
):
    logging.getLogger(_name_of_log).addFilter(NoQueries())


def read_with_gdal(
    href: str,
    expected: Expected,
    footprint: Footprint,
    lacking: Lacking = all_of,
    *,
    signer: Signer = Signer.NONE,
    attempts: int = 6,
) -> Patch:
    """Read the window of a raster under a footprint; opens a handle for each read, so threads share none.

    Args:
        href: unsigned address.
        expected: what the raster must be.
        footprint: the ground to show.
        lacking: tells which pixels of a frame are needed.
        signer: who signs the address.
        attempts: how often the raster is asked for.

    Returns:
        A patch, empty where the raster does not reach the footprint.

    Raises:
        SourceUnavailableError: not reached, or broken off, at each attempt.
        DamagedRasterError: reached, but not the raster that is expected.
        RefusedAddressError: no http or https address.
    """
    address = unsigned(href)
    said = ""
    try:
        for attempt in asked_again(_ReadFault, attempts):
            with attempt:
                return _attempt(signer.sign(address), attempt.num, expected, footprint, lacking)
    except _ReadFault as fault:
        said = str(fault)
    # Raised outside the handlers, so that no exception with a signed address hangs on to it.
    by_the_way = any(mark in said for mark in _NETWORK_FAULTS)
    kind = SourceUnavailableError if by_the_way else DamagedRasterError
    raise kind(f"{redacted(address)} could not be read in {attempts} attempts: {said}")


def _attempt(signed: str, number: int, expected: Expected, footprint: Footprint, lacking: Lacking) -> Patch:
    # A fragment is never sent. It makes GDAL forget what it remembers of a failed attempt.
    path = f"/vsicurl/{signed}#{number}"
    try:
        with rasterio.Env(**GDAL):
            return _read(path, expected, footprint, lacking)
    except (RasterioError, CPLE_BaseError) as error:
        said = _messages(error)
    raise _ReadFault(said)


class _ReadFault(Exception):  # noqa: N818 - never leaves this module
    """One failed attempt; its text is without queries."""


def _read(path: str, expected: Expected, footprint: Footprint, lacking: Lacking) -> Patch:
    """Open, check, choose the level, read."""
    with rasterio.open(path, driver="GTiff") as raster:
        lattice = _check(raster, expected)
        level = usable_level(raster.overviews(1), min(lattice.step(footprint, expected.pixels)))
        if level is None:
            return _window(raster, lattice, expected, footprint, lacking)
    with rasterio.open(path, driver="GTiff", overview_level=level) as raster:
        return _window(raster, _check(raster, expected), expected, footprint, lacking)


def _check(raster: Any, expected: Expected) -> Lattice:  # noqa: ANN401 - rasterio has no types
    """Refuse what is not the raster expected.

    Raises:
        DamagedRasterError: bands, dtype, size or georeference are not possible.
    """
    grid, name = raster.transform, _name(raster)
    dtype = "/".join(sorted(set(raster.dtypes)))
    check_kind(name, expected, dtype, raster.count, raster.shape)
    north_up = grid.b == grid.d == 0 and grid.a > 0 > grid.e and all(math.isfinite(term) for term in grid[:6])
    if not north_up or raster.crs is None:
        raise DamagedRasterError(
            f"{name}: expected north up with a CRS; found CRS {raster.crs}, affine {tuple(grid)[:6]}"
        )
    number = raster.crs.to_epsg()
    known = number is not None and CRS.from_epsg(number) == raster.crs
    return Lattice(f"EPSG:{number}" if known else raster.crs.to_wkt(), grid.c, grid.f, grid.a, -grid.e)


def _name(raster: Any) -> str:  # noqa: ANN401 - rasterio has no types
    return redacted(raster.name.removeprefix("/vsicurl/"))


def _window(
    raster: Any,  # noqa: ANN401 - rasterio has no types
    lattice: Lattice,
    expected: Expected,
    footprint: Footprint,
    lacking: Lacking,
) -> Patch:
    """Read what of the footprint lies on the raster."""
    frame, _ = needed_frame(
        _name(raster), lattice, raster.shape, expected=expected, footprint=footprint, lacking=lacking
    )
    rows, columns = frame.shape
    if rows == 0 or columns == 0:
        return Patch(
            frame, np.zeros((len(expected.wanted), 0, 0), expected.dtype), np.zeros((0, 0), np.bool_)
        )
    window = Window(frame.left, frame.top, columns, rows)
    flags = raster.mask_flag_enums[0]
    # No-data means all bands of a pixel: a single band may well have that value.
    bands = raster.indexes if MaskFlags.nodata in flags else expected.wanted
    pixels = raster.read(list(bands), window=window)
    if MaskFlags.nodata in flags:
        valid = (pixels != np.asarray(raster.nodatavals)[:, None, None]).any(axis=0)
    elif MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags:
        valid = raster.read_masks(1, window=window) > 0
    else:  # near infrared is tagged as alpha in many files, and is none
        valid = np.ones((rows, columns), np.bool_)
    return Patch(frame, pixels[: len(expected.wanted)], valid)


def _messages(error: BaseException) -> str:
    """All that GDAL said, in one line without queries."""
    said: list[str] = []
    link: BaseException | None = error
    while link is not None:
        said.append(" ".join(str(link).split()))
        link = link.__cause__ or link.__context__
    return without_queries("; ".join(dict.fromkeys(said)))[:500]
