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
        polygons: shape (n,), valid polygons.
        bounds: shape (n, 4): west, south, east, north.

    Returns:
        Shape (n,), never negative.
    """
    rings, owner, shell = _rings(polygons)
    coordinates, ring = shapely.get_coordinates(rings, return_index=True)
    of = owner[ring]
    x, y = coordinates[:, 0] - bounds[of, 0], coordinates[:, 1] - bounds[of, 1]  # the corner is the origin
    start = np.flatnonzero(ring[1:] == ring[:-1])
    cross = (x[start + 1] - x[start]) * (y[start + 1] + y[start])
    clockwise = np.bincount(ring[start], weights=cross, minlength=len(rings)) > 0
    width, height = bounds[:, 2] - bounds[:, 0], bounds[:, 3] - bounds[:, 1]
    x_within = np.clip(x, 0, width[of])
    start = start[x_within[start + 1] != x_within[start]]
    end, top = start + 1, height[of[start]]
    slope = (y[end] - y[start]) / (x[end] - x[start])
    first = y[start] + slope * (x_within[start] - x[start])
    last = y[start] + slope * (x_within[end] - x[start])
    below = _mean_between(np.minimum(first, last), np.maximum(first, last), top)
    sign = np.where(clockwise == shell, 1.0, -1.0)[ring[start]]
    weights = sign * below * (x_within[end] - x_within[start])
    return np.maximum(np.bincount(of[start], weights=weights, minlength=len(polygons)), 0)


def _rings(polygons: Geometries) -> tuple[Geometries, NDArray[np.intp], NDArray[np.bool_]]:
    """Geometries of one ring each, whose they are, and whether they are shells."""
    holed = np.flatnonzero(shapely.get_num_interior_rings(polygons) > 0)
    whole = np.setdiff1d(np.arange(len(polygons)), holed)  # polygons without holes stand for themselves
    rings, owner = shapely.get_rings(polygons[holed], return_index=True)
    shell = np.concatenate([np.ones(len(whole), np.bool_), np.diff(owner, prepend=-1) != 0])
    return np.concatenate([polygons[whole], rings]), np.concatenate([whole, holed[owner]]), shell


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
