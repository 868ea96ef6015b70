"""A ruler on the ground: rasters whose values tell longitude and latitude.

Red is a triangle wave of longitude, green one of latitude, so that a shift shows as a difference that follows
the sign of the slope, whatever rounding and JPEG add. Blue counts the tiles.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import rasterio
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.shutil import copy

from gl10m.manifest.schema import CANDIDATES
from gl10m.scene.footprint import FOOTPRINT_DEGREES, Footprint

Array = NDArray[Any]

TILE = FOOTPRINT_DEGREES / 10
LOW, HIGH = 20.0, 235.0
"""Levels of the wave in bytes."""

COUNTS_LOW, COUNTS_HIGH, OFFSET = 300.0, 2700.0, 1000
"""Of the wave in reflectance counts, and what baseline 04.00 and later add."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruler:
    """The waves about one footprint."""

    footprint: Footprint
    half_wave: float
    """Degrees from the foot of the wave to its top."""

    def phase(self, degrees: Array, zero: float) -> Array:
        """Position in the wave, 0 to 2; 0 to 1 goes up."""
        return np.asarray(((degrees - zero) / self.half_wave) % 2)

    def heights(self, longitude: Array, latitude: Array) -> Array:
        """Shape (2, ...), 0..1: the waves of longitude and of latitude, southward."""
        west, _, _, north = self.footprint.bounds
        phases = np.stack([self.phase(longitude, west), self.phase(-latitude, -north)])
        return np.asarray(np.minimum(phases, 2 - phases))

    def code(self, longitude: Array, latitude: Array) -> Array:
        """A byte that tells the tile: 20 levels a row, 2 a column, from 30."""
        west, _, _, north = self.footprint.bounds
        column = np.clip(np.floor((longitude - west) / TILE), 0, 9)
        row = np.clip(np.floor((north - latitude) / TILE), 0, 9)
        return np.asarray(30 + 20 * row + 2 * column)


def centres(footprint: Footprint, pixels: int) -> tuple[Array, Array]:
    """Longitude and latitude of pixel centres, each (pixels, pixels)."""
    a, _, c, _, e, f = footprint.affine(pixels)
    steps = np.arange(pixels) + 0.5
    longitude, latitude = np.meshgrid(c + a * steps, f + e * steps)
    return longitude, latitude


def shifts(
    ruler: Ruler, shown: Array, longitude: Array, latitude: Array, *, low: float, high: float
) -> Array:
    """Shift of an image against the ruler, in its own pixels, east and south; turning points left out.

    Args:
        ruler: what was drawn.
        shown: shape (2, n, n): the first two bands of the image.
        longitude: of the pixel centres, shape (n, n).
        latitude: of the pixel centres, shape (n, n).
        low: level at the wave's foot.
        high: level at its top.
    """
    west, _, _, north = ruler.footprint.bounds
    found = []
    for band, (degrees, zero) in enumerate([(longitude, west), (-latitude, -north)]):
        phase = ruler.phase(degrees, zero)
        step = np.abs(np.diff(degrees, axis=1 - band).mean()) / ruler.half_wave
        rising = phase < 1
        away = np.abs(phase - np.round(phase)) > 4 * step
        error = shown[band].astype(float) - (low + (high - low) * np.minimum(phase, 2 - phase))
        slope = np.where(rising, 1.0, -1.0) * (high - low) * step
        # An image shifted by s shows f(x - s): the error is -s times the slope.
        found.append(-(error * slope)[away].sum() / (slope**2)[away].sum())
    return np.array(found)


def coordinates(epsg: int, affine: rasterio.Affine, height: int, width: int) -> tuple[Array, Array]:
    """Longitude and latitude of the pixel centres; 31 of 32 rows are interpolated, to 1e-5 m."""
    rows = np.unique(np.append(np.arange(0, height, 32), height - 1)) + 0.5
    columns = np.arange(width) + 0.5
    x, y = np.meshgrid(affine.c + affine.a * columns, affine.f + affine.e * rows)
    known = np.stack(Transformer.from_crs(epsg, 4326, always_xy=True).transform(x, y))
    every = np.arange(height) + 0.5
    after = np.clip(np.searchsorted(rows, every), 1, len(rows) - 1)
    share = ((every - rows[after - 1]) / (rows[after] - rows[after - 1]))[:, None]
    longitude, latitude = known[:, after - 1] * (1 - share) + known[:, after] * share
    return longitude, latitude


