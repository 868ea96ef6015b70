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

TOLERANCE_PIXELS = 0.01
"""How far GDAL may place a pixel from where it belongs, pixels of the raster; its own default is 0.125."""

MEGABYTES = 512
"""Memory of one warp; enough that an image is never warped in pieces."""

OPAQUE = 255
"""Alpha of an output pixel whose whole kernel found data."""


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
    if valid.all():
        source, alpha = pixels, dict[str, int]()
    else:
        source = np.concatenate([pixels, valid[None] * np.uint8(OPAQUE)])
        alpha = {"src_alpha": 4, "dst_alpha": 4}
    warped = np.zeros((len(source), side, side), np.uint8)
    _reproject(source, warped, frame, footprint, Resampling.bilinear, **alpha)
    reached = warped[3] == OPAQUE if alpha else np.ones((side, side), np.bool_)
    return np.where(reached, warped[:3], np.uint8(0)), reached


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
    with rasterio.Env(**GDAL):
        reproject(
            source,
            output,
            src_transform=frame.affine(),
            src_crs=frame.lattice.crs,
            dst_transform=rasterio.Affine(*footprint.affine(side)),
            dst_crs=DEGREES,
            resampling=resampling,
            tolerance=TOLERANCE_PIXELS,
            num_threads=1,
            warp_mem_limit=MEGABYTES,
            XSCALE=min(1.0, 1.0 / east),
            YSCALE=min(1.0, 1.0 / north),
            **options,
        )
