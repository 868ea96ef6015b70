"""One window of one GeoTIFF over HTTP: pixels, which of them are valid, and where they lie; or an error."""

import logging
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError
from rasterio.enums import MaskFlags
from rasterio.errors import RasterioError
from rasterio.windows import Window

from gl10m.scene.footprint import Footprint
from pipelines.sources.asset_urls import keep_queries_out_of, redacted, unsigned, without_queries
from pipelines.sources.imagery import DamagedRasterError, SourceUnavailableError
from pipelines.sources.lattice import Frame, Lattice
from pipelines.sources.passing import PASSING, PassingFault
from pipelines.sources.patience import PATIENT, Patience
from pipelines.sources.retrying import GaveUpError, note, persist
from pipelines.sources.signing import Signer

LONGEST_SIDE = 1 << 17
"""Pixels on a side of a raster at most; a NAIP quad at 0.3 m has 25,000."""

MOST_PIXELS = 1 << 27
"""Pixels in a window at most; a footprint at 0.3 m has some 60 million."""

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

DAMAGED = "damaged"
"""Kind of a fault that lies in the file, or happened to it on the way."""

_STATUS = re.compile(r"HTTP response code ?: ?(\d{3})|HTTP error code ?: ?(\d{3})")

_KINDS = (
    ("no connection", r"Could not resolve|Failed to connect|Couldn't connect|Connection refused"),
    ("timeout", r"timed out|Timeout|too slow"),
    ("connection broken", r"CURL error|HTTP response code|reset by peer|transfer closed|Empty reply"),
    ("cut short", r"Read error|bytes, expected"),
)
"""What GDAL's messages mean, first match first; what tells of none of these tells of the file: damaged."""


_LOG = logging.getLogger("gl10m")
_REPEATED = re.compile(r"HTTP error code: (\d+) - (\S+) Retrying|(Request for \S+ failed)")


class _Repeats(logging.Handler):
    """Tells of single requests that GDAL repeats by itself; nobody else would."""

    def emit(self, record: logging.LogRecord) -> None:
        found = _REPEATED.search(record.getMessage())
        if found is not None:
            kind = f"status {found[1]}" if found[1] else "range failed"
            note(kind)
            _LOG.warning(
                "asking again for %s: %s", redacted(found[2]) if found[2] else f"a range ({found[3]})", kind
            )


keep_queries_out_of("rasterio", "rasterio._base", "rasterio._env", "rasterio._err", "rasterio._io")
for _name in ("rasterio._env", "rasterio._err"):
    logging.getLogger(_name).addHandler(_Repeats(logging.WARNING))


@dataclass(frozen=True, slots=True, eq=False)
class Patch:
    """Pixels read from one raster."""

    frame: Frame
    """Where they lie."""

    pixels: NDArray[Any]
    """Shape (bands, rows, columns) of the frame, in the raster's own dtype."""

    valid: NDArray[np.bool_]
    """Shape (rows, columns); True = the raster has data, by its mask or no-data value, never by its being
    0."""

    def __eq__(self, other: object) -> bool:
        """The same pixels in the same place."""
        return (
            isinstance(other, Patch)
            and self.frame == other.frame
            and np.array_equal(self.pixels, other.pixels)
            and np.array_equal(self.valid, other.valid)
        )

    __hash__ = None  # type: ignore[assignment]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a raster must be; checked before a pixel is read."""

    dtype: str
    counts: tuple[int, ...]
    """Numbers of bands that are allowed."""
    wanted: tuple[int, ...]
    """Bands to give, from 1."""
    pixels: int
    """Pixels on a side of the image that is made of it; decides the overview."""


