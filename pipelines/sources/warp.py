"""From a raster's own grid to the rectangle of a footprint: one warp, exact affine, anti-aliased."""

import math

import numpy as np
from numpy.typing import NDArray
from rasterio.warp import transform

from gl10m.scene.footprint import Footprint
from pipelines.sources.lattice import DEGREES, Frame
from pipelines.sources.patch import Patch
from pipelines.sources.resample import NODE_STEP, resample_bytes
from pipelines.sources.resample_floats import resample_classes, resample_reflectance


def warp_bytes(
    pixels: NDArray[np.uint8], valid: NDArray[np.bool_], frame: Frame, footprint: Footprint, side: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Warp bytes, bilinear.

    Args:
        pixels: shape (rows, columns, 4) of the frame; the fourth band is left out.
        valid: shape (rows, columns); True = has data.
        frame: where the pixels lie: the whole footprint with its margin, or more.
        footprint: the ground to show.
        side: pixels on a side of the output.

    Returns:
        Shape (3, side, side), 0 where not reached; and shape (side, side), True where the whole kernel found
        data.
    """
    step = frame.lattice.step(footprint, side)
    return resample_bytes(pixels, valid, nodes(frame, footprint, side), step, side)


def warp_reflectance(
    reflectance: NDArray[np.float32],
    valid: NDArray[np.bool_],
    frame: Frame,
    footprint: Footprint,
    side: int,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Warp reflectance, bilinear over the valid pixels alone.

    Args:
        reflectance: shape (bands, rows, columns) of the frame.
        valid: shape (rows, columns).
        frame: where the pixels lie.
        footprint: the ground to show.
        side: pixels on a side of the output.

    Returns:
        Shape (bands, side, side), 0 where not observed; and shape (side, side), True where the nearest pixel
        is valid.
    """
    step = frame.lattice.step(footprint, side)
    return resample_reflectance(reflectance, valid, nodes(frame, footprint, side), step, side)


def warp_classes(classes: Patch, footprint: Footprint, side: int) -> NDArray[np.uint8]:
    """Warp a class raster, nearest neighbour.

    Returns:
        Shape (side, side); 0 where the raster does not reach.
    """
    return resample_classes(classes.pixels[0], nodes(classes.frame, footprint, side), side)


def nodes(frame: Frame, footprint: Footprint, side: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where in a frame the centres of every NODE_STEP-th output pixel lie, and of one beyond the last.

    Args:
        frame: the source.
        footprint: the ground to show.
        side: pixels on a side of the output.

    Returns:
        Columns and rows in pixels from the frame's north-western corner, both (n, n).
    """
    count = math.ceil(side / NODE_STEP) + 1
    centres = np.arange(count) * NODE_STEP + 0.5
    a, _, west, _, e, north = footprint.affine(side)
    longitude, latitude = np.meshgrid(west + a * centres, north + e * centres)
    x, y = transform(DEGREES, frame.lattice.crs, longitude.ravel(), latitude.ravel())
    lattice, shape = frame.lattice, longitude.shape
    columns = (np.asarray(x) - lattice.x) / lattice.width - frame.left
    rows = (lattice.y - np.asarray(y)) / lattice.height - frame.top
    return columns.reshape(shape), rows.reshape(shape)
