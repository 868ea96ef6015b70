"""Closed ways as polygons, many at a time, and which of them libosmium had better look at."""

from enum import IntEnum

import numpy as np
import shapely
from numpy.typing import NDArray

from pipelines.sources.pbf_fields import Ints

UNITS_A_DEGREE = 10_000_000

Coordinates = NDArray[np.int32]
Flags = NDArray[np.bool_]


class Look(IntEnum):
    """What a first look at a ring shows."""

    LACKING = 0
    """A node is not in the file."""

    PLAIN = 1
    """A valid polygon as it stands."""

    DOUBTFUL = 2
    """It crosses or touches itself or stands still: libosmium had better look at it."""


Looks = NDArray[np.uint8]


def look_at(sizes: Ints, longitude: Coordinates, latitude: Coordinates) -> Looks:
    """Tell the plain rings from the others.

    Args:
        sizes: shape (n,), corners of each ring, the last one being the first again; at least four.
        longitude: shape (sum of sizes,), 1e-7 degrees, one ring after the other.
        latitude: the same.

    Returns:
        Shape (n,), a `Look` each.
    """
    looks = np.full(len(sizes), Look.LACKING, np.uint8)
    if not len(sizes):
        return looks
    starts = np.cumsum(sizes) - sizes
    beyond = (np.abs(longitude) > 180 * UNITS_A_DEGREE) | (np.abs(latitude) > 90 * UNITS_A_DEGREE)
    looks[~np.logical_or.reduceat(beyond, starts)] = Look.PLAIN
    still = (longitude[1:] == longitude[:-1]) & (latitude[1:] == latitude[:-1])
    still = np.append(still, False)
    still[starts[1:] - 1] = False
    looks[(looks == Look.PLAIN) & np.logical_or.reduceat(still, starts)] = Look.DOUBTFUL
    plain = looks == Look.PLAIN
    corners = np.repeat(plain, sizes)
    polygons = _polygons(sizes[plain], longitude[corners], latitude[corners])
    looks[np.flatnonzero(plain)[~shapely.is_valid(polygons)]] = Look.DOUBTFUL
    return looks


def rings(sizes: Ints, longitude: Coordinates, latitude: Coordinates, plain: Flags) -> NDArray[np.object_]:
    """Build polygons without holes, as libosmium does: from the westernmost corner, anticlockwise.

    Args:
        sizes: as for `look_at`.
        longitude: the same.
        latitude: the same.
        plain: shape (n,), which to build.

    Returns:
        Shape (n,), None for those that are not plain.
    """
    geometry = np.full(len(sizes), None, object)
    starts = np.cumsum(sizes) - sizes
    corners = _canonical(sizes[plain], starts[plain], longitude, latitude)
    geometry[plain] = _polygons(sizes[plain], longitude[corners], latitude[corners])
    return geometry


def _polygons(sizes: Ints, longitude: Coordinates, latitude: Coordinates) -> NDArray[np.object_]:
    coordinates = np.stack([longitude / UNITS_A_DEGREE, latitude / UNITS_A_DEGREE], axis=1)
    after = np.concatenate([[0], np.cumsum(sizes)])
    offsets = (after, np.arange(len(after)))
    return np.asarray(shapely.from_ragged_array(shapely.GeometryType.POLYGON, coordinates, offsets))


def _canonical(sizes: Ints, starts: Ints, longitude: Coordinates, latitude: Coordinates) -> Ints:
    """Places of the corners of each ring: the westernmost, then southernmost one first, anticlockwise."""
    if not len(sizes):
        return np.empty(0, np.int64)
    edges = sizes - 1
    first = np.cumsum(edges) - edges
    owner = np.repeat(np.arange(len(sizes)), edges)
    open_places = np.arange(edges.sum()) - first[owner] + starts[owner]
    x, y = longitude[open_places].astype(np.int64), latitude[open_places].astype(np.int64)
    order = (x << 32) + y
    west = np.minimum.reduceat(order, first)
    at_west = np.flatnonzero(order == west[owner])
    one_each = at_west[np.concatenate([[True], owner[at_west[1:]] != owner[at_west[:-1]]])]
    turn = _turns(sizes, starts, longitude, latitude)
    after = np.cumsum(sizes)
    ring = np.repeat(np.arange(len(sizes)), sizes)
    step = np.arange(after[-1]) - (after - sizes)[ring]
    return np.asarray(starts[ring] + ((one_each - first)[ring] + turn[ring] * step) % edges[ring])


def _turns(sizes: Ints, starts: Ints, longitude: Coordinates, latitude: Coordinates) -> Ints:
    """1 for a ring drawn anticlockwise, -1 for one drawn clockwise."""
    owner = np.repeat(np.arange(len(sizes)), sizes)
    after = np.cumsum(sizes)
    place = np.arange(after[-1]) - (after - sizes)[owner] + starts[owner]
    x = (longitude[place].astype(np.int64) - longitude[starts][owner]).astype(np.float64)
    y = (latitude[place].astype(np.int64) - latitude[starts][owner]).astype(np.float64)
    crossed = np.append(x[:-1] * y[1:] - x[1:] * y[:-1], 0.0)
    crossed[after - 1] = 0.0
    return np.where(np.add.reduceat(crossed, after - sizes) < 0, -1, 1)
