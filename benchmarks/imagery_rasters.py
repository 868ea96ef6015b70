"""Makes rasters of the shape of the real ones for `benchmarks/imagery.py`.

    python benchmarks/imagery_rasters.py FOLDER

Four NAIP quarter quads (2 x 2, overlapping, 4 bands of bytes, 0.6 m, blocks of 512, DEFLATE, predictor 2,
overviews) and one Sentinel-2 item over them (10 m, uint16; classes at 20 m). Texture, edges and sensor noise
are such that a scene of NAIP takes some 54 MB, as richly textured quads do. Takes some 4 minutes and 2 GB.
"""

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.shutil import copy
from rasterio.windows import Window

WEST, NORTH = -119.1875, 36.375
"""North-western corner of the four quads, degrees."""

QUAD = 3.75 / 60
"""Side of a quarter quad, degrees."""

OVERLAP_METRES = 300.0

UTM, WGS84_UTM = 26911, 32611

COG = {"compress": "DEFLATE", "predictor": "YES", "blocksize": 512, "overview_resampling": "AVERAGE"}


def texture(side: int, roughness: float, seed: int) -> NDArray[np.float32]:
    """Periodic noise of a power-law spectrum, mean 0, deviation 1."""
    rng = np.random.default_rng(seed)
    square = np.fft.fftfreq(side)[:, None] ** 2 + np.fft.rfftfreq(side)[None] ** 2
    square[0, 0] = 1
    strength = square ** (-roughness / 2)
    strength[0, 0] = 0
    phases = rng.normal(size=strength.shape) + 1j * rng.normal(size=strength.shape)
    noise = np.fft.irfft2(strength * phases, s=(side, side))
    return (noise / noise.std()).astype(np.float32)


def parcels(side: int, number: int, seed: int) -> NDArray[np.float32]:
    """Rectangles of one grey each, one over another, with bright lanes between: sharp edges."""
    rng = np.random.default_rng(seed)
    ground = np.zeros((side, side), np.float32)
    for size in np.sort(rng.integers(12, 700, number))[::-1]:
        top, left = rng.integers(0, side, 2)
        height, width = size, max(8, int(size * rng.uniform(0.4, 2)))
        ground[top : top + height, left : left + width] = rng.normal()
        ground[top : top + 4, left : left + width] = 2.5
    return ground


LAND, FINE, GRAIN, PARCELS = (
    texture(2048, 1.6, 1),
    texture(1536, 1.0, 2),
    texture(1280, 0.2, 3),
    parcels(4096, 2500, 4),
)
BANDS = ((118, 16, 12, 3.6), (122, 14, 13, 4.0), (104, 11, 11, 3.0), (140, -5, 24, 4.8))
"""Level, and weights of parcels, land and fine texture, of red, green, blue and near infrared."""


def seen(column: int, row: int, height: int, width: int, *, grain: float = 3.0) -> NDArray[np.float32]:
    """Shape (4, height, width): the ground at pixels of the whole zone, so that quads agree where they
    overlap."""

    def part(table: NDArray[np.float32], shift: int = 0) -> NDArray[np.float32]:
        side = len(table)
        rows, columns = np.arange(row, row + height), np.arange(column, column + width)
        return table[np.ix_((rows + shift) % side, (columns + 3 * shift) % side)]

    fields, land, fine = part(PARCELS), part(LAND), part(FINE)
    return np.stack(
        [
            level + a * fields + b * land + c * fine + grain * part(GRAIN, 97 * band)
            for band, (level, a, b, c) in enumerate(BANDS)
        ]
    )


Frame = tuple[float, float, float, int, int]
"""Left, top, metres a pixel, rows, columns."""

Paint = Callable[[int, int, int, int], NDArray[Any]]
"""Pixels of a square, from column and row in the zone, and its height and width."""


