"""Outlines of items: GeoJSON of a catalogue to polygons that enclose ground, many at once or one by one."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import shapely
from shapely.geometry import MultiPolygon, Polygon, shape

MOST_VERTICES = 10_000
"""A footprint with more vertices is refused; real ones have fewer than a hundred."""

NO_OUTLINE = (
    LookupError,
    TypeError,
    ValueError,
    AttributeError,
    OverflowError,
    shapely.errors.ShapelyError,
)
"""What shapely and numpy raise over JSON that is no geometry."""

_MAP = (-180.0, -90.0, 180.0, 90.0)
"""West, south, east, north, degrees."""


def plain_outlines(geometries: list[Any]) -> list[Polygon | MultiPolygon | None]:
    """Outlines of one valid ring in two dimensions on the map, made together; None for all others.

    Nearly all items have such a one, and one by one they took half of the time of an index.

    Args:
        geometries: GeoJSON of each item as the catalogue gave it, any JSON.

    Returns:
        In the same order; longitude first, degrees, EPSG:4326.
    """
    found: list[Any] = [None] * len(geometries)
    rings = {place: ring for place, geometry in enumerate(geometries) if (ring := _one_ring(geometry))}
    try:
        corners = np.array([corner for ring in rings.values() for corner in ring], float)
        lengths = [len(ring) for ring in rings.values()]
        which = np.repeat(np.arange(len(rings)), lengths)
        with np.errstate(invalid="ignore"):  # corners that are no numbers: not valid, see below
            rings_of = shapely.linearrings(corners.reshape(-1, 2), indices=which)
            outlines = np.asarray(shapely.polygons(rings_of))
    except NO_OUTLINE:
        return found  # one of them is no ring: each is looked at alone
    bounds = shapely.bounds(outlines)
    sound = shapely.is_valid(outlines) & ((bounds >= _MAP[:2] * 2) & (bounds <= _MAP[2:] * 2)).all(axis=1)
    for place, outline, kept in zip(rings, outlines, sound.tolist(), strict=True):
        found[place] = outline if kept else None
    return found


def _one_ring(geometry: Any) -> list[Any] | None:  # noqa: ANN401 - any JSON
    """The ring of a polygon without holes, as GeoJSON has it; None for any other geometry."""
    rings = geometry.get("coordinates") if isinstance(geometry, Mapping) else None
    if rings is None or geometry.get("type") != "Polygon" or not isinstance(rings, list) or len(rings) != 1:
        return None
    ring = rings[0]
    plain = isinstance(ring, list) and 4 <= len(ring) <= MOST_VERTICES  # noqa: PLR2004 - a closed triangle
    return ring if plain and all(isinstance(c, list) and len(c) == 2 for c in ring) else None  # noqa: PLR2004


def outline_of(geometry: object) -> Polygon | MultiPolygon:
    """An item's footprint as a valid polygon or multipolygon: longitude first, degrees, EPSG:4326.

    Args:
        geometry: GeoJSON, or any other JSON.

    Raises:
        NO_OUTLINE: one of them; it is no outline that encloses ground on the map.
    """
    if not isinstance(geometry, Mapping):
        raise TypeError(f"a footprint is a GeoJSON geometry; got {str(geometry)[:40]!r}")
    outline = shapely.force_2d(shape(dict(geometry)))
    if not isinstance(outline, Polygon | MultiPolygon) or outline.is_empty:
        raise ValueError(f"a footprint is a polygon; got {outline.geom_type}")
    if shapely.get_num_coordinates(outline) > MOST_VERTICES:
        raise ValueError(f"a footprint has at most {MOST_VERTICES} vertices")
    west, south, east, north = outline.bounds
    if not (_MAP[0] <= west < east <= _MAP[2] and _MAP[1] <= south < north <= _MAP[3]):
        raise ValueError(f"a footprint lies on the map, in degrees; got the bounds {outline.bounds}")
    # A swath edge may cross itself; what is left after the repair must still be ground.
    parts = shapely.get_parts(outline if outline.is_valid else shapely.make_valid(outline))
    ground = shapely.union_all([part for part in parts if isinstance(part, Polygon | MultiPolygon)])
    if not isinstance(ground, Polygon | MultiPolygon) or ground.is_empty:
        raise ValueError("the footprint encloses no ground")
    return ground
