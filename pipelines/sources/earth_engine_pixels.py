"""Pixels that Earth Engine computes over a footprint: exactly its grid, in as few requests as may be."""

import io
import tokenize
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import ee
import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from gl10m.scene.footprint import Footprint
from pipelines.sources.earth_engine_session import RequestTooLargeError, call
from pipelines.sources.imagery import SourceUnavailableError
from pipelines.sources.lattice import DEGREES
from pipelines.sources.patience import Patience

MOST_BYTES = 48 << 20
"""Uncompressed bytes of one request (REST reference of projects.image.computePixels)."""

LONGEST_SIDE = 32_768
"""Pixels on a side of one request (there: "at most 32K pixels in either dimension")."""

MASK_BYTES = 1
"""Earth Engine counts one byte more for each pixel of each band, for its mask: a request of 48 float64 bands
of 512 x 256 was refused as one of 56,623,104 bytes (github.com/google/Xee/issues/50)."""

SMALLEST_SIDE = 64
"""A request that is still too much with fewer pixels on a side than this is not for us to mend."""

LONGEST_HEADER = 10_000
"""Characters in the header of an answer; ours have some 200."""


_NO_HEADER = (
    ValueError,
    tokenize.TokenError,
    SyntaxError,
    TypeError,
    OverflowError,
    RecursionError,
    MemoryError,
)
"""What numpy raises over a header that is none: it reads a Python literal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """An image that Earth Engine is to compute, and what it must answer."""

    what: str
    """Names it in errors."""

    image: Callable[[], ee.Image]
    """Builds the expression once the library is signed in; it holds the bands in this order, unmasked, as
    whole numbers."""

    bands: Mapping[str, type[np.unsignedinteger[Any]]]
    """Name and type of each band."""

    most_bytes: int = MOST_BYTES
    """Bytes of one request."""

    @property
    def pixel_bytes(self) -> int:
        """Bytes of one pixel as Earth Engine counts them."""
        return sum(np.dtype(kind).itemsize + MASK_BYTES for kind in self.bands.values())


@dataclass(frozen=True, slots=True)
class _Part:
    """A rectangle of the output, in pixels from its north-west corner."""

    left: int
    top: int
    width: int
    height: int

    def halves(self) -> "tuple[_Part, _Part]":
        """Two parts, cut across the longer side."""
        if self.height >= self.width:
            half = self.height // 2
            return (
                _Part(self.left, self.top, self.width, half),
                _Part(self.left, self.top + half, self.width, self.height - half),
            )
        half = self.width // 2
        return (
            _Part(self.left, self.top, half, self.height),
            _Part(self.left + half, self.top, self.width - half, self.height),
        )

    @property
    def place(self) -> tuple[slice, slice]:
        """Rows and columns."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def read_pixels(plane: Plane, footprint: Footprint, side: int, patience: Patience) -> dict[str, NDArray[Any]]:
    """Compute an image over a footprint: one request where the limits allow it, else parts, put together.

    Args:
        plane: the image.
        footprint: the ground to show.
        side: pixels on a side of the output.
        patience: how long to try, and how fast.

    Returns:
        Each band by its name, shape (side, side), north-west first.

    Raises:
        SourceUnavailableError: quota is used up, the service cannot be reached, or even a small part is too
            much for it.
        DamagedRasterError: the request is refused, or its answer is not the image.
    """
    whole = {name: np.zeros((side, side), kind) for name, kind in plane.bands.items()}
    waiting = [_Part(0, 0, side, side)]
    while waiting:
        part = waiting.pop()
        if not _fits(part, plane):
            waiting.extend(reversed(part.halves()))
            continue
        try:
            pixels = _computed(plane, footprint, side, part, patience)
        except RequestTooLargeError as error:
            if min(part.width, part.height) < SMALLEST_SIDE:
                smallest = f"{part.width} x {part.height}"
                raise SourceUnavailableError(f"{error}. Not even for {smallest} pixels") from None
            waiting.extend(reversed(part.halves()))
            continue
        for name, band in pixels:
            whole[name][part.place] = band
    return whole


def _fits(part: _Part, plane: Plane) -> bool:
    area = part.width * part.height
    return max(part.width, part.height) <= LONGEST_SIDE and area * plane.pixel_bytes <= plane.most_bytes


def _computed(
    plane: Plane, footprint: Footprint, side: int, part: _Part, patience: Patience
) -> list[tuple[str, NDArray[Any]]]:
    """One request: the bands of one part."""
    grid = _grid(footprint, side, part)

    def ask() -> list[tuple[str, NDArray[Any]]]:
        answer = ee.data.computePixels({"expression": plane.image(), "fileFormat": "NPY", "grid": grid})
        return list(_decoded(answer, plane, part))

    return call(plane.what, ask, patience)


def _grid(footprint: Footprint, side: int, part: _Part) -> dict[str, Any]:
    """The pixel grid of a part: the footprint's own affine, shifted by whole pixels."""
    a, _, west, _, e, north = footprint.affine(side)
    return {
        "dimensions": {"width": part.width, "height": part.height},
        "affineTransform": {
            "scaleX": a,
            "shearX": 0,
            "translateX": west + a * part.left,
            "shearY": 0,
            "scaleY": e,
            "translateY": north + e * part.top,
        },
        "crsCode": DEGREES,
    }


def _decoded(body: bytes, plane: Plane, part: _Part) -> Iterator[tuple[str, NDArray[Any]]]:
    """The bands of an answer in NumPy's format.

    The header is looked at before anything of the size it names is made.

    Raises:
        ValueError: the answer is not what was asked for.
    """
    stream = io.BytesIO(body)
    if npy.read_magic(stream) != (1, 0):
        raise ValueError("the answer is not in version 1.0 of NumPy's format")
    try:
        shape, _, dtype = npy.read_array_header_1_0(stream, max_header_size=LONGEST_HEADER)
    except _NO_HEADER as error:
        raise ValueError(f"the header of the answer is no header ({type(error).__name__})") from None
    expected, length = (part.height, part.width), len(body) - stream.tell()
    sound = shape == expected and dtype.names == tuple(plane.bands)
    if not sound or dtype.itemsize * part.width * part.height != length:
        raise ValueError(
            f"expected bands {', '.join(plane.bands)} of {expected}, got {dtype.names or dtype} of {shape} "
            f"in {length} bytes"
        )
    pixels = np.load(io.BytesIO(body), allow_pickle=False)
    for name, kind in plane.bands.items():
        yield name, _narrowed(pixels[name], name, kind)


def _narrowed(band: NDArray[Any], name: str, kind: type[np.unsignedinteger[Any]]) -> NDArray[Any]:
    """A band in the type asked for; a wider one is accepted if its values fit."""
    if band.dtype.kind not in "iu" or int(band.min()) < 0 or int(band.max()) > np.iinfo(kind).max:
        raise ValueError(f"band {name} holds whole numbers of {np.dtype(kind)}; got {band.dtype}")
    return band.astype(kind)