def write(path: Path, frame: Frame, paint: Paint, **profile: str | int) -> None:
    """Write a COG, painted in squares."""
    left, top, step, height, width = frame
    plain = path.with_suffix(".plain.tif")
    affine = rasterio.Affine(step, 0, left, 0, -step, top)
    size = {"height": height, "width": width, "tiled": True, "blockxsize": 512, "blockysize": 512}
    with rasterio.open(plain, "w", driver="GTiff", transform=affine, **size, **profile) as raster:
        for row in range(0, height, 2048):
            for column in range(0, width, 2048):
                rows, columns = min(2048, height - row), min(2048, width - column)
                pixels = paint(round(left / step) + column, -round(top / step) + row, rows, columns)
                raster.write(pixels, window=Window(column, row, columns, rows))
    with rasterio.Env(GDAL_NUM_THREADS="2", GDAL_CACHEMAX=512):
        copy(plain, path, driver="COG", **COG)
    plain.unlink()


def naip(folder: Path, column: int, row: int) -> dict[str, Any]:
    """One quarter quad of the four."""
    west, north = WEST + column * QUAD, NORTH - row * QUAD
    corners = [west, west + QUAD, west, west + QUAD], [north, north, north - QUAD, north - QUAD]
    x, y = Transformer.from_crs(4326, UTM, always_xy=True).transform(*corners)
    left, top = (math.floor((min(x) - OVERLAP_METRES) / 6) * 6, math.ceil((max(y) + OVERLAP_METRES) / 6) * 6)
    width = math.ceil((max(x) + OVERLAP_METRES - left) / 0.6)
    height = math.ceil((top - min(y) + OVERLAP_METRES) / 0.6)

    def paint(*place: int) -> NDArray[np.uint8]:
        return np.clip(np.rint(seen(*place)), 1, 255).astype(np.uint8)

    path = folder / f"naip_{row}{column}.tif"
    frame = (left, top, 0.6, height, width)
    write(path, frame, paint, count=4, dtype="uint8", crs=f"EPSG:{UTM}", photometric="RGB", alpha="NO")
    degrees = Transformer.from_crs(UTM, 4326, always_xy=True)
    ground = degrees.transform_bounds(left, top - height * 0.6, left + width * 0.6, top)
    return {"path": path.name, "bounds": ground, "epsg": UTM}


def sentinel2(folder: Path) -> dict[str, Any]:
    """One granule of three bands and classes."""
    x, y = Transformer.from_crs(4326, WGS84_UTM, always_xy=True).transform(WEST + QUAD, NORTH - QUAD)
    left, top = math.floor((x - 50_000) / 20) * 20.0, math.ceil((y + 50_000) / 20) * 20.0
    paths = {}
    for band, name in enumerate(("red", "green", "blue")):

        def paint(*place: int, band: int = band) -> NDArray[np.uint16]:
            return np.clip(np.rint(1000 + 8 * seen(*place, grain=1.5)[band : band + 1]), 1, 65535).astype(
                np.uint16
            )

        paths[name] = f"s2_{name}.tif"
        frame = (left, top, 10.0, 10980, 10980)
        kind = {"count": 1, "dtype": "uint16", "crs": f"EPSG:{WGS84_UTM}", "nodata": 0}
        write(folder / paths[name], frame, paint, **kind)

    def classes(*place: int) -> NDArray[np.uint8]:
        return np.where(seen(*place)[:1] > 130, 5, 4).astype(np.uint8)

    paths["scl"] = "s2_scl.tif"
    kind = {"count": 1, "dtype": "uint8", "crs": f"EPSG:{WGS84_UTM}", "nodata": 0}
    write(folder / paths["scl"], (left, top, 20.0, 5490, 5490), classes, **kind)
    return {"paths": paths, "epsg": WGS84_UTM}


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    quads = [naip(folder, column, row) for row in range(2) for column in range(2)]
    (folder / "rasters.json").write_text(json.dumps({"naip": quads, "sentinel2": sentinel2(folder)}))


if __name__ == "__main__":
    main()
