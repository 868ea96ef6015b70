"""Windows of GeoTIFFs over HTTP: pixels, which of them are valid, and where they lie; or an error.

A header says once where every block lies. The blocks under all the windows of an image are then asked for
together, and each is checked and inflated as it comes. What is not of this kind is read by GDAL.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gl10m.scene.footprint import Footprint
from pipelines.sources.asset_urls import redacted, unsigned
from pipelines.sources.blocks import Block, DamagedBlockError, Run, inflate, lay, needed_blocks, runs
from pipelines.sources.byte_ranges import InFlight, Ranges, Version, asked_again
from pipelines.sources.cog_header import Foreign, Header, Headers, Known, Level, fetch_header
from pipelines.sources.gdal_raster import read_with_gdal
from pipelines.sources.imagery import DamagedRasterError
from pipelines.sources.lattice import Frame, Lattice
from pipelines.sources.patch import Expected, Lacking, Patch, all_of, check_kind, needed_frame, usable_level
from pipelines.sources.signing import Signer
from pipelines.sources.tiff import MalformedTiffError

Result = TypeVar("Result")

_headers = Headers()


class RasterChangedError(DamagedRasterError):
    """A raster was replaced while it was read; blocks of two versions are never mixed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """The part of a raster that an image needs, planned and not yet read."""

    href: str
    header: Header
    level: Level
    lattice: Lattice
    """Of the level."""
    frame: Frame
    """What is needed of it."""
    runs: list[Run]

    @property
    def whole(self) -> bool:
        """Whether every pixel of the frame is known to be valid before it is read."""
        return self.header.layout.nodata is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads rasters and tries again what fails. Small; headers and connections are the process's."""

    signer: Signer = Signer.NONE
    """Who signs the addresses."""

    attempts: int = 6
    """How often a range, a block or a raster is asked for."""

    in_flight: InFlight = field(default_factory=InFlight)
    """How much is asked for at the same time."""

    @property
    def ranges(self) -> Ranges:
        """Who asks for bytes."""
        return Ranges(signer=self.signer, attempts=self.attempts, in_flight=self.in_flight)

    def read(self, href: str, expected: Expected, footprint: Footprint) -> Patch:
        """Read the window of a raster under a footprint.

        Args:
            href: unsigned address.
            expected: what the raster must be.
            footprint: the ground to show.

        Returns:
            A patch, empty where the raster does not reach the footprint.

        Raises:
            SourceUnavailableError: not reached, or broken off, at each attempt.
            DamagedRasterError: reached, but not the raster that is expected.
            RefusedAddressError: no http or https address.
        """
        return self.read_all([(href, expected)], footprint)[0]

    def read_all(self, wanted: Sequence[tuple[str, Expected]], footprint: Footprint) -> list[Patch]:
        """Read the windows of several rasters, their blocks all together; see `read`."""
        return self.again(lambda: self._read_all(wanted, footprint))

    def again(self, work: Callable[[], Result]) -> Result:
        """Do some reading from the start if a raster is replaced in the midst of it.

        Raises:
            DamagedRasterError: it was replaced at each attempt, or the work says so.
        """
        for attempt in asked_again(RasterChangedError, self.attempts):
            with attempt:
                return work()
        raise AssertionError("there is at least one attempt")

    def prepare(self, hrefs: Iterable[str]) -> None:
        """Fetch the headers that are not known yet, all together."""
        unknown = [address for address in map(unsigned, hrefs) if _headers.get(address) is None]
        if len(unknown) > 1:
            self.ranges.together(self._known, unknown)

    def plan(
        self, href: str, expected: Expected, footprint: Footprint, lacking: Lacking = all_of
    ) -> Layer | Patch:
        """Choose the level and the blocks of a raster under a footprint.

        Args:
            href: unsigned address.
            expected: what the raster must be.
            footprint: the ground to show.
            lacking: tells which pixels of a frame are needed.

        Returns:
            A layer to `load`; or, where GDAL is the reader, what it has read.

        Raises:
            SourceUnavailableError: not reached at any attempt.
            DamagedRasterError: reached, but not the raster that is expected.
            RefusedAddressError: no http or https address.
        """
        known = self._known(unsigned(href))
        if isinstance(known, Foreign):
            return read_with_gdal(
                href, expected, footprint, lacking, signer=self.signer, attempts=self.attempts
            )
        return _plan(unsigned(href), known, expected, footprint, lacking)

    def load(self, targets: Sequence[tuple[Layer, tuple[int, int], NDArray[Any]]]) -> None:
        """Read the blocks of layers, all together, and lay them on sheets, one after the other.

        Args:
            targets: layers; row and column, on the layer's level, of a sheet's first pixel; and that sheet,
                shape (rows, columns, bands), C-contiguous, of the raster's dtype. A later layer lies on top.

        Raises:
            SourceUnavailableError: a block did not come at any attempt.
            DamagedRasterError: a block was damaged at each attempt.
            RasterChangedError: a file was replaced.
        """
        work = [(layer, run, place, sheet) for layer, place, sheet in targets for run in layer.runs]
        pieces = self.ranges.stream((layer.href, run.span) for layer, run, _, _ in work)
        for (layer, run, place, sheet), piece in zip(work, pieces, strict=True):
            _same(layer, piece.version)
            for block, body in run.bodies(piece.body):
                samples = self._samples(layer, block, body)
                lay(samples, block, layer.level, layer.header.layout, place, sheet)

    def load_patches(self, plans: Sequence[tuple[Layer | Patch, Expected]]) -> list[Patch]:
        """Read the blocks of several plans, all together, each on a sheet of its own."""
        sheets = {
            number: blank(plan, plan.frame.shape)
            for number, (plan, _) in enumerate(plans)
            if isinstance(plan, Layer)
        }
        layers = [(plan, number) for number, (plan, _) in enumerate(plans) if isinstance(plan, Layer)]
        self.load([(layer, (layer.frame.top, layer.frame.left), sheets[number]) for layer, number in layers])
        return [
            plan if isinstance(plan, Patch) else as_patch(plan, sheets[number], expected)
            for number, (plan, expected) in enumerate(plans)
        ]

    def _read_all(self, wanted: Sequence[tuple[str, Expected]], footprint: Footprint) -> list[Patch]:
        self.prepare(href for href, _ in wanted)
        return self.load_patches(
            [(self.plan(href, expected, footprint), expected) for href, expected in wanted]
        )

    def _samples(self, layer: Layer, block: Block, body: bytes | memoryview) -> NDArray[Any]:
        """Inflate a block; ask for it again if it is damaged."""
        try:
            for attempt in asked_again(DamagedBlockError, self.attempts):
                with attempt:
                    if attempt.num > 1:
                        piece = self.ranges.get(layer.href, block.span)
                        _same(layer, piece.version)
                        body = piece.body
                    return inflate(body, layer.header.layout, layer.level)
        except DamagedBlockError as error:
            said = str(error)
        raise self._damaged(layer.href, said)

    def _known(self, address: str) -> Known:
        """What the header of a raster says; it is fetched once in a process."""
        known = _headers.get(address)
        if known is not None:
            return known
        try:
            for attempt in asked_again(MalformedTiffError, self.attempts):
                with attempt:
                    fetched = fetch_header(self.ranges, address)
                    _headers.keep(address, fetched)
                    return fetched
        except MalformedTiffError as error:
            said = str(error)
        raise self._damaged(address, said)

    def _damaged(self, href: str, said: str) -> DamagedRasterError:
        return DamagedRasterError(f"{redacted(href)} could not be read in {self.attempts} attempts: {said}")


