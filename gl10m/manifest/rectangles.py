"""Footprints as arrays: which of them overlap or lie near to each other, with no walk over all pairs."""

from typing import Any

import numpy as np
import pyarrow as pa
import shapely
from numpy.typing import NDArray

METRES_A_DEGREE = 111_195.0
"""Length of a degree of latitude on the sphere of mean radius, 6,371,008.8 m."""

_TOUCHING = 1e-9
"""Footprints that overlap by less than this share have a border in common, but for rounding."""

Rows = NDArray[np.int64]
Bounds = NDArray[np.float64]
"""Shape (n, 4): west, south, east, north, degrees, EPSG:4326."""


def bounds_of(scenes: pa.Table) -> Bounds:
    """The column `bounds` as an array."""
    lists: Any = scenes["bounds"].combine_chunks()
    return np.asarray(lists.flatten().to_numpy(zero_copy_only=False), np.float64).reshape(-1, 4)


def boxes(bounds: Bounds) -> NDArray[np.object_]:
    """The rectangles as geometries."""
    return np.atleast_1d(np.asarray(shapely.box(*bounds.T), object))


def pairs_within(bounds: Bounds, metres: float = 0.0) -> tuple[Rows, Rows]:
    """Pairs of rectangles at most so far apart, in the sense of `gaps`; those that touch or overlap, at 0.

    Returns:
        Rows of the one and of the other, the one before the other: each of shape (pairs,), sorted.
    """
    grown = _grown(bounds, metres)
    one, other = shapely.STRtree(boxes(bounds)).query(boxes(grown))  # of boxes, the tree's answer is exact
    once = one < other
    one, other = one[once], other[once]
    near = gaps(bounds[one], bounds[other]) <= metres
    order = np.lexsort((other[near], one[near]))
    return one[near][order], other[near][order]


def gaps(one: Bounds, other: Bounds) -> NDArray[np.float64]:
    """Ground between rectangles, row by row: 0 where they touch or overlap.

    Measured on the sphere, its plane that touches half way between them: right to 0.6 % up to 100 km.

    Returns:
        Shape (n,), metres.
    """
    apart = np.maximum(np.maximum(one[:, :2] - other[:, 2:], other[:, :2] - one[:, 2:]), 0)
    middle = (one[:, 1] + one[:, 3] + other[:, 1] + other[:, 3]) / 4
    east = apart[:, 0] * np.cos(np.radians(middle))
    return np.asarray(np.hypot(east, apart[:, 1]) * METRES_A_DEGREE)


def shares(bounds: Bounds, one: Rows, other: Rows) -> NDArray[np.float64]:
    """The overlap of pairs of rectangles as a share of the smaller one, 0..1; touching is 0."""
    lower = np.maximum(bounds[one, :2], bounds[other, :2])
    upper = np.minimum(bounds[one, 2:], bounds[other, 2:])
    area = np.prod(bounds[:, 2:] - bounds[:, :2], axis=1)
    found = np.prod(np.maximum(upper - lower, 0), axis=1) / np.minimum(area[one], area[other])
    return np.where(found > _TOUCHING, found, 0.0)


def _grown(bounds: Bounds, metres: float) -> Bounds:
    """Rectangles with at least so much more ground on every side."""
    north = metres / METRES_A_DEGREE * 1.01
    latitude = np.minimum(np.abs(bounds[:, 1::2]).max(axis=1, initial=0) + north, 89.0)
    east = north / np.cos(np.radians(latitude))
    step = np.stack([-east, np.full_like(east, -north), east, np.full_like(east, north)], axis=1)
    return np.asarray(bounds + step)
