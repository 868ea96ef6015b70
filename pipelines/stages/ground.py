"""Polygons made ready to be measured: cut into small parts, and overlaps given to one of them only."""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

Geometries = NDArray[np.object_]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]

MOST_COORDINATES = 1024
"""A polygon of more is cut in halves until its parts have fewer: a footprint meets only what is near."""

_MOST_CUTS = 40
_PARTS_AT_ONCE = 1_024  # prepared together, at some kilobytes each


@dataclass(frozen=True, slots=True)
class Pieces:
    """Polygons of which those that count for one layer never overlap: areas add up to that of the union."""

    geometry: Geometries
    """Shape (n,), polygons; the first `parts` are the parts that were given, the others what is left of
    some where a part that comes before covers the rest."""

    counts: Mask
    """Shape (n, layers); True where the piece counts for the layer."""

    parts: int
    """How many parts were given."""


def subdivided(geometry: Geometries) -> tuple[Geometries, Indices]:
    """Polygons cut into parts that do not overlap and have few coordinates.

    Args:
        geometry: shape (n,), valid polygons and multipolygons.

    Returns:
        The parts and the place in `geometry` that each is of, in its order.
    """
    single = shapely.get_type_id(geometry) == shapely.GeometryType.POLYGON
    parts, owner = geometry[single], np.flatnonzero(single)  # the same objects: half the memory
    several, of_several = shapely.get_parts(geometry[~single], return_index=True)
    parts = np.concatenate([parts, several])
    owner = np.concatenate([owner, np.flatnonzero(~single)[of_several]])
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
    pieces, piece = _polygons(cut)
    return pieces, np.tile(np.arange(len(geometry)), 2)[piece]


def _polygons(geometry: Geometries) -> tuple[Geometries, Indices]:
    """Single polygons of some geometries and whose each is; a cut may leave lines and points as well."""
    pieces, piece = shapely.get_parts(geometry, return_index=True)
    flat = (shapely.get_type_id(pieces) == shapely.GeometryType.POLYGON) & ~shapely.is_empty(pieces)
    return pieces[flat], piece[flat].astype(np.int64)


def disjoint(parts: Geometries, owner: Indices, layers: Mask) -> Pieces:
    """Leave ground that several parts of a layer cover to one of them.

    Of two parts that overlap the larger one keeps the ground (of equal ones, the first). So what lies within
    a larger polygon of its layer, as most overlaps do, is gone without any cutting.

    Args:
        parts: shape (n,), valid polygons.
        owner: shape (n,); parts of one owner do not overlap.
        layers: shape (n, layers); True where the part belongs to the layer.
    """
    over, under, covered = _overlaps(parts, owner)
    pair, layer = np.nonzero(layers[over] & layers[under])
    item = under[pair] * layers.shape[1] + layer
    counts = layers.copy()
    counts.ravel()[item] = False
    gone = np.unique(item[covered[pair]])
    left = np.flatnonzero(~np.isin(item, gone))
    items, place = np.unique(item[left], return_inverse=True)
    remains = _without(parts[items // layers.shape[1]], place, parts[over[pair[left]]])
    fresh, of = _polygons(remains)
    found = np.zeros((len(fresh), layers.shape[1]), np.bool_)
    found[np.arange(len(fresh)), items[of] % layers.shape[1]] = True
    return Pieces(np.concatenate([parts, fresh]), np.concatenate([counts, found]), len(parts))


def _overlaps(parts: Geometries, owner: Indices) -> tuple[Indices, Indices, Mask]:
    """Parts of different owners whose interiors meet.

    Returns:
        The part that keeps the ground, the one that yields it, and whether that lies wholly within the first.
    """
    rank = np.empty(len(parts), np.int64)
    rank[np.argsort(-shapely.area(parts), kind="stable")] = np.arange(len(parts))
    tree, bounds = shapely.STRtree(parts), shapely.bounds(parts).reshape(-1, 4)
    found = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.bool_))]
    for first in range(0, len(parts), _PARTS_AT_ONCE):
        some = parts[first : first + _PARTS_AT_ONCE]
        over, under = tree.query(some)
        over = over.astype(np.int64) + first
        chosen = (rank[over] < rank[under]) & (owner[over] != owner[under])
        over, under = over[chosen], under[chosen].astype(np.int64)
        within: Mask = np.all(bounds[over, :2] <= bounds[under, :2], axis=1)
        within &= np.all(bounds[over, 2:] >= bounds[under, 2:], axis=1)
        shapely.prepare(some)
        covered = within.copy()
        covered[within] = shapely.contains_properly(parts[over[within]], parts[under[within]])
        overlap = covered.copy()
        overlap[~covered] = shapely.relate_pattern(parts[over[~covered]], parts[under[~covered]], "T********")
        again = overlap & within & ~covered  # what shares a border with the part that it lies in
        covered[again] = shapely.covers(parts[over[again]], parts[under[again]])
        shapely.destroy_prepared(some)
        found.append((over[overlap], under[overlap], covered[overlap]))
    over, under, covered = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((rank[over], under))
    return over[order], under[order], covered[order]


def _without(geometry: Geometries, place: Indices, taken: Geometries) -> Geometries:
    """Each geometry without all that is taken from it: `taken[k]` from `geometry[place[k]]`."""
    left = geometry.copy()
    order = np.argsort(place, kind="stable")
    starts = np.searchsorted(place[order], np.arange(len(geometry)))
    turn = np.empty(len(place), np.int64)
    turn[order] = np.arange(len(place)) - starts[place[order]]  # the first, second ... that is taken
    for now in range(turn.max(initial=-1) + 1):
        here = np.flatnonzero(turn == now)
        left[place[here]] = shapely.difference(left[place[here]], taken[here])
    return left
