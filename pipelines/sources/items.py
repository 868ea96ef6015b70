"""STAC items of both dialects, Planetary Computer and Earth Search, to rows of schema ITEMS.

| what | Planetary Computer | Earth Search |
| --- | --- | --- |
| NAIP raster | asset `image` | asset `image` |
| red, green, blue, classes | assets `B04`, `B03`, `B02`, `SCL` | assets `red`, `green`, `blue`, `scl` |
| reflectance | from `s2:processing_baseline` | `scale` and `offset` in `raster:bands` |
| CRS | `proj:epsg` or `proj:code` | the same |
| MGRS tile | `s2:mgrs_tile` | `grid:code` (MGRS-13TDE) |

There is no case by provider: each value is taken from the first place in this table that has it. The Earth
Search property `earthsearch:boa_offset_applied` is not read, because it contradicts the rasters in places.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import shapely
from shapely.geometry import MultiPolygon, Polygon, shape

from pipelines.sources.asset_urls import unsigned
from pipelines.sources.imagery import Sensor

Row = dict[str, Any]

ASSETS: Mapping[Sensor, Mapping[str, tuple[str, ...]]] = {
    Sensor.NAIP: {"image": ("image",)},
    Sensor.SENTINEL2: {
        "red": ("B04", "red"),
        "green": ("B03", "green"),
        "blue": ("B02", "blue"),
        "scl": ("SCL", "scl"),
    },
}
"""Our name of each raster, and the asset keys it is known under, first found first."""

REFLECTANCE_PER_COUNT = 1e-4
"""Sentinel-2 L2A: 10,000 counts are a reflectance of 1 (Products Specification Document,
QUANTIFICATION_VALUE)."""

OFFSET_COUNTS = -1000
"""Added to the counts from baseline 04.00 on (BOA_ADD_OFFSET)."""

OFFSET_SINCE_BASELINE = (4, 0)
"""First processing baseline with that offset."""

GSD_SENTINEL2 = 10.0
"""Ground sample distance of B02, B03, B04, metres, where an item names none."""

MOST_VERTICES = 10_000
"""A footprint with more vertices is refused; real ones have fewer than a hundred."""

LONGEST_NAME = 200
"""Characters in an item id at most."""


class MalformedItemError(ValueError):
    """A catalogue item lacks what a scene needs, or holds what cannot be."""


def item_row(item: Mapping[str, Any], sensor: Sensor) -> Row:
    """One STAC item as a row of schema ITEMS.

    Args:
        item: a GeoJSON feature as the API sent it.
        sensor: which sensor its collection shows.

    Returns:
        Column name to value; hrefs checked and unsigned.

    Raises:
        MalformedItemError: a part is missing or impossible; the message names the item.
    """
    name = item.get("id")
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise MalformedItemError(
            f"an item has an id of 1 to {LONGEST_NAME} characters; got {str(name)[:80]!r}"
        )
    try:
        return _row(item, name, sensor)
    except (KeyError, TypeError, ValueError, AttributeError, shapely.errors.ShapelyError) as error:
        fault = f"no {error.args[0]}" if isinstance(error, KeyError) else str(error)
        raise MalformedItemError(f"item {name} is no {sensor} item that can be used: {fault}") from None


def _row(item: Mapping[str, Any], name: str, sensor: Sensor) -> Row:
    properties = item["properties"]
    rasters = {ours: _asset(item["assets"], names) for ours, names in ASSETS[sensor].items()}
    first = next(iter(rasters.values()))
    outline = _outline(item["geometry"])
    acquired = _instant(properties.get("datetime") or properties["start_datetime"])
    row: Row = {
        "collection": str(item["collection"]),
        "item_id": name,
        "sensor": sensor.value,
        "acquired": acquired,
        "gsd": _number("gsd", properties.get("gsd") or first.get("gsd") or GSD_SENTINEL2),
        "epsg": _epsg(properties, first),
        "assets": sorted((ours, unsigned(asset["href"])) for ours, asset in rasters.items()),
        "bounds": list(outline.bounds),
        "geometry": shapely.to_wkb(outline),
    }
    return row | (_naip(properties, acquired) if sensor is Sensor.NAIP else _sentinel2(properties, rasters))


def _naip(properties: Mapping[str, Any], acquired: datetime) -> Row:
    """Columns that only NAIP has: the flight year, which for winter flights is not the year of the date."""
    year = str(properties.get("naip:year") or acquired.year)
    if len(year) != 4 or not year.isdigit():  # noqa: PLR2004 - digits of a year
        raise ValueError(f"naip:year is a year of four digits; got {year[:20]!r}")
    empty = dict.fromkeys(("cloud_cover", "baseline", "generated", "mgrs_tile", "scale", "offset"))
    return {**empty, "vintage": year}


def _sentinel2(properties: Mapping[str, Any], rasters: Mapping[str, Mapping[str, Any]]) -> Row:
    """Columns that only Sentinel-2 has: clouds, how the product was made, and counts to reflectance."""
    baseline = properties.get("s2:processing_baseline")
    scale, offset = _reflectance([rasters[band] for band in ("red", "green", "blue")], baseline)
    mgrs = properties.get("s2:mgrs_tile") or str(properties.get("grid:code") or "").removeprefix("MGRS-")
    return {
        "vintage": None,
        "cloud_cover": _number("eo:cloud_cover", properties["eo:cloud_cover"]),
        "baseline": str(baseline) if baseline is not None else None,
        "generated": _optional_text(properties.get("s2:generation_time")),
        "mgrs_tile": mgrs or None,
        "scale": scale,
        "offset": offset,
    }


def _reflectance(bands: list[Mapping[str, Any]], baseline: str | None) -> tuple[float, float]:
    """Scale and offset of the three bands: as the item states them, else by the processing baseline."""
    stated = [(band.get("raster:bands") or [{}])[0] for band in bands]
    pairs = {(band["scale"], band.get("offset", 0.0)) for band in stated if "scale" in band}
    if len(pairs) > 1 or (pairs and not all("scale" in band for band in stated)):
        raise ValueError(f"red, green and blue share one scale and offset; got {sorted(pairs)}")
    if pairs:
        ((scale, offset),) = pairs
        return _number("scale", scale), _number("offset", offset)
    if baseline is None:
        raise KeyError("s2:processing_baseline and no raster:bands with a scale")
    major, minor = (int(part) for part in str(baseline).split("."))
    counts = OFFSET_COUNTS if (major, minor) >= OFFSET_SINCE_BASELINE else 0
    return REFLECTANCE_PER_COUNT, counts * REFLECTANCE_PER_COUNT


def _asset(assets: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Any]:
    found = next((assets[name] for name in names if name in assets), None)
    if not isinstance(found, Mapping) or not isinstance(found.get("href"), str):
        raise KeyError(f"asset {' or '.join(names)} with an href")
    return found


def _epsg(properties: Mapping[str, Any], asset: Mapping[str, Any]) -> int:
    """`proj:epsg` (projection extension 1) or `proj:code` (extension 2), of the item, else of the asset."""
    for place in (properties, asset):
        if place.get("proj:epsg") is not None:
            return int(place["proj:epsg"])
        if place.get("proj:code") is not None:
            return int(str(place["proj:code"]).removeprefix("EPSG:"))
    raise KeyError("proj:epsg or proj:code")


def _outline(geometry: dict[str, Any]) -> Polygon | MultiPolygon:
    """The item's footprint as a valid polygon or multipolygon, longitude first."""
    outline = shapely.force_2d(shape(geometry))
    if not isinstance(outline, Polygon | MultiPolygon) or outline.is_empty:
        raise ValueError(f"a footprint is a polygon; got {outline.geom_type}")
    if shapely.get_num_coordinates(outline) > MOST_VERTICES:
        raise ValueError(f"a footprint has at most {MOST_VERTICES} vertices")
    west, south, east, north = outline.bounds
    if not (-180 <= west < east <= 180 and -90 <= south < north <= 90):  # noqa: PLR2004 - the map
        raise ValueError(f"a footprint lies on the map, in degrees; got the bounds {outline.bounds}")
    # A swath edge may cross itself; what is left after the repair must still be ground.
    parts = shapely.get_parts(outline if outline.is_valid else shapely.make_valid(outline))
    ground = shapely.union_all([part for part in parts if isinstance(part, Polygon | MultiPolygon)])
    if not isinstance(ground, Polygon | MultiPolygon) or ground.is_empty:
        raise ValueError("the footprint encloses no ground")
    return ground


def _instant(text: str) -> datetime:
    """An RFC 3339 date and time, in UTC."""
    instant = datetime.fromisoformat(text)
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def _number(what: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{what} is a finite number; got {str(value)[:40]!r}")
    return float(value)


def _optional_text(value: object) -> str | None:
    return None if value is None else str(value)[:LONGEST_NAME]
