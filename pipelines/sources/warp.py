"""From a raster's own grid to the rectangle of a footprint: one warp, exact affine, anti-aliased.

The warp is GDAL's. Its bilinear kernel widens where the output is coarser than the raster. The widening is
stated here instead of being left to GDAL, which derives it from the window it happens to be given; so an
image does not depend on how it was read.
"""

from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.warp import reproject

from gl10m.scene.footprint import Footprint
from pipelines.sources.lattice import DEGREES, Frame
from pipelines.sources.raster import GDAL, Patch

STRIP_PIXELS = 670
"""Columns warped at a time. GDAL takes a row for straight while it bends by less than an eighth of a pixel:
over a whole footprint of NAIP that is off by 0.06 pixel, over a quarter of it by 0.004. A smaller tolerance
given to `reproject` has no effect."""

MEGABYTES = 512
"""Memory of one warp; enough that an image is never warped in pieces."""

OPAQUE = 255
"""Mask of a pixel with data, and of an output pixel whose whole kernel found data."""


def warp_bytes(
    pixels: NDArray[np.uint8], valid: NDArray[np.bool_], frame: Frame, footprint: Footprint, side: int
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Warp bytes, bilinear.

    Args:
        pixels: shape (3, rows, columns) of the frame.
        valid: shape (rows, columns); True = has data.
        frame: where the pixels lie: the whole footprint with its margin, or more.
        footprint: the ground to show.
        side: pixels on a side of the output.

    Returns:
        Shape (3, side, side), 0 where not reached; and shape (side, side), True where the whole kernel found
        data.
    """
    warped = np.zeros((len(pixels), side, side), np.uint8)
    _reproject(pixels, warped, frame, footprint, Resampling.bilinear)
    if valid.all():
        return warped, np.ones((side, side), np.bool_)
    # The mask goes through the same kernel: where it comes out whole, so did the pixels. GDAL's own handling
    # of alpha gives the same pixels at three times the cost.
    mask = np.zeros((1, side, side), np.uint8)
    _reproject(valid[None] * np.uint8(OPAQUE), mask, frame, footprint, Resampling.bilinear)
    reached = mask[0] == OPAQUE
    return np.where(reached, warped, np.uint8(0)), reached


def warp_reflectance(
    reflectance: NDArray[np.float32],
    valid: NDArray[np.bool_],
    frame: Frame,
    footprint: Footprint,
    side: int,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Warp reflectance, bilinear over the valid pixels alone.

    Returns:
        Shape (3, side, side), 0 where not observed; and shape (side, side), True where the nearest pixel is
        valid.
    """
    source = np.where(valid, reflectance, np.float32(np.nan))
    warped = np.full((len(source), side, side), np.nan, np.float32)
    nothing = {"src_nodata": np.nan, "dst_nodata": np.nan}
    _reproject(source, warped, frame, footprint, Resampling.bilinear, **nothing)
    observed = np.zeros((1, side, side), np.uint8)
    _reproject(valid[None].astype(np.uint8), observed, frame, footprint, Resampling.nearest)
    seen = (observed[0] > 0) & np.isfinite(warped).all(axis=0)
    return np.where(seen, warped, np.float32(0)), seen


def warp_classes(classes: Patch, footprint: Footprint, side: int) -> NDArray[np.uint8]:
    """Warp a class raster, nearest neighbour.

    Returns:
        Shape (side, side); 0 where the raster does not reach.
    """
    warped = np.zeros((1, side, side), np.uint8)
    _reproject(classes.pixels, warped, classes.frame, footprint, Resampling.nearest)
    nearest: NDArray[np.uint8] = warped[0]
    return nearest


def _reproject(
    source: NDArray[Any],
    output: NDArray[Any],
    frame: Frame,
    footprint: Footprint,
    resampling: Resampling,
    **options: Any,  # noqa: ANN401 - rasterio's own
) -> None:
    if 0 in source.shape:
        return
    side = output.shape[-1]
    east, north = frame.lattice.step(footprint, side)
    whole = rasterio.Affine(*footprint.affine(side))
    with rasterio.Env(**GDAL):
        for left in range(0, side, STRIP_PIXELS):
            # rasterio writes into contiguous memory only.
            strip = np.ascontiguousarray(output[:, :, left : left + STRIP_PIXELS])
            reproject(
                source,
                strip,
                src_transform=frame.affine(),
                src_crs=frame.lattice.crs,
                dst_transform=rasterio.Affine(whole.a, 0.0, whole.c + left * whole.a, 0.0, whole.e, whole.f),
                dst_crs=DEGREES,
                resampling=resampling,
                num_threads=1,
                warp_mem_limit=MEGABYTES,
                XSCALE=min(1.0, 1.0 / east),
                YSCALE=min(1.0, 1.0 / north),
                **options,
            )
            output[:, :, left : left + STRIP_PIXELS] = strip
