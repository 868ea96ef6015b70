"""Rings that cross or touch themselves, made valid by the even-odd rule; in a child process, within limits.

The time of GEOS's repair grows with about the square of the crossings, and its memory with it: a ring drawn
as a star of 100 corners takes seconds, one of 30,000 corners that goes round and round takes gigabytes.
"""

from collections.abc import Iterator

import numpy as np
import shapely
from numpy.typing import NDArray

from pipelines.sources.isolated import Limits, run

MOST_CROSSINGS = 300
"""Pairs of edges of one ring that meet where neighbours do not; mappers' slips make a few."""

_MOST_PAIRS = 1 << 18

Geometries = NDArray[np.object_]


def repaired(shapes: Geometries) -> Geometries:
    """Valid polygons and multipolygons of invalid ones, repaired once.

    Args:
        shapes: polygons and multipolygons.

    Returns:
        What the even-odd rule leaves of each, in the same order; empty where that is nothing, and None where
        more than MOST_CROSSINGS pairs of edges cross, touch or overlap.

    Raises:
        ChildLostError: the repair took more memory or time than so many corners may.
        ChildFailedError: GEOS cannot repair one of them.
    """
    given = shapely.to_wkb(shapes).tolist()
    columns = run(_repaired, given, limits=Limits.for_bytes(sum(map(len, given))))
    return np.asarray(shapely.from_wkb(np.array([column or None for column in columns], dtype=object)))


def _repaired(given: list[bytes]) -> Iterator[bytes]:
    """WKB of each, empty where there is none."""
    for shape in shapely.from_wkb(given):
        yield b"" if _is_tangled(shape) else shapely.to_wkb(_polygons_of(shapely.make_valid(shape)))


def _is_tangled(shape: shapely.Geometry) -> bool:
    """Whether too many pairs of edges meet."""
    rings = shapely.get_rings(shapely.get_parts(shape))
    corners, ring = shapely.get_coordinates(rings, return_index=True)
    begins = np.flatnonzero(ring[1:] == ring[:-1])
    edges: Geometries = np.asarray(
        shapely.linestrings(np.stack([corners[begins], corners[begins + 1]], axis=1))
    )
    tree, step, met = shapely.STRtree(edges), max(1, _MOST_PAIRS // max(1, len(edges))), 0
    for first in range(0, len(edges), step):
        met += tree.query(edges[first : first + step], predicate="intersects").shape[1]
        done = min(first + step, len(edges))
        if met - 3 * done > 2 * MOST_CROSSINGS:  # an edge meets itself and two neighbours; pairs count twice
            return True
    return False


def _polygons_of(shape: shapely.Geometry) -> shapely.Geometry:
    """The polygons of what `make_valid` returns, without the lines and points it may add."""
    parts = shapely.get_parts(shapely.get_parts(shape))
    polygons = parts[shapely.get_type_id(parts) == shapely.GeometryType.POLYGON]
    return shapely.multipolygons(polygons) if len(polygons) else shapely.Polygon()