def frame(
    footprint: Footprint, epsg: int, gsd: float, *, west: float = -0.1, east: float = 1.1, margin: float = 0.1
) -> tuple[rasterio.Affine, int, int]:
    """Affine, height and width of a raster over a part of the footprint.

    Args:
        footprint: the ground.
        epsg: a UTM zone.
        gsd: of a pixel, metres; the origin is a multiple of it.
        west: western edge as a share of the footprint's width from its west.
        east: eastern edge likewise.
        margin: beyond north and south, as a share of its height.
    """
    left, south, _, north = footprint.bounds
    side = FOOTPRINT_DEGREES
    box = shapely.box(left + west * side, south - margin * side, left + east * side, north + margin * side)
    ring = shapely.get_coordinates(shapely.segmentize(box, side / 20))
    x, y = Transformer.from_crs(4326, epsg, always_xy=True).transform(*ring.T)
    x0, y1 = np.floor(min(x) / gsd) * gsd, np.ceil(max(y) / gsd) * gsd
    width, height = int(np.ceil((max(x) - x0) / gsd)), int(np.ceil((y1 - min(y)) / gsd))
    return rasterio.Affine(gsd, 0, x0, 0, -gsd, y1), height, width


def write_tiff(
    path: Path,
    pixels: Array,
    epsg: int,
    affine: rasterio.Affine,
    *,
    nodata: int | None = None,
    overviews: bool = False,
) -> bytes:
    """Write a real cloud-optimised GeoTIFF; gives its bytes. Four bands are red, green, blue and, as in some
    NAIP files, a near infrared that is tagged as alpha."""
    count, height, width = pixels.shape
    plain = path.with_suffix(".plain.tif")
    with rasterio.open(
        plain,
        "w",
        driver="GTiff",
        count=count,
        height=height,
        width=width,
        dtype=pixels.dtype,
        crs=f"EPSG:{epsg}",
        transform=affine,
        nodata=nodata,
        **({"photometric": "RGB"} if count == 4 else {}),
    ) as raster:
        raster.write(pixels)
    options = {"compress": "DEFLATE", "predictor": "YES", "level": 1, "blocksize": 512}
    copy(plain, path, driver="COG", overviews="AUTO" if overviews else "NONE", **options)
    plain.unlink()
    return path.read_bytes()


def outline(epsg: int, affine: rasterio.Affine, height: int, width: int) -> shapely.Polygon:
    """The raster's footprint in degrees, as catalogues state it: its four corners."""
    x = affine.c + affine.a * np.array([0, width, width, 0])
    y = affine.f + affine.e * np.array([0, 0, height, height])
    longitude, latitude = Transformer.from_crs(epsg, 4326, always_xy=True).transform(x, y)
    return shapely.Polygon(np.column_stack([longitude, latitude]))


def naip_item(
    name: str, day: str, epsg: int, ground: shapely.Polygon, *, href: str, gsd: float = 0.6
) -> dict[str, Any]:
    """A NAIP item with the properties of the Planetary Computer's."""
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": "naip",
        "bbox": list(ground.bounds),
        "geometry": shapely.geometry.mapping(ground),
        "properties": {
            "datetime": f"{day}T16:00:00Z",
            "gsd": gsd,
            "naip:year": day[:4],
            "proj:epsg": epsg,
        },
        "assets": {"image": {"href": href}},
        "links": [],
    }


def sentinel2_item(name: str, day: str, epsg: int, ground: shapely.Polygon, folder: str) -> dict[str, Any]:
    """A Sentinel-2 item with the properties of the Planetary Computer's."""
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": "sentinel-2-l2a",
        "bbox": list(ground.bounds),
        "geometry": shapely.geometry.mapping(ground),
        "properties": {
            "datetime": f"{day}T18:10:06.027000Z",
            "proj:epsg": epsg,
            "eo:cloud_cover": 0.5,
            "s2:mgrs_tile": f"{epsg % 100}SXX",
            "s2:processing_baseline": "05.09",
            "s2:generation_time": f"{day}T23:10:06.027Z",
        },
        "assets": {band: {"href": f"{folder}/{band}.tif"} for band in ("B04", "B03", "B02", "SCL")},
        "links": [],
    }


def candidate(footprint: Footprint, name: str = "CA-w1") -> pa.Table:
    """One row of schema CANDIDATES."""
    row = {
        "scene_id": name,
        "state": name[:2],
        "osm_id": f"way/{name[4:]}",
        "anchor_class": 0,
        "longitude": footprint.longitude,
        "latitude": footprint.latitude,
        "bounds": list(footprint.bounds),
        "class_ids": [0],
        "class_shares": [1.0],
        "labelled_share": 1.0,
        "tile_labels": b"",
        "geometry": shapely.to_wkb(shapely.box(*footprint.bounds)),
    }
    return pa.Table.from_pylist([row], schema=CANDIDATES.schema)
