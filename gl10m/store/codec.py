"""One image to JPEG bytes and back.

Pillow encodes, because it can optimise the Huffman tables (4 % fewer bytes); simplejpeg decodes, because it
is 1.4 times as fast and writes into a buffer of ours. Both stand on libjpeg-turbo. The settings, and the
formats they were measured against: docs/decisions/0002-store-layout.md.
"""

import io
from typing import Final

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from gl10m.scene.footprint import LR_PIXELS

SIDE: Final = LR_PIXELS
"""Pixels on a side of every image in the store: the LR image and each HR tile (A.1)."""

QUALITY: Final = 95
"""JPEG quality of both kinds of image."""

MAX_IMAGE_BYTES: Final = 1 << 20
"""An encoded image longer than this is refused unread; pure noise at this quality takes a fifth of it."""

_FULL_COLOUR, _HALF_COLOUR = 0, 2  # Pillow's numbers for 4:4:4 and 4:2:0

Encoded = bytes | bytearray | memoryview
"""The bytes of one JPEG file, wherever they lie."""


class ImageError(ValueError):
    """Pixels or bytes are not an image of the store."""


def encode_lr(rgb: NDArray[np.uint8]) -> bytes:
    """Encode an LR image: baseline JPEG, quality 95, full colour resolution (4:4:4).

    Args:
        rgb: shape (3, 268, 268), uint8, red, green, blue, north-west pixel first.

    Raises:
        ImageError: another shape or type.
    """
    return _encode(rgb, _FULL_COLOUR)


def encode_tile(rgb: NDArray[np.uint8]) -> bytes:
    """Encode one HR tile: baseline JPEG, quality 95, half colour resolution (4:2:0).

    Args:
        rgb: shape (3, 268, 268), uint8, red, green, blue, north-west pixel first.

    Raises:
        ImageError: another shape or type.
    """
    return _encode(rgb, _HALF_COLOUR)


def decode(encoded: Encoded) -> NDArray[np.uint8]:
    """Decode one image of the store.

    Args:
        encoded: the bytes of one JPEG file.

    Returns:
        Shape (3, 268, 268), uint8, red, green, blue, north-west first. It is a view: in memory the three
        channels of a pixel lie together (torch calls it channels_last).

    Raises:
        ImageError: the bytes are no whole JPEG of 268 x 268 pixels in colour.
    """
    pixels = np.empty((SIDE, SIDE, 3), np.uint8)
    decode_into(encoded, pixels)
    return pixels.transpose(2, 0, 1)


def decode_into(encoded: Encoded, pixels: NDArray[np.uint8]) -> None:
    """Decode one image into memory of the caller's.

    The header is read first, so that a hostile image never makes libjpeg take memory for its claimed size.

    Args:
        encoded: the bytes of one JPEG file.
        pixels: shape (268, 268, 3), uint8, C-contiguous; overwritten.

    Raises:
        ImageError: the bytes are no whole JPEG of 268 x 268 pixels in colour. `pixels` is then undefined.
    """
    length = memoryview(encoded).nbytes
    if length > MAX_IMAGE_BYTES:
        raise ImageError(f"an image of the store has at most {MAX_IMAGE_BYTES} bytes; got {length}")
    try:
        height, width, colours, _ = simplejpeg.decode_jpeg_header(encoded)
    except ValueError as error:
        raise ImageError(f"{length} bytes are no JPEG image: {error}") from error
    if (height, width, colours) != (SIDE, SIDE, "YCbCr"):
        raise ImageError(
            f"an image of the store is {SIDE} x {SIDE} pixels in YCbCr; got {height} x {width} in {colours}"
        )
    try:
        simplejpeg.decode_jpeg(encoded, "RGB", buffer=pixels)
    except ValueError as error:
        raise ImageError(f"a JPEG image of {length} bytes is damaged: {error}") from error


def _encode(rgb: NDArray[np.uint8], colour: int) -> bytes:
    if rgb.shape != (3, SIDE, SIDE) or rgb.dtype != np.uint8:
        raise ImageError(
            f"an image of the store is uint8 of shape (3, {SIDE}, {SIDE}); "
            f"got {rgb.dtype} of shape {rgb.shape}"
        )
    image = Image.fromarray(np.ascontiguousarray(rgb.transpose(1, 2, 0)))
    file = io.BytesIO()
    try:
        image.save(file, "JPEG", quality=QUALITY, subsampling=colour, optimize=True)
    except OSError:
        # Pillow gives libjpeg 2 bytes a pixel for an optimised image. Noise needs more, and gains nothing by
        # optimised tables: it is written with the standard ones.
        file = io.BytesIO()
        image.save(file, "JPEG", quality=QUALITY, subsampling=colour)
    return file.getvalue()
