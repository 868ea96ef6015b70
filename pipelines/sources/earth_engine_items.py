"""Images of Earth Engine collections, as `listImages` tells of them, to rows of schema ITEMS.

| what | NAIP (USDA/NAIP/DOQQ) | Sentinel-2 (COPERNICUS/S2_SR_HARMONIZED) |
| --- | --- | --- |
| item id | last part of the asset id | the same |
| assets | `image`: the asset id | `image`: the asset id |
| day | `startTime` | `startTime` |
| CRS and metres a pixel | grid of band R | grid of band B4 |
| clouds, tile, processing | - | CLOUDY_PIXEL_PERCENTAGE, MGRS_TILE, PROCESSING_BASELINE, GENERATION_TIME |
| vintage | year of the day | - |
| reflectance | - | 1e-4 a count, offset 0: the collection is harmonised |
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import shapely
from shapely.geometry import LinearRing, LineString, MultiPolygon, Polygon, shape

from pipelines.sources.asset_urls import RefusedAddressError
from pipelines.sources.imagery import Sensor
from pipelines.sources.item_outlines import MOST_VERTICES
from pipelines.sources.items import (
    LONGEST_NAME,
    REFLECTANCE_PER_COUNT,
    MalformedItemError,
    Row,
    finite_number,
)

PUBLIC = "projects/earthengine-public/assets/"
"""How the names of public assets begin; their ids do not."""

IMAGE = "image"
"""The one raster of an item: all its bands are one asset."""

FIRST_BAND: Mapping[Sensor, str] = {Sensor.NAIP: "R", Sensor.SENTINEL2: "B4"}
"""The band whose grid is the item's."""

_ASSET = re.compile(r"[A-Za-z0-9][\w-]*(/[A-Za-z0-9_][\w.-]*){1,12}", re.ASCII)
_FAULTS = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    OSError,  # an instant that this machine cannot write
    shapely.errors.ShapelyError,
)
_EPSG = re.compile(r"EPSG:(\d{4,6})")


def asset_id(text: str) -> str:
    """An Earth Engine asset id, checked; it has no scheme and is no path of this machine.

    Raises:
        RefusedAddressError: it is none.
    """
    if len(text) > LONGEST_NAME or not _ASSET.fullmatch(text):
        raise RefusedAddressError(
            "an Earth Engine asset is written as COLLECTION/IMAGE, letters, digits, dots and dashes; got "
            f"{text[:80]!r}"
        )
    return text


def image_row(image: Mapping[str, Any], sensor: Sensor, collection: str) -> Row:
    """One image of a collection as a row of schema ITEMS.

    Args:
        image: as `ee.data.listImages` gives it, view FULL.
        sensor: which sensor the collection shows.
        collection: asset id of the collection.

    Returns:
        Column name to value.

    Raises:
        MalformedItemError: a part is missing or impossible; the message names the image.
    """
    name = str(image.get("id") or str(image.get("name", "")).removeprefix(PUBLIC))
    try:
        return _row(image, asset_id(name), sensor, collection)
    except _FAULTS as error:
        fault = f"no {error.args[0]}" if isinstance(error, KeyError) else str(error)
        raise MalformedItemError(
            f"image {name[:LONGEST_NAME]!r} is no {sensor} image that can be used: {fault}"
        ) from None


def _row(image: Mapping[str, Any], name: str, sensor: Sensor, collection: str) -> Row:
    if not name.startswith(f"{collection}/"):
        raise ValueError(f"it is not in {collection}")
    acquired = datetime.fromisoformat(image["startTime"]).astimezone(UTC)
    epsg, gsd = _grid(image["bands"], FIRST_BAND[sensor])
    outline = _outline(image["geometry"])
    row: Row = {
        "collection": collection,
        "item_id": name.rpartition("/")[2],
        "sensor": sensor.value,
        "acquired": acquired,
        "gsd": gsd,
        "epsg": epsg,
        "assets": [(IMAGE, name)],
        "bounds": list(outline.bounds),
        "geometry": shapely.to_wkb(outline),
    }
    if sensor is Sensor.NAIP:
        empty = dict.fromkeys(("cloud_cover", "baseline", "generated", "mgrs_tile", "scale", "offset"))
        return row | empty | {"vintage": str(acquired.year)}
    return row | _sentinel2(image["properties"])


def _sentinel2(properties: Mapping[str, Any]) -> Row:
    """Columns that only Sentinel-2 has."""
    generated = properties.get("GENERATION_TIME")
    return {
        "vintage": None,
        "cloud_cover": finite_number("CLOUDY_PIXEL_PERCENTAGE", properties["CLOUDY_PIXEL_PERCENTAGE"]),
        "baseline": str(properties["PROCESSING_BASELINE"]),
        "generated": None if generated is None else _instant(finite_number("GENERATION_TIME", generated)),
        "mgrs_tile": str(properties["MGRS_TILE"]),
        "scale": REFLECTANCE_PER_COUNT,
        "offset": 0.0,
    }


def _grid(bands: list[Mapping[str, Any]], wanted: str) -> tuple[int, float]:
    """EPSG code, and size of a pixel in metres."""
    band = next((band for band in bands if band.get("id") == wanted), None)
    if band is None:
        raise KeyError(f"band {wanted}")
    grid = band["grid"]
    code = _EPSG.fullmatch(str(grid["crsCode"]))
    if code is None:
        raise ValueError(f"its CRS is no EPSG code: {str(grid['crsCode'])[:40]!r}")
    size = finite_number("scaleX", grid["affineTransform"]["scaleX"])
    if size <= 0:
        raise ValueError(f"a pixel has a size above 0; got {size}")
    return int(code[1]), size


def _outline(geometry: dict[str, Any]) -> Polygon | MultiPolygon:
    """The image's footprint, longitude first; Earth Engine keeps some as a bare ring."""
    ground = shape(geometry)
    if isinstance(ground, LinearRing | LineString):
        ground = Polygon(ground.coords)
    if not isinstance(ground, Polygon | MultiPolygon) or ground.is_empty or not ground.is_valid:
        raise ValueError(f"its footprint is no valid polygon but a {ground.geom_type}")
    west, south, east, north = ground.bounds
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):  # noqa: PLR2004 - the map
        raise ValueError(f"its footprint lies off the map: {ground.bounds}")
    if shapely.get_num_coordinates(ground) > MOST_VERTICES:
        raise ValueError(f"its footprint has more than {MOST_VERTICES} vertices")
    return ground


def _instant(milliseconds: float) -> str:
    """Milliseconds since 1970 as the other catalogues write an instant: 2023-06-11T23:10:06.027Z."""
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
