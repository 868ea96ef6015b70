"""The area that rectangles share with polygons, for many pairs at once.

Push every point of a polygon's boundary that lies outside of a rectangle to the nearest point of it. What
the pushed boundary encloses is just what the two share: inside nothing moved, and outside of the rectangle
nothing is left. An edge, cut where it crosses the lines of the rectangle's sides, stays straight in each of
its parts, so the area is a sum over at most five parts an edge (Green's theorem): many times as fast as an
overlay.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

MOST_EDGES = 200_000
"""Edges worked on at a time, which bounds the memory."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """The boundaries of many polygons as arrays."""

    first: NDArray[np.int64]
    """Shape (polygons + 1,): where the edges of each polygon begin."""
    begin: Floats
    """Shape (edges, 2)."""
    end: Floats
    """Shape (edges, 2)."""
    turn: Floats
    """Shape (edges,): 1 or -1, so that exteriors count as ground and holes do not, whichever way they run."""

    @classmethod
    def of(cls, polygons: NDArray[np.object_]) -> "Edges":
        """The edges of polygons or multipolygons, shape (n,)."""
        parts, polygon_of_part = shapely.get_parts(polygons, return_index=True)
        rings, part_of_ring = shapely.get_rings(parts, return_index=True)
        corners, ring = shapely.get_coordinates(rings, return_index=True)
        here = np.flatnonzero(ring[1:] == ring[:-1])
        begin, end, ring = corners[here], corners[here + 1], ring[here]
        outer = np.diff(part_of_ring, prepend=-1) != 0
        signed = np.bincount(ring, begin[:, 0] * end[:, 1] - end[:, 0] * begin[:, 1], minlength=len(rings))
        turn = np.where(outer, 1.0, -1.0) * np.sign(signed)
        counts = np.bincount(polygon_of_part[part_of_ring[ring]], minlength=len(polygons))
        return cls(first=np.append(0, np.cumsum(counts)), begin=begin, end=end, turn=turn[ring])


def shared_areas(bounds: Floats, polygons: Edges, which: NDArray[np.int64]) -> Floats:
    """The area that each rectangle shares with one of the polygons.

    Args:
        bounds: shape (n, 4): west, south, east, north.
        polygons: their boundaries.
        which: shape (n,): the polygon of each rectangle.

    Returns:
        Shape (n,), in the unit of the coordinates squared, right to some 1e-15 of the rectangle's area; where
        they share only a border it is as near to 0.
    """
    areas = np.zeros(len(which))
    counts = np.diff(polygons.first)[which]
    for part in _chunks(counts):
        row = np.repeat(part, counts[part])
        # The n-th edge of a pair: its first edge, and how many came before it in this pair.
        before = np.cumsum(counts[part]) - counts[part]
        edge = polygons.first[which[row]] + np.arange(len(row)) - np.repeat(before, counts[part])
        swept = _swept(bounds[row], polygons.begin[edge], polygons.end[edge]) * polygons.turn[edge]
        areas += np.bincount(row, swept, minlength=len(areas))
    return areas


def _chunks(counts: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Rows, as many at a time as their edges allow."""
    chunk = (np.cumsum(counts) - counts) // MOST_EDGES
    yield from np.split(np.arange(len(counts)), np.flatnonzero(np.diff(chunk)) + 1)


def _swept(bounds: Floats, begin: Floats, end: Floats) -> Floats:
    """The signed area between each pushed edge and the rectangle's south-west corner."""
    side = bounds[:, 2:] - bounds[:, :2]
    # Counted from the corner, so that no digits are lost to the distance from longitude 0.
    begin, way = begin - bounds[:, :2], end - begin
    with np.errstate(divide="ignore", invalid="ignore"):
        cuts = np.concatenate([-begin / way, (side - begin) / way], axis=1)
    cuts = np.sort(np.clip(np.nan_to_num(cuts, nan=0.0), 0, 1), axis=1)
    cuts = np.pad(cuts, ((0, 0), (1, 1)), constant_values=((0, 0), (0, 1)))
    x, y = (
        np.clip(begin[:, axis, None] + cuts * way[:, axis, None], 0, side[:, axis, None]) for axis in (0, 1)
    )
    return np.asarray((x[:, :-1] * y[:, 1:] - x[:, 1:] * y[:, :-1]).sum(axis=1) / 2)
