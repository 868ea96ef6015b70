"""Windows of GeoTIFFs over HTTP: pixels, which of them are valid, and where they lie; or an error.

A header says once where every block lies. The blocks under all the windows of an image are then asked for
together, and each is checked and inflated as it comes. What is not of this kind is read by GDAL.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gl10m.scene.footprint import Footprint
from pipelines.sources.asset_urls import redacted, unsigned
from pipelines.sources.blocks import Block, DamagedBlockError, Run, inflate, lay, needed_blocks, runs
from pipelines.sources.byte_ranges import Piece, Ranges, Span, Version
from pipelines.sources.cog_header import Foreign, Header, Known, Level, fetch_header
from pipelines.sources.gdal_raster import GdalReader
from pipelines.sources.imagery import DamagedRasterError
from pipelines.sources.kept import Kept
from pipelines.sources.lattice import Frame, Lattice
from pipelines.sources.patch import Expected, Lacking, Patch, all_of, check_kind, needed_frame, usable_level
from pipelines.sources.patience import PATIENT, Patience
from pipelines.sources.reach import Reach
from pipelines.sources.retrying import mended
from pipelines.sources.signing import Signer
from pipelines.sources.tiff import MalformedTiffError

Result = TypeVar("Result")

MOST_HEADERS = 512
"""Headers kept by a process, some 20 kB each."""

MOST_KEPT_BYTES = 64 << 20
"""Compressed blocks kept by a process. Neighbours share blocks of Sentinel-2, 24 to 54 % of the bytes of a
batch; of NAIP 1 to 3 %, so those are not kept."""

_headers: Kept[str, Known] = Kept(MOST_HEADERS)
_blocks: Kept[tuple[str, Version, Span], bytes] = Kept(MOST_KEPT_BYTES, len)


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
    """To ask for."""
    kept: list[tuple[Block, bytes]]
    """Known already."""

    @property
    def whole(self) -> bool:
        """Whether every pixel of the frame is known to be valid before it is read."""
        return self.header.layout.nodata is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads rasters and tries again what fails. Small; headers and connections are the process's."""

    signer: Signer = Signer.NONE
    """Who signs the addresses."""

    patience: Patience = PATIENT
    """How long and how fast ranges, blocks and rasters are asked for."""

    reach: Reach | None = None
    """Where hrefs of a catalogue and redirects may lead; None where the caller names the rasters himself."""

    @property
    def ranges(self) -> Ranges:
        """Who asks for bytes."""
        return Ranges(signer=self.signer, patience=self.patience, reach=self.reach)

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
        return self.again(wanted[0][0], lambda: self._read_all(wanted, footprint))

    def again(self, href: str, work: Callable[[], Result]) -> Result:
        """Do some reading from the start if a raster is replaced in the midst of it.

        Args:
            href: of the first raster, to name the reading by.
            work: the reading.

        Raises:
            DamagedRasterError: it was replaced at each attempt, or the work says so.
        """
        return mended(href, lambda _: work(), RasterChangedError, self.patience)

    def headers(self, hrefs: Iterable[str]) -> list[Known]:
        """What the headers of rasters say; those that are not known yet are fetched, all together.

        Raises:
            SourceUnavailableError: one was not reached at any attempt.
            DamagedRasterError: one is no TIFF, or contradicts itself.
            RefusedAddressError: no http or https address.
        """
        addresses = [unsigned(href) for href in hrefs]
        known = {address: _headers.get(address) for address in addresses}
        unknown = [address for address, header in known.items() if header is None]
        known.update(zip(unknown, self.ranges.together(self._header, unknown), strict=True))
        return [header for address in addresses if (header := known[address]) is not None]

    def plan(
        self, href: str, known: Known, expected: Expected, footprint: Footprint, lacking: Lacking = all_of
    ) -> Layer | Patch:
        """Choose the level and the blocks of a raster under a footprint.

        Args:
            href: unsigned address.
            known: what its header says.
            expected: what the raster must be.
            footprint: the ground to show.
            lacking: tells which pixels of a frame are needed.

        Returns:
            A layer to `load`; or, where GDAL is the reader, what it has read.

        Raises:
            SourceUnavailableError: GDAL did not reach it at any attempt.
            DamagedRasterError: it is not the raster that is expected.
        """
        if isinstance(known, Foreign):
            gdal = GdalReader(signer=self.signer, patience=self.patience, reach=self.reach)
            return gdal.read(href, expected, footprint, lacking)
        return _plan(unsigned(href), known, expected, footprint, lacking)

    def load(
        self, targets: Sequence[tuple[Layer, tuple[int, int], NDArray[Any]]], *, keep: bool = False
    ) -> None:
        """Read the blocks of layers, all together, and lay them on sheets, one after the other.

        Args:
            targets: layers; row and column, on the layer's level, of a sheet's first pixel; and that sheet,
                shape (rows, columns, bands), C-contiguous, of the raster's dtype. A later layer lies on top.
            keep: whether neighbours are likely to need the same blocks.

        Raises:
            SourceUnavailableError: a block did not come at any attempt.
            DamagedRasterError: a block was damaged at each attempt.
            RasterChangedError: a file was replaced.
        """
        pieces = self.ranges.stream((layer.href, run.span) for layer, _, _ in targets for run in layer.runs)
        for layer, place, sheet in targets:
            for block, body in self._bodies(layer, pieces, keep=keep):
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
        targets = [(layer, (layer.frame.top, layer.frame.left), sheets[number]) for layer, number in layers]
        self.load(targets, keep=True)
        return [
            plan if isinstance(plan, Patch) else as_patch(plan, sheets[number], expected)
            for number, (plan, expected) in enumerate(plans)
        ]

    def _read_all(self, wanted: Sequence[tuple[str, Expected]], footprint: Footprint) -> list[Patch]:
        headers = self.headers(href for href, _ in wanted)
        plans = [
            (self.plan(href, known, expected, footprint), expected)
            for (href, expected), known in zip(wanted, headers, strict=True)
        ]
        return self.load_patches(plans)

    def _bodies(
        self, layer: Layer, pieces: Iterator[Piece], *, keep: bool
    ) -> Iterator[tuple[Block, bytes | memoryview]]:
        """The bytes of each block of a layer, kept or fetched, all of one version."""
        yield from layer.kept
        for run in layer.runs:
            piece = next(pieces)
            _same(layer, piece.version)
            for block, body in run.bodies(piece.body):
                if keep:
                    _blocks.keep((layer.href, piece.version, block.span), bytes(body))
                yield block, body

    def _samples(self, layer: Layer, block: Block, body: bytes | memoryview) -> NDArray[Any]:
        """Inflate a block; ask for it again if it is damaged."""

        def inflated(attempt: int) -> NDArray[Any]:
            if attempt == 1:
                return inflate(body, layer.header.layout, layer.level)
            piece = self.ranges.get(layer.href, block.span)
            _same(layer, piece.version)
            return inflate(piece.body, layer.header.layout, layer.level)

        try:
            return mended(layer.href, inflated, DamagedBlockError, self.patience)
        except DamagedBlockError as error:
            said = str(error)
        raise self._damaged(layer.href, said)

    def _header(self, address: str) -> Known:
        """Fetch a header and keep it."""
        try:
            fetched = mended(
                address, lambda _: fetch_header(self.ranges, address), MalformedTiffError, self.patience
            )
        except MalformedTiffError as error:
            said = str(error)
        else:
            # Without a mark of its version a file cannot be told from the next one of its name.
            if isinstance(fetched, Foreign) or fetched.version.tag:
                _headers.keep(address, fetched)
            return fetched
        raise self._damaged(address, said)

    def _damaged(self, href: str, said: str) -> DamagedRasterError:
        attempts = self.patience.attempts
        return DamagedRasterError(f"{redacted(href)} could not be read in {attempts} attempts: {said}")


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
    blocks = list(needed_blocks(level, frame.top, frame.left, needed, planes))
    known = [(block, _blocks.get((address, header.version, block.span))) for block in blocks]
    return Layer(
        href=address,
        header=header,
        level=level,
        lattice=lattice,
        frame=frame,
        runs=runs([block for block, body in known if body is None]),
        kept=[(block, body) for block, body in known if body is not None],
    )


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
