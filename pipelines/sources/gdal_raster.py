"""Rasters that GDAL reads: whatever the fast path does not know, one at a time, over /vsicurl."""

import logging
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window

from gl10m.scene.footprint import Footprint
from pipelines.sources.asset_urls import keep_queries_out_of, redacted, unsigned, without_queries
from pipelines.sources.imagery import DamagedRasterError, SourceUnavailableError
from pipelines.sources.lattice import Lattice
from pipelines.sources.passing import PASSING, PassingFault
from pipelines.sources.patch import Expected, Lacking, Patch, all_of, check_kind, needed_frame, usable_level
from pipelines.sources.patience import PATIENT, Patience
from pipelines.sources.reach import Reach
from pipelines.sources.retrying import DAMAGED, GaveUpError, persist, told_again
from pipelines.sources.signing import Signer

GDAL = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # no side-car file is looked for, and none is trusted
    "GDAL_PAM_ENABLED": "NO",
    "GDAL_GEOREF_SOURCES": "INTERNAL",
    "GDAL_INGESTED_BYTES_AT_OPEN": 32_768,  # a COG's whole header in one request
    "GDAL_HTTP_MERGE_CONSECUTIVE_RANGES": "YES",
    "GDAL_HTTP_MULTIPLEX": "YES",
    "GTIFF_IGNORE_READ_ERRORS": "NO",
    "GDAL_NUM_THREADS": 1,
}
"""Options that GDAL reads with, beside those that follow from the patience asked for."""

_STATUS = re.compile(r"HTTP response code ?: ?(\d{3})|HTTP error code ?: ?(\d{3})")

_KINDS = (
    ("no connection", r"Could not resolve|Failed to connect|Couldn't connect|Connection refused"),
    ("timeout", r"timed out|Timeout|too slow"),
    ("connection broken", r"CURL error|HTTP response code|reset by peer|transfer closed|Empty reply"),
    ("cut short", r"Read error|bytes, expected"),
)
"""What GDAL's messages mean, first match first; what tells of none of these tells of the file: damaged."""

_REPEATED = re.compile(r"HTTP error code: (\d+) - (\S+) Retrying|(Request for \S+ failed)")


class _Repeats(logging.Handler):
    """Tells of single requests that GDAL repeats by itself; nobody else would."""

    def emit(self, record: logging.LogRecord) -> None:
        found = _REPEATED.search(record.getMessage())
        if found is not None:
            kind = f"status {found[1]}" if found[1] else "range failed"
            told_again(found[2] or f"a range ({found[3]})", kind)


keep_queries_out_of("rasterio", "rasterio._base", "rasterio._env", "rasterio._err", "rasterio._io")
for _name_of_log in ("rasterio._env", "rasterio._err"):
    logging.getLogger(_name_of_log).addHandler(_Repeats(logging.WARNING))


@dataclass(frozen=True, slots=True, kw_only=True)
class GdalReader:
    """Reads rasters and tries again what fails; opens a handle for each read, so threads share none.

    Over https the transport vouches for every byte. Over http nobody does: GDAL returns some damaged blocks
    without an error, even of DEFLATE with its checksum (docs/decisions/0011-faults.md). So there a raster is
    read until two readings agree.
    """

    signer: Signer = Signer.NONE
    """Who signs the addresses."""

    patience: Patience = PATIENT
    """How long and how fast a raster is asked for. Inside of an attempt GDAL itself repeats single requests,
    and only the first of an attempt waits for its turn."""

    reach: Reach | None = None
    """Where hrefs may lead. GDAL follows redirects by itself: only what stands in the href is looked at."""

    def read(self, href: str, expected: Expected, footprint: Footprint, lacking: Lacking = all_of) -> Patch:
        """Read the window of a raster under a footprint.

        Args:
            href: unsigned address.
            expected: what the raster must be.
            footprint: the ground to show.
            lacking: tells which pixels of a frame are needed.

        Returns:
            A patch, empty where the raster does not reach the footprint.

        Raises:
            SourceUnavailableError: not reached, or broken off, at each attempt.
            DamagedRasterError: reached, but not the raster that is expected.
            RefusedAddressError: no http or https address.
        """
        address = unsigned(href)
        if self.reach is not None:
            self.reach.check_found(address)
        patch = self._persist(address, 0, expected, footprint, lacking)
        if address.startswith("https://"):
            return patch
        for reading in range(1, self.patience.attempts + 1):
            again = self._persist(address, reading, expected, footprint, lacking)
            if again.same_as(patch):
                return again
            told_again(address, DAMAGED)
            patch = again
        raise DamagedRasterError(
            f"{redacted(address)}: no two of {self.patience.attempts + 1} readings agree"
        )

    def _persist(
        self, address: str, reading: int, expected: Expected, footprint: Footprint, lacking: Lacking
    ) -> Patch:
        """One reading, tried again where it fails."""
        fault: GaveUpError | None = None
        try:
            return persist(
                address,
                lambda number: self._attempt(address, f"{reading}.{number}", expected, footprint, lacking),
                self.patience,
            )
        except GaveUpError as error:
            fault = error
        # Raised outside the handlers, so that no exception with a signed address hangs on to it.
        kind = DamagedRasterError if fault.kind == DAMAGED else SourceUnavailableError
        raise kind(str(fault))

    def _attempt(
        self, address: str, number: str, expected: Expected, footprint: Footprint, lacking: Lacking
    ) -> Patch:
        # A fragment is never sent. It makes GDAL forget what it remembers of another attempt.
        signed = self.signer.sign(address, self.patience)
        path = f"/vsicurl/{signed}#{number}"
        try:
            with rasterio.Env(**GDAL, **_network(self.patience)):
                return _read(path, expected, footprint, lacking)
        except (RasterioError, CPLE_BaseError, DamagedRasterError) as error:
            fault = _fault(_messages(error))
        if fault.kind == "status 403":
            self.signer.forget(signed)
        raise fault


def _fault(said: str) -> PassingFault:
    """The fault that GDAL tells of; a raster that is not as expected may have been damaged on its way."""
    status = _STATUS.search(said)
    if status is not None:
        number = int(status[1] or status[2])
        return PassingFault(f"status {number}: {said}", by_host=number in PASSING)
    kind = next((kind for kind, marks in _KINDS if re.search(marks, said)), DAMAGED)
    return PassingFault(f"{kind}: {said}", connected=kind != "no connection", by_host=kind != DAMAGED)


def _network(patience: Patience) -> dict[str, float]:
    """GDAL's words for it."""
    return {
        "GDAL_HTTP_CONNECTTIMEOUT": patience.connect_seconds,
        "GDAL_HTTP_TIMEOUT": patience.seconds,
        "GDAL_HTTP_LOW_SPEED_LIMIT": int(patience.slowest),
        "GDAL_HTTP_LOW_SPEED_TIME": max(1, round(patience.stall_seconds)),
        "GDAL_HTTP_MAX_RETRY": min(3, patience.attempts - 1),
        "GDAL_HTTP_RETRY_DELAY": patience.wait_initial,
    }


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
