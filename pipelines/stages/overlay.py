"""Which classes cover which ground: polygons laid over footprints and their tiles."""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from gl10m.scene.grid import GRID, TILES

Geometries = NDArray[np.object_]
Indices = NDArray[np.int64]
Bounds = NDArray[np.float64]

MOST_COORDINATES = 256
"""A polygon of more is cut in halves until its parts have fewer: a footprint meets only what is near."""

_MOST_CUTS = 40
_FOOTPRINTS_AT_ONCE = 256


@dataclass(frozen=True, slots=True)
class Labels:
    """What lies in the footprints."""

    shares: NDArray[np.float64]
    """Shape (footprints, classes): share of the footprint that each class covers, overlaps once; 0..1."""

    labelled: NDArray[np.float64]
    """Shape (footprints,): share that any class covers, overlaps counted once; 0..1."""

    tiles: NDArray[np.bool_]
    """Shape (footprints, 100, classes): True where a class and a tile overlap; to touch is not
    enough."""


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Parts of polygons beside the footprints that they may lie in."""

    footprint: Indices
    part: Indices
    ground: Geometries
    """What of the part lies in the footprint."""

    area: NDArray[np.float64]
    """Its area, square degrees."""

    def chosen(self, mask: NDArray[np.bool_] | Indices) -> "_Pairs":
        return _Pairs(self.footprint[mask], self.part[mask], self.ground[mask], self.area[mask])


class Overlay:
    """Polygons of a region with their classes, ready to be laid over footprints.

    Shares are of square degrees: inside one footprint they differ from those of square metres by less
    than 1e-4.
    """

    def __init__(self, geometry: Geometries, membership: NDArray[np.bool_]) -> None:
        """Cut large polygons and index the parts.

        Args:
            geometry: shape (n,), valid polygons and multipolygons in EPSG:4326.
            membership: shape (n, classes); True where the polygon is of the class.
        """
        self._parts, self._owner = subdivided(geometry)
        self._membership = membership
        self._bounds = shapely.bounds(self._parts).reshape(-1, 4)
        self._tree = shapely.STRtree(self._parts)

    def labels(self, bounds: Bounds) -> Labels:
        """Lay the polygons over some squares.

        Args:
            bounds: shape (n, 4): west, south, east, north, degrees.
        """
        classes = self._membership.shape[1]
        found = Labels(
            np.zeros((len(bounds), classes)),
            np.zeros(len(bounds)),
            np.zeros((len(bounds), TILES, classes), np.bool_),
        )
        for first in range(0, len(bounds), _FOOTPRINTS_AT_ONCE):
            here = slice(first, first + _FOOTPRINTS_AT_ONCE)
            self._fill(bounds[here], found.shares[here], found.labelled[here], found.tiles[here])
        return found

    def _fill(
        self,
        bounds: Bounds,
        shares: NDArray[np.float64],
        labelled: NDArray[np.float64],
        tiles: NDArray[np.bool_],
    ) -> None:
        boxes: Geometries = np.asarray(shapely.box(*bounds.T))
        pairs = self._pairs(bounds, boxes)
        size: NDArray[np.float64] = np.asarray(shapely.area(boxes))
        for footprint, area in _union_areas(pairs.footprint, pairs, self._owner):
            labelled[footprint] = min(1.0, area / size[footprint])
        classes = shares.shape[1]
        pair, number = np.nonzero(self._membership[self._owner[pairs.part]])
        by_class = pairs.chosen(pair)
        for group, area in _union_areas(by_class.footprint * classes + number, by_class, self._owner):
            shares[group // classes, group % classes] = min(1.0, area / size[group // classes])
        which, tile = self._tiles(pairs, bounds)
        place, number = np.nonzero(self._membership[self._owner[pairs.part[which]]])
        tiles[pairs.footprint[which][place], tile[place], number] = True

    def _pairs(self, bounds: Bounds, boxes: Geometries) -> _Pairs:
        """Parts that overlap the squares, clipped to them; in the order of squares and parts."""
        footprint, part = self._tree.query(boxes)
        order = np.lexsort((part, footprint))
        footprint, part = footprint[order].astype(np.int64), part[order].astype(np.int64)
        inside = (self._bounds[part, :2] >= bounds[footprint, :2]).all(axis=1)
        inside &= (self._bounds[part, 2:] <= bounds[footprint, 2:]).all(axis=1)
        ground = self._parts[part].copy()
        cut = np.flatnonzero(~inside)
        ground[cut] = shapely.intersection(ground[cut], boxes[footprint[cut]])
        pairs = _Pairs(footprint, part, ground, shapely.area(ground))
        return pairs.chosen(pairs.area > 0)

    def _tiles(self, pairs: _Pairs, bounds: Bounds) -> tuple[Indices, Indices]:
        """Pairs and tiles whose interiors meet, side by side."""
        columns, rows = tile_edges(bounds)
        extent = shapely.bounds(pairs.ground).reshape(-1, 4)
        west, east = columns[pairs.footprint, :-1], columns[pairs.footprint, 1:]
        north, south = rows[pairs.footprint, :-1], rows[pairs.footprint, 1:]
        across = (west < extent[:, 2:3]) & (east > extent[:, 0:1])  # (pairs, 10 columns)
        down = (south < extent[:, 3:4]) & (north > extent[:, 1:2])  # (pairs, 10 rows)
        met = (down[:, :, None] & across[:, None, :]).reshape(-1, TILES)
        which, tile = np.nonzero(met)
        unsure = np.flatnonzero(met.sum(axis=1)[which] > 1)  # in one tile only: surely that one
        row, column = tile[unsure] // GRID, tile[unsure] % GRID
        pair = which[unsure]
        boxes = shapely.box(west[pair, column], south[pair, row], east[pair, column], north[pair, row])
        ground = pairs.ground[pair]
        shapely.prepare(pairs.ground)
        sure = np.ones(len(which), np.bool_)
        sure[unsure] = shapely.intersects(ground, boxes) & ~shapely.touches(ground, boxes)
        return which[sure], tile[sure]


def subdivided(geometry: Geometries) -> tuple[Geometries, Indices]:
    """Polygons cut into parts that do not overlap and have few coordinates.

    Args:
        geometry: shape (n,), valid polygons and multipolygons.

    Returns:
        The parts and the place in `geometry` that each is of, in its order.
    """
    parts, owner = shapely.get_parts(geometry, return_index=True)
    owner = owner.astype(np.int64)
    for _ in range(_MOST_CUTS):
        large = shapely.get_num_coordinates(parts) > MOST_COORDINATES
        if not large.any():
            break
        halves, of = _halves(parts[large])
        parts = np.concatenate([parts[~large], halves])
        owner = np.concatenate([owner[~large], owner[large][of]])
    order = np.argsort(owner, kind="stable")
    return parts[order], owner[order]


def _halves(geometry: Geometries) -> tuple[Geometries, Indices]:
    """Each polygon cut across the middle of its longer side."""
    west, south, east, north = shapely.bounds(geometry).reshape(-1, 4).T
    wide = east - west >= north - south
    middle = np.where(wide, (west + east) / 2, (south + north) / 2)
    lower = shapely.box(west, south, np.where(wide, middle, east), np.where(wide, north, middle))
    upper = shapely.box(np.where(wide, middle, west), np.where(wide, south, middle), east, north)
    cut = np.concatenate([shapely.intersection(geometry, lower), shapely.intersection(geometry, upper)])
    of = np.tile(np.arange(len(geometry)), 2)
    pieces, piece = shapely.get_parts(cut, return_index=True)
    flat = shapely.get_type_id(pieces) == shapely.GeometryType.POLYGON  # a cut may leave lines and points
    return pieces[flat], of[piece[flat]]


def tile_edges(bounds: Bounds) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Borders of the tiles of many footprints, bit for bit those of `Footprint.edges`.

    Args:
        bounds: shape (n, 4): west, south, east, north, degrees.

    Returns:
        Longitudes west to east and latitudes north to south, each of shape (n, 11), degrees.
    """
    west, south, east, north = (side[:, None] for side in bounds.T)
    share = np.arange(GRID + 1) / GRID
    longitudes, latitudes = west + (east - west) * share, north - (north - south) * share
    longitudes[:, -1:], latitudes[:, -1:] = east, south
    return longitudes, latitudes


def _union_areas(group: Indices, pairs: _Pairs, owner: Indices) -> "list[tuple[int, float]]":
    """Area that the ground of each group covers, overlaps counted once, square degrees.

    Parts of one polygon never overlap, so only groups of several polygons need a union.
    """
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    found = []
    for members in np.split(order, starts[1:]) if order.size else []:
        several = len(np.unique(owner[pairs.part[members]])) > 1
        area = _area_of_union(pairs.ground[members]) if several else pairs.area[members].sum()
        found.append((int(group[members[0]]), float(area)))
    return found


def _area_of_union(ground: Geometries) -> float:
    return float(shapely.area(shapely.union_all(ground)))