def _plan(address: str, header: Header, expected: Expected, footprint: Footprint, lacking: Lacking) -> Layer:
    """Choose the level, the frame and the blocks."""
    layout, full, name = header.layout, header.levels[0], redacted(address)
    check_kind(name, expected, layout.dtype, layout.bands, (full.height, full.width))
    step = min(_lattice(header, full).step(footprint, expected.pixels))
    number = usable_level([round(full.width / level.width) for level in header.levels[1:]], step)
    level = full if number is None else header.levels[1 + number]
    lattice, size = _lattice(header, level), (level.height, level.width)
    frame, needed = needed_frame(name, lattice, size, expected=expected, footprint=footprint, lacking=lacking)
    # No-data means all bands of a pixel: a single band may well have that value.
    bands = len(expected.wanted) if layout.nodata is None else layout.bands
    planes = min(layout.planes, bands)
    blocks = needed_blocks(level, frame.top, frame.left, needed, planes)
    return Layer(href=address, header=header, level=level, lattice=lattice, frame=frame, runs=runs(blocks))


def _lattice(header: Header, level: Level) -> Lattice:
    full = header.levels[0]
    width = header.pixel_width * full.width / level.width
    height = header.pixel_height * full.height / level.height
    return Lattice(header.crs, header.left, header.top, width, height)


def _same(layer: Layer, version: Version) -> None:
    if version != layer.header.version:
        _headers.forget(layer.href)
        raise RasterChangedError(f"{redacted(layer.href)} was replaced while it was read")


def blank(layer: Layer, shape: tuple[int, int]) -> NDArray[Any]:
    """A sheet of a layer's bands, as blocks that its file leaves out are: no-data, or 0.

    Args:
        layer: what will be laid on it.
        shape: rows and columns.
    """
    layout = layer.header.layout
    return np.full((*shape, layout.bands), layout.nodata or 0, layout.dtype)


def as_patch(layer: Layer, sheet: NDArray[Any], expected: Expected) -> Patch:
    """What was laid on a sheet of the layer's own frame."""
    nodata = layer.header.layout.nodata
    valid = np.ones(layer.frame.shape, np.bool_) if nodata is None else (sheet != nodata).any(axis=-1)
    return Patch(layer.frame, np.moveaxis(sheet, -1, 0)[: len(expected.wanted)], valid)
