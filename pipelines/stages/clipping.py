"""How much of many polygons lies in many boxes, without cutting one of them."""

import numpy as np
import shapely
from numpy.typing import NDArray

Geometries = NDArray[np.object_]
Bounds = NDArray[np.float64]
Numbers = NDArray[np.float64]


def areas_within(polygons: Geometries, bounds: Bounds) -> Numbers:
    """Area of each polygon within its box, exact but for rounding.

    The area is the sum over the edges of what lies below each: edges that run east on the upper side count,
    those that run west on the lower side are taken off (Green's theorem). Within a box the ground below an
    edge reaches from the south border at least to the north border at most.

    Args:
        polygons: shape (n,), valid polygons, normalised (`shapely.normalize`: shells clockwise, holes not).
        bounds: shape (n, 4): west, south, east, north.

    Returns:
        Shape (n,), never negative.
    """
    rings, owner = _rings(polygons)
    coordinates, ring = shapely.get_coordinates(rings, return_index=True)
    of = owner[ring]
    x, y = coordinates[:, 0] - bounds[of, 0], coordinates[:, 1] - bounds[of, 1]  # the corner is the origin
    width, height = bounds[:, 2] - bounds[:, 0], bounds[:, 3] - bounds[:, 1]
    x_within = np.clip(x, 0, width[of])
    edge = np.flatnonzero((x_within[1:] != x_within[:-1]) & (ring[1:] == ring[:-1]))
    start, end, top = edge, edge + 1, height[of[edge]]
    slope = (y[end] - y[start]) / (x[end] - x[start])
    first = y[start] + slope * (x_within[start] - x[start])
    last = y[start] + slope * (x_within[end] - x[start])
    below = _mean_between(np.minimum(first, last), np.maximum(first, last), top)
    areas = np.bincount(of[edge], weights=below * (x_within[end] - x_within[start]), minlength=len(polygons))
    return np.maximum(areas, 0)


def _rings(polygons: Geometries) -> tuple[Geometries, NDArray[np.intp]]:
    """Geometries of one ring each and whose they are: polygons without holes stand for themselves."""
    holed = shapely.get_num_interior_rings(polygons) > 0
    rings, owner = shapely.get_rings(polygons[holed], return_index=True)
    whole = np.flatnonzero(~holed)
    return np.concatenate([polygons[whole], rings]), np.concatenate([whole, np.flatnonzero(holed)[owner]])


def _mean_between(low: Numbers, high: Numbers, top: Numbers) -> Numbers:
    """Mean of heights that run evenly from `low` to `high`, each clipped to 0..top."""
    within_low, within_high = np.clip(low, 0, top), np.clip(high, 0, top)
    middle = (within_low + within_high) / 2
    leaves = np.flatnonzero((low < 0) | (high > top))  # the others lie within, and their mean is the middle
    low, high, top = low[leaves], high[leaves], top[leaves]
    level = low == high
    span = np.where(level, 1, high - low)
    inside = (within_high[leaves] - within_low[leaves]) * middle[leaves]
    above = np.maximum(high - np.maximum(low, top), 0) * top
    middle[leaves] = np.where(level, middle[leaves], (inside + above) / span)
    return middle
