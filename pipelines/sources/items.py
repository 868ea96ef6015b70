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

import logging
import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon

from gl10m.manifest.columns import values
from gl10m.manifest.schema import ITEMS
from gl10m.scene.acquisition import Window
from pipelines.sources.asset_urls import unsigned
from pipelines.sources.imagery import Sensor
from pipelines.sources.item_outlines import NO_OUTLINE, outline_of, plain_outlines

log = logging.getLogger(__name__)

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

_PROPERTIES = ("datetime", "start_datetime", "gsd", "proj:epsg", "proj:code")
_PROPERTIES_OF: Mapping[Sensor, tuple[str, ...]] = {
    Sensor.NAIP: ("naip:year",),
    Sensor.SENTINEL2: (
        "eo:cloud_cover",
        "s2:processing_baseline",
        "s2:generation_time",
        "s2:mgrs_tile",
        "grid:code",
    ),
}

_OF_ASSET = ("href", "raster:bands")
_OF_FIRST_ASSET = (*_OF_ASSET, "gsd", "proj:epsg", "proj:code")


def _fields(sensor: Sensor) -> list[str]:
    properties = [f"properties.{name}" for name in _PROPERTIES + _PROPERTIES_OF[sensor]]
    assets = [
        f"assets.{name}.{part}"
        for place, names in enumerate(ASSETS[sensor].values())
        for name in names
        for part in (_OF_ASSET if place else _OF_FIRST_ASSET)
    ]
    return ["id", "collection", "geometry", *properties, *assets]


FIELDS: Mapping[Sensor, list[str]] = {sensor: _fields(sensor) for sensor in Sensor}
"""All that a row is made of, as the fields extension of STAC names it: 1 kB of a real item of 3 or 17 kB."""

REFLECTANCE_PER_COUNT = 1e-4
"""Sentinel-2 L2A: 10,000 counts are a reflectance of 1 (Products Specification Document,
QUANTIFICATION_VALUE)."""

OFFSET_COUNTS = -1000
"""Added to the counts from baseline 04.00 on (BOA_ADD_OFFSET)."""

OFFSET_SINCE_BASELINE = (4, 0)
"""First processing baseline with that offset."""

GSD_SENTINEL2 = 10.0
"""Ground sample distance of B02, B03, B04, metres, where an item names none."""

LONGEST_NAME = 200
"""Characters in an item id at most."""

LARGEST_EPSG = 999_999
"""No code of the registry is larger."""


class MalformedItemError(ValueError):
    """A catalogue item lacks what a scene needs, or holds what cannot be."""


def item_table(items: Iterable[Any], sensor: Sensor) -> tuple[pa.Table, list[MalformedItemError]]:
    """STAC items as rows of schema ITEMS; hrefs checked and unsigned.

    Args:
        items: GeoJSON features as the API sent them, or as `stac_geoparquet` reads them.
        sensor: which sensor their collection shows.

    Returns:
        The rows, in the order of the items, and what is wrong with those that are left out.
    """
    rows: list[Row] = []
    geometries: list[Any] = []
    faults: list[MalformedItemError] = []
    for item in items:
        try:
            rows.append(_named(item, sensor))
            geometries.append(item.get("geometry"))
        except MalformedItemError as fault:
            faults.append(fault)
    whole: list[Row] = []
    grounds: list[Polygon | MultiPolygon] = []
    for row, geometry, ground in zip(rows, geometries, plain_outlines(geometries), strict=True):
        try:
            grounds.append(_ground(geometry, row) if ground is None else ground)
            whole.append(row)
        except MalformedItemError as fault:
            faults.append(fault)
    return _table(whole, np.array(grounds, object)), faults


def item_row(item: Mapping[str, Any], sensor: Sensor) -> Row:
    """One STAC item as a row of schema ITEMS.

    Raises:
        MalformedItemError: a part is missing or impossible; the message names the item.
    """
    table, faults = item_table([item], sensor)
    if faults:
        raise faults[0]
    (row,) = table.to_pylist()
    return dict(row)


def collected(
    parts: Iterable[tuple[pa.Table, list[MalformedItemError]]], sensor: Sensor, window: Window
) -> pa.Table:
    """The usable items of a catalogue; what is wrong with the others is told in the log.

    One bad item of an archive must not stop a state. If no item at all can be used, the catalogue speaks a
    language that is not ours.

    Args:
        parts: what `item_table` made of each part of the catalogue.
        sensor: which sensor they show.
        window: days of acquisition, both ends included, UTC.

    Returns:
        Schema ITEMS, sorted by item id; of several items of one id the first.

    Raises:
        MalformedItemError: there are items, and none of them can be used.
    """
    tables, faults, whole = [ITEMS.empty()], [], 0
    for table, wrong in parts:
        for fault in wrong:
            log.warning("left out: %s", fault)
        faults += wrong
        whole += table.num_rows
        tables.append(within(table, window))
    if faults and not whole:
        raise MalformedItemError(f"none of {len(faults)} items can be used; the first: {faults[0]}")
    if faults:
        log.warning("%d of %d %s items left out", len(faults), len(faults) + whole, sensor)
    found = pa.concat_tables(tables).combine_chunks()
    _, first = np.unique(np.array(values(found, "item_id"), np.str_), return_index=True)
    return found.take(pa.array(first, pa.int64()))


