"""Writes cloud-optimised GeoTIFFs, whole or not at all."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import rasterio.shutil
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.windows import Window

from gl10m.manifest.parquet import TEMPORARY
from pipelines.world.grids import PixelFrame

BLOCK_SIZE = 512
"""Pixels on a side of the blocks inside the file, as in the real ones."""

Part = tuple[slice, slice, NDArray[Any]]
"""Rows, columns and pixels of shape (bands, rows, columns)."""


def write_cog(
    path: Path,
    frame: PixelFrame,
    parts: Iterable[Part],
    *,
    bands: int,
    dtype: str,
    nodata: int | None = None,
    overviews: Resampling = Resampling.average,
    colours: Sequence[ColorInterp] = (),
) -> None:
    """Write a DEFLATE-compressed COG with overviews; the same pixels give the same bytes.

    A file of that name is complete: it is written beside its place under a temporary name, which a later run
    writes over.

    Args:
        path: where the file goes; its folder is made.
        frame: where the pixels lie.
        parts: pieces that together fill the frame.
        bands: bands of every piece.
        dtype: of the pixels, a NumPy name.
        nodata: value that means no data, or None.
        overviews: how the overviews are made.
        colours: what the file says that its bands are; nothing if empty.

    Raises:
        OSError: the folder cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(TEMPORARY + path.name)
    profile = {
        "driver": "MEM",
        "width": frame.width,
        "height": frame.height,
        "count": bands,
        "dtype": dtype,
        "nodata": nodata,
        "crs": f"EPSG:{frame.epsg}",
        "transform": Affine(*frame.transform),
    }
    # The overviews are made in memory: left to itself the COG driver compresses them twice.
    with rasterio.Env(GDAL_CACHEMAX=64), rasterio.open(path.name, "w", **profile) as image:
        if colours:
            image.colorinterp = colours
        for rows, columns, pixels in parts:
            image.write(pixels, window=Window.from_slices(rows, columns))
        image.build_overviews(_factors(frame), overviews)
        rasterio.shutil.copy(
            image,
            temporary,
            driver="COG",
            COMPRESS="DEFLATE",
            LEVEL=1,  # more costs twice the time and saves nothing on textures
            PREDICTOR="YES",
            BLOCKSIZE=BLOCK_SIZE,
            OVERVIEWS="FORCE_USE_EXISTING",
            BIGTIFF="IF_SAFER",
            NUM_THREADS=1,
        )
    temporary.replace(path)


def _factors(frame: PixelFrame) -> list[int]:
    """Halve until the image fits into one block."""
    factors: list[int] = []
    size = max(frame.width, frame.height)
    while size > BLOCK_SIZE:
        factors.append(2 ** (len(factors) + 1))
        size = -(-size // 2)
    return factors


def unpacked(packed: NDArray[np.uint32]) -> NDArray[np.uint8]:
    """Packed pixels, shape (height, width), as bands: shape (4, height, width)."""
    height, width = packed.shape
    return np.moveaxis(packed.view(np.uint8).reshape(height, width, 4), -1, 0)