Narrow = Callable[[Frame], Frame]
"""Cuts a frame down to what is still lacking."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
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

    def read(
        self, href: str, expected: Expected, footprint: Footprint, narrow: Narrow = lambda frame: frame
    ) -> Patch:
        """Read the window of a raster under a footprint.

        Args:
            href: unsigned address.
            expected: what the raster must be.
            footprint: the ground to show.
            narrow: called with the frame to read, gives the frame to read instead.

        Returns:
            A patch, empty where the raster does not reach the footprint.

        Raises:
            SourceUnavailableError: not reached, or broken off, at each attempt.
            DamagedRasterError: reached, but not the raster that is expected.
            RefusedAddressError: no http or https address.
        """
        address = unsigned(href)
        patch = self._persist(address, 0, expected, footprint, narrow)
        if address.startswith("https://"):
            return patch
        for reading in range(1, self.patience.attempts + 1):
            again = self._persist(address, reading, expected, footprint, narrow)
            if again == patch:
                return again
            note(DAMAGED)
            _LOG.warning("asking again for %s: two readings do not agree", redacted(address))
            patch = again
        raise DamagedRasterError(f"{redacted(address)}: no two of {reading + 1} readings agree")

    def _persist(
        self, address: str, reading: int, expected: Expected, footprint: Footprint, narrow: Narrow
    ) -> Patch:
        """One reading, tried again where it fails."""
        fault: GaveUpError | None = None
        try:
            return persist(
                address,
                lambda number: self._attempt(address, f"{reading}.{number}", expected, footprint, narrow),
                self.patience,
            )
        except GaveUpError as error:
            fault = error
        # Raised outside the handlers, so that no exception with a signed address hangs on to it.
        kind = DamagedRasterError if fault.kind == DAMAGED else SourceUnavailableError
        raise kind(str(fault))

    def _attempt(
        self, address: str, number: str, expected: Expected, footprint: Footprint, narrow: Narrow
    ) -> Patch:
        # A fragment is never sent. It makes GDAL forget what it remembers of another attempt.
        signed = self.signer.sign(address, self.patience)
        path = f"/vsicurl/{signed}#{number}"
        try:
            with rasterio.Env(**GDAL, **_network(self.patience)):
                return _read(path, expected, footprint, narrow)
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


def _read(path: str, expected: Expected, footprint: Footprint, narrow: Narrow) -> Patch:
    """Open, check, choose the level, read."""
    with rasterio.open(path, driver="GTiff") as raster:
        lattice = _check(raster, expected)
        level = _level(raster.overviews(1), min(lattice.step(footprint, expected.pixels)))
        if level is None:
            return _window(raster, lattice, expected, footprint, narrow)
    with rasterio.open(path, driver="GTiff", overview_level=level) as raster:
        return _window(raster, _check(raster, expected), expected, footprint, narrow)


def _level(overviews: list[int], step: float) -> int | None:
    """Number of the coarsest overview that is not coarser than the output; None for the full raster.

    An overview may lie up to half a full pixel off, by the way GDAL writes those of odd-sized rasters: 0.15 m
    for NAIP of 0.3 m, the only one so fine that an overview is read.
    """
    usable = [level for level, factor in enumerate(overviews) if 2 <= factor <= step]  # noqa: PLR2004 - twice
    return max(usable, key=lambda level: overviews[level], default=None)


def _check(raster: Any, expected: Expected) -> Lattice:  # noqa: ANN401 - rasterio has no types
    """Refuse what is not the raster expected.

    Raises:
        DamagedRasterError: bands, dtype, size or georeference are not possible.
    """
    grid, found = raster.transform, f"{raster.count} x {raster.dtypes[0]}, {raster.width} x {raster.height}"
    north_up = grid.b == grid.d == 0 and grid.a > 0 > grid.e and all(math.isfinite(term) for term in grid[:6])
    possible = (
        raster.count in expected.counts
        and set(raster.dtypes) == {expected.dtype}
        and max(raster.width, raster.height) <= LONGEST_SIDE
    )
    if not possible or not north_up or raster.crs is None:
        raise DamagedRasterError(
            f"{redacted(raster.name.removeprefix('/vsicurl/'))}: expected {expected.counts} bands of "
            f"{expected.dtype}, at most {LONGEST_SIDE} pixels a side, north up with a CRS; found {found}, "
            f"CRS {raster.crs}, affine {tuple(grid)[:6]}"
        )
    return Lattice(raster.crs.to_wkt(), grid.c, grid.f, grid.a, -grid.e)


def _window(
    raster: Any,  # noqa: ANN401 - rasterio has no types
    lattice: Lattice,
    expected: Expected,
    footprint: Footprint,
    narrow: Narrow,
) -> Patch:
    """Read what of the footprint lies on the raster."""
    whole = Frame(lattice, 0, 0, raster.width, raster.height)
    frame = narrow(Frame.under(footprint, lattice, expected.pixels).clipped(whole))
    rows, columns = frame.shape
    if rows * columns > MOST_PIXELS:
        raise DamagedRasterError(
            f"{redacted(raster.name.removeprefix('/vsicurl/'))}: a footprint would take {columns} x {rows} "
            f"pixels of {lattice.width} x {lattice.height}; at most {MOST_PIXELS} pixels are read"
        )
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
    """All that GDAL said, the cause first, in one line without queries."""
    said: list[str] = []
    link: BaseException | None = error
    while link is not None:
        said.append(" ".join(str(link).split()))
        link = link.__cause__ or link.__context__
    return without_queries("; ".join(dict.fromkeys(reversed(said))))[:500]
