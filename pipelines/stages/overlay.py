"""Which classes cover which ground: polygons laid over footprints and their tiles."""

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from gl10m.scene.grid import GRID, TILES
from pipelines.stages.clipping import areas_within
from pipelines.stages.ground import disjoint, subdivided

Geometries = NDArray[np.object_]
Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]
Bounds = NDArray[np.float64]
Numbers = NDArray[np.float64]

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


class Overlay:
    """Polygons of a region with their classes, ready to be laid over footprints.

    Shares are of square degrees: inside one footprint they differ from those of square metres by less
    than 1e-4.
    """

    def __init__(self, geometry: Geometries, membership: Mask) -> None:
        """Cut large polygons, settle who counts where they overlap, and index what comes of it.

        Args:
            geometry: shape (n,), valid polygons and multipolygons in EPSG:4326.
            membership: shape (n, classes); True where the polygon is of the class.
        """
        parts, owner = subdivided(geometry)
        layers = np.concatenate([membership, np.ones((len(membership), 1), np.bool_)], axis=1)[owner]
        pieces = disjoint(parts, owner, layers)
        self._of_class = layers[:, :-1]
        self._parts = pieces.parts
        self._pieces = pieces.geometry
        self._counts = pieces.counts
        self._counted: Mask = np.any(pieces.counts, axis=1)
        self._area: NDArray[np.float64] = np.asarray(shapely.area(self._pieces))
        self._bounds = shapely.bounds(self._pieces).reshape(-1, 4)
        self._tree = shapely.STRtree(self._pieces)

    def labels(self, bounds: Bounds) -> Labels:
        """Lay the polygons over some squares.

        Args:
            bounds: shape (n, 4): west, south, east, north, degrees.
        """
        classes = self._of_class.shape[1]
        found = Labels(
            np.zeros((len(bounds), classes)),
            np.zeros(len(bounds)),
            np.zeros((len(bounds), TILES, classes), np.bool_),
        )
        for first in range(0, len(bounds), _FOOTPRINTS_AT_ONCE):
            here = slice(first, first + _FOOTPRINTS_AT_ONCE)
            some = bounds[here]
            footprint, piece = self._pairs(some)
            shares = self._shares(some, footprint, piece)
            found.shares[here], found.labelled[here] = shares[:, :-1], shares[:, -1]
            uncut = piece < self._parts
            self._mark(found.tiles[here], some, footprint[uncut], piece[uncut])
        return found

    def _pairs(self, bounds: Bounds) -> tuple[Indices, Indices]:
        """Squares and pieces whose boxes overlap, in the order of squares and pieces."""
        footprint, piece = self._tree.query(shapely.box(*bounds.T)).astype(np.int64)
        box = self._bounds[piece]
        overlap = (box[:, :2] < bounds[footprint, 2:]).all(axis=1)
        overlap &= (box[:, 2:] > bounds[footprint, :2]).all(axis=1)
        footprint, piece = footprint[overlap], piece[overlap]
        order = np.lexsort((piece, footprint))
        return footprint[order], piece[order]

    def _shares(self, bounds: Bounds, footprint: Indices, piece: Indices) -> NDArray[np.float64]:
        """Share of the squares that each class covers and, in the last column, that any covers."""
        counted = self._counted[piece]
        footprint, piece = footprint[counted], piece[counted]
        area = self._area[piece]
        within = (self._bounds[piece, :2] >= bounds[footprint, :2]).all(axis=1)
        within &= (self._bounds[piece, 2:] <= bounds[footprint, 2:]).all(axis=1)
        cut = np.flatnonzero(~within)
        area[cut] = areas_within(self._pieces[piece[cut]], bounds[footprint[cut]])
        pair, layer = np.nonzero(self._counts[piece])
        layers = self._counts.shape[1]
        place = footprint[pair] * layers + layer
        total = np.bincount(place, weights=area[pair], minlength=len(bounds) * layers)
        size = (bounds[:, 2] - bounds[:, 0]) * (bounds[:, 3] - bounds[:, 1])
        return np.asarray(np.minimum(total.reshape(-1, layers) / size[:, None], 1))

    def _mark(self, tiles: Mask, bounds: Bounds, footprint: Indices, part: Indices) -> None:
        """Set the tiles in which the interior of a part lies, for its classes."""
        columns, rows = (edges[footprint] for edges in tile_edges(bounds))
        which, tile, sure = self._tiles(columns, rows, part)
        self._set(tiles, footprint[which[sure]], tile[sure], part[which[sure]])
        left = np.flatnonzero(~sure)  # a close look only where a class is not known to be there yet
        known = tiles[footprint[which[left]], tile[left]]
        left = left[(self._of_class[part[which[left]]] & ~known).any(axis=1)]
        which, tile = which[left], tile[left]
        row, column = np.divmod(tile, GRID)
        sides = (columns[which, column], rows[which, row + 1], columns[which, column + 1], rows[which, row])
        found = _overlap(self._pieces[part[which]], np.stack(sides, axis=1))
        self._set(tiles, footprint[which[found]], tile[found], part[which[found]])

    def _set(self, tiles: Mask, footprint: Indices, tile: Indices, part: Indices) -> None:
        """Set tiles for all classes of a part, side by side."""
        place, number = np.nonzero(self._of_class[part])
        tiles[footprint[place], tile[place], number] = True

    def _tiles(self, columns: Numbers, rows: Numbers, part: Indices) -> tuple[Indices, Indices, Mask]:
        """Pairs and tiles whose boxes meet, side by side, and whether their interiors surely meet.

        Args:
            columns: shape (pairs, 11), longitudes of the tiles' borders, west to east.
            rows: shape (pairs, 11), latitudes, north to south.
            part: shape (pairs,).
        """
        west, east, north, south = columns[:, :-1], columns[:, 1:], rows[:, :-1], rows[:, 1:]
        box = self._bounds[part]
        across = (west < box[:, 2:3]) & (east > box[:, 0:1])  # (pairs, 10 columns)
        down = (south < box[:, 3:4]) & (north > box[:, 1:2])  # (pairs, 10 rows)
        which, tile = np.nonzero((down[:, :, None] & across[:, None, :]).reshape(-1, TILES))
        row, column = np.divmod(tile, GRID)
        # A part is in one piece: where its box lies within one column or row of tiles, so does it, and it
        # passes through all that the box does.
        slim = (west[which, column] <= box[which, 0]) & (east[which, column] >= box[which, 2])
        slim |= (south[which, row] <= box[which, 1]) & (north[which, row] >= box[which, 3])
        sure, wide = slim, np.flatnonzero(~slim)
        sure[wide] = self._marked_by_vertices(part, columns, rows, which[wide])[which[wide], tile[wide]]
        return which, tile, sure

    def _marked_by_vertices(self, part: Indices, columns: Numbers, rows: Numbers, pairs: Indices) -> Mask:
        """Shape (pairs, 100), True where a vertex lies within a tile, and with it some of the interior."""
        met = np.zeros((len(part), TILES), np.bool_)
        asked = np.unique(pairs)
        vertices, of = shapely.get_coordinates(self._pieces[part[asked]], return_index=True)
        pair = asked[of]
        column, within_column = _steps(vertices[:, 0], columns, pair)
        row, within_row = _steps(-vertices[:, 1], -rows, pair)
        within = within_column & within_row
        met[pair[within], row[within] * GRID + column[within]] = True
        return met


def _steps(place: Numbers, edges: Numbers, pair: Indices) -> tuple[Indices, Mask]:
    """The step between rising edges that each place lies in, and whether it surely lies within."""
    first, side = edges[:, 0], (edges[:, -1] - edges[:, 0]) / GRID
    step = np.clip((place - first[pair]) / side[pair], 0, GRID - 1).astype(np.int64)
    return step, (edges[pair, step] < place) & (place < edges[pair, step + 1])


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


def _overlap(polygons: Geometries, bounds: Bounds) -> Mask:
    """Whether the interior of each polygon meets that of its box."""
    shapely.prepare(polygons)
    found = shapely.intersects_xy(
        polygons, (bounds[:, 0] + bounds[:, 2]) / 2, (bounds[:, 1] + bounds[:, 3]) / 2
    )
    left = np.flatnonzero(~found)  # the middle of the box is outside: only now a closer look
    boxes: Geometries = np.asarray(shapely.box(*bounds[left].T))
    meet = shapely.intersects(polygons[left], boxes)
    left, boxes = left[meet], boxes[meet]
    found[left] = ~shapely.touches(polygons[left], boxes)
    shapely.destroy_prepared(polygons)
    return np.asarray(found)