def acquired_days(items: pa.Table) -> "pa.ChunkedArray[Any]":
    """UTC day of each item, date32."""
    return items["acquired"].cast(pa.timestamp("us")).cast(pa.date32(), safe=False)


def within(items: pa.Table, window: Window) -> pa.Table:
    """The items that were acquired in a window of UTC days, both ends included."""
    days = acquired_days(items)
    return items.filter(
        pc.and_(pc.greater_equal(days, pa.scalar(window.first)), pc.less_equal(days, pa.scalar(window.last)))
    )


def _table(rows: list[Row], grounds: NDArray[np.object_]) -> pa.Table:
    geometry = pa.array(shapely.to_wkb(grounds), pa.binary())
    bounds = pa.FixedSizeListArray.from_arrays(pa.array(shapely.bounds(grounds).ravel()), 4)
    columns = {
        name: [row[name] for row in rows] for name in ITEMS.names if name not in {"bounds", "geometry"}
    }
    return pa.table(columns | {"bounds": bounds, "geometry": geometry}, schema=ITEMS.schema)


def _named(item: Any, sensor: Sensor) -> Row:  # noqa: ANN401 - any JSON
    """All columns of an item but its ground.

    Raises:
        MalformedItemError: a part is missing or impossible; the message names the item.
    """
    name = item.get("id") if isinstance(item, Mapping) else None
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.isprintable():
        raise MalformedItemError(
            f"an item has an id of 1 to {LONGEST_NAME} characters; got {str(name)[:80]!r}"
        )
    try:
        return _row(item, name, sensor)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _malformed(name, sensor, error) from None


def _ground(geometry: object, row: Row) -> Polygon | MultiPolygon:
    """The ground of an item whose outline is no simple one.

    Raises:
        MalformedItemError: it encloses none.
    """
    try:
        return outline_of(geometry)
    except NO_OUTLINE as error:
        raise _malformed(row["item_id"], row["sensor"], error) from None


def _malformed(name: str, sensor: str, error: Exception) -> MalformedItemError:
    fault = f"no {error.args[0]}" if isinstance(error, KeyError) else str(error)
    return MalformedItemError(f"item {name} is no {sensor} item that can be used: {fault}")


def _row(item: Mapping[str, Any], name: str, sensor: Sensor) -> Row:
    properties = item["properties"]
    rasters = {ours: _asset(item["assets"], names) for ours, names in ASSETS[sensor].items()}
    first = next(iter(rasters.values()))
    acquired = _instant(properties.get("datetime") or properties["start_datetime"])
    row: Row = {
        "collection": _optional_text(item["collection"]) or "",
        "item_id": name,
        "sensor": sensor.value,
        "acquired": acquired,
        "gsd": finite_number("gsd", properties.get("gsd") or first.get("gsd") or GSD_SENTINEL2),
        "epsg": _epsg(properties, first),
        "assets": sorted((ours, unsigned(asset["href"])) for ours, asset in rasters.items()),
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
        "cloud_cover": finite_number("eo:cloud_cover", properties["eo:cloud_cover"]),
        "baseline": _optional_text(baseline),
        "generated": _optional_text(properties.get("s2:generation_time")),
        "mgrs_tile": _optional_text(mgrs or None),
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
        return finite_number("scale", scale), finite_number("offset", offset)
    if baseline is None:
        raise KeyError("s2:processing_baseline and no raster:bands with a scale")
    major, minor = (int(part) for part in str(baseline).split("."))
    counts = OFFSET_COUNTS if (major, minor) >= OFFSET_SINCE_BASELINE else 0
    return REFLECTANCE_PER_COUNT, counts * REFLECTANCE_PER_COUNT


def _asset(assets: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Any]:
    found = next((assets[name] for name in names if name in assets), None)
    if not isinstance(found, dict) or not isinstance(found.get("href"), str):
        raise KeyError(f"asset {' or '.join(names)} with an href")
    return found


def _epsg(properties: Mapping[str, Any], asset: Mapping[str, Any]) -> int:
    """`proj:epsg` (projection extension 1) or `proj:code` (extension 2), of the item, else of the asset."""
    for place in (properties, asset):
        for name in ("proj:epsg", "proj:code"):
            if place.get(name) is not None:
                code = int(str(place[name]).removeprefix("EPSG:"))
                if not 0 < code <= LARGEST_EPSG:
                    raise ValueError(f"{name} is an EPSG code; got {code}")
                return code
    raise KeyError("proj:epsg or proj:code")


def _instant(text: str) -> datetime:
    """An RFC 3339 date and time, in UTC."""
    instant = datetime.fromisoformat(text)
    return instant.replace(tzinfo=UTC) if instant.tzinfo is None else instant.astimezone(UTC)


def finite_number(what: str, value: object) -> float:
    """A number of a catalogue's JSON.

    Args:
        what: names it in the error.
        value: any JSON.

    Raises:
        ValueError: it is no finite number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{what} is a finite number; got {str(value)[:40]!r}")
    return float(value)


def _optional_text(value: object) -> str | None:
    if value is None:
        return None
    text = str(value)[:LONGEST_NAME]
    if not text.isprintable():
        raise ValueError(f"a text is printable; got {text[:40]!r}")
    return text
