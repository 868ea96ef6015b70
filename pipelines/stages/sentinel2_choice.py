"""The Sentinel-2 items of many footprints at once: near the NAIP day, ranked, one a day.

The rule stands in `pipelines.stages.matching`. Footprints are worked on by cells of the map, since those of
one cell meet the same items: an array then has one row a footprint and one column an item. What ranks an item
is packed into one whole number, so that the best of a day is a minimum and the first few are a sort.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

CELL_DEGREES = 0.5
"""Side of a cell; the best of three sizes tried."""

MOST_PAIRS = 2_000_000
"""Footprints times items worked on at a time, which bounds the memory."""

NOBODY = -1
"""Stands in an array of items where there is none."""

_PARTIAL, _DAYS, _FOREIGN = 54, 32, 31
"""Bit of each part of a rank: does not cover, days from NAIP, not the native zone; below them, the item."""

_NEVER = np.iinfo(np.int64).max
"""Rank of an item that cannot be taken."""

Places = NDArray[np.int64]
"""Row numbers of footprints or of images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Sentinel-2 items under the cloud limit as arrays, each of shape (images,).

    They stand in the order of less cloud, newer processing, then item id: the row number is the rank.
    """

    outlines: NDArray[np.object_]
    """Polygons, EPSG:4326."""
    shapes: NDArray[np.int64]
    """Equal where two outlines are the same: those of one granule mostly are."""
    days: NDArray[np.int64]
    """UTC day, counted from 1970-01-01."""
    zones: NDArray[np.int64]
    """UTM zone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flown:
    """Footprints with the day of their NAIP as arrays, each of shape (n,)."""

    footprints: NDArray[np.object_]
    """Rectangles, EPSG:4326."""
    longitudes: NDArray[np.float64]
    """Of their centres, degrees east; they name the native UTM zone."""
    days: NDArray[np.int64]
    """UTC day of NAIP, counted from 1970-01-01."""

    def rows(self, wanted: Places) -> "Flown":
        """Some of them."""
        return Flown(
            footprints=self.footprints[wanted], longitudes=self.longitudes[wanted], days=self.days[wanted]
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What each footprint is shown by."""

    images: Places
    """Shape (n, most): rows of the images by rank, then NOBODY; NOBODY alone where none covers."""
    fallback: NDArray[np.bool_]
    """Shape (n,); True where nothing valid lies near the NAIP day."""
    met: NDArray[np.int64]
    """Shape (n,): images that show any of the footprint."""


def choose_sentinel2(flown: Flown, images: Images, *, days: int, most: int) -> Seen:
    """The Sentinel-2 items of each footprint by rank.

    Args:
        flown: footprints with the day of their NAIP.
        images: the items to choose from.
        days: how far from NAIP an item may lie before all of them are searched.
        most: items to give a footprint at most.
    """
    count = len(flown.footprints)
    seen = Seen(
        images=np.full((count, most), NOBODY, np.int64),
        fallback=np.ones(count, np.bool_),
        met=np.zeros(count, np.int64),
    )
    tree = shapely.STRtree(images.outlines)
    shapely.prepare(images.outlines)
    for rows in _cells(flown.footprints):
        near = tree.query(shapely.box(*shapely.total_bounds(flown.footprints[rows])))
        near = near[np.lexsort((near, images.days[near]))]
        step = max(1, MOST_PAIRS // max(1, len(near)))
        for start in range(0, len(rows) if len(near) else 0, step):
            part = rows[start : start + step]
            here = _Pairs.of(flown.rows(part), images, near)
            best = _best_of_days(here.rank(days, here.covers), images.days[near], most)
            # Parts come after all that covers the whole: of most footprints none of them is taken.
            short = np.flatnonzero(best[:, -1] == NOBODY)
            rest = here.rows(short)
            meets = rest.covers | _crossing(flown.footprints[part[short]], images, near, rest.covers)
            best[short] = _best_of_days(rest.rank(days, meets), images.days[near], most)
            seen.images[part], seen.fallback[part] = best, here.fallback(days)
            seen.met[part[short]] = meets.sum(axis=1)
    return seen


def _cells(footprints: NDArray[np.object_]) -> Iterator[Places]:
    """Rows of the footprints of each cell."""
    corners = np.floor(shapely.bounds(footprints)[:, :2] / CELL_DEGREES)
    order = np.lexsort((corners[:, 0], corners[:, 1]))
    borders = np.flatnonzero(np.diff(corners[order], axis=0).any(axis=1)) + 1
    yield from (rows for rows in np.split(order, borders) if len(rows))


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Some footprints and the images about them; arrays of shape (footprints, images)."""

    images: Places
    """Shape (images,): their rows."""
    covers: NDArray[np.bool_]
    """Whether the image covers the footprint."""
    away: NDArray[np.int64]
    """Days from NAIP."""
    foreign: NDArray[np.bool_]
    """Whether the image is in another UTM zone than the footprint's centre."""

    @classmethod
    def of(cls, flown: Flown, images: Images, near: Places) -> "_Pairs":
        """Compare footprints with images, each outline once."""
        _, first, same = np.unique(images.shapes[near], return_index=True, return_inverse=True)
        outlines, footprints = images.outlines[near[first]], flown.footprints
        covers = np.ones((len(footprints), len(outlines)), np.bool_)
        # What covers all of the footprints together covers each.
        part = np.flatnonzero(~shapely.covers(outlines, shapely.box(*shapely.total_bounds(footprints))))
        covers[:, part] = shapely.covers(outlines[part], footprints[:, None])
        zones = ((flown.longitudes + 180) // 6).astype(np.int64) % 60 + 1
        away = np.abs(images.days[near] - flown.days[:, None])
        return cls(near, covers[:, same], away, images.zones[near] != zones[:, None])

    def rows(self, wanted: Places) -> "_Pairs":
        """Some of the footprints."""
        return _Pairs(self.images, self.covers[wanted], self.away[wanted], self.foreign[wanted])

    def fallback(self, days: int) -> NDArray[np.bool_]:
        """Shape (footprints,): whether nothing valid lies near, so that all images are searched."""
        return np.asarray(~(self.covers & (self.away <= days)).any(axis=1))

    def rank(self, days: int, meets: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The rank of each image for each footprint, the least first; of those that `meets` allows."""
        pool = meets & ((self.away <= days) | self.fallback(days)[:, None])
        rank = (~self.covers).astype(np.int64) << _PARTIAL
        rank |= self.away << _DAYS
        rank |= self.foreign.astype(np.int64) << _FOREIGN
        rank |= self.images
        rank[~(pool & self.covers.any(axis=1, keepdims=True))] = _NEVER
        return rank


def _crossing(
    footprints: NDArray[np.object_], images: Images, near: Places, covers: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Which images show a part of which footprints; a common border is no part."""
    crosses = np.zeros_like(covers)
    footprint, image = np.nonzero(~covers)
    outlines, squares = images.outlines[near[image]], footprints[footprint]
    crosses[footprint, image] = shapely.intersects(outlines, squares) & ~shapely.touches(outlines, squares)
    return crosses


def _best_of_days(rank: NDArray[np.int64], days: NDArray[np.int64], most: int) -> Places:
    """The first image of each day, by rank.

    Args:
        rank: shape (footprints, images).
        days: of the images, ascending.
        most: images to give a footprint at most.

    Returns:
        Shape (footprints, most): rows of the images, then NOBODY.
    """
    begins = np.flatnonzero(np.diff(days, prepend=days[0] - 1))
    best = np.sort(np.minimum.reduceat(rank, begins, axis=1), axis=1)[:, :most]
    best = np.pad(best, ((0, 0), (0, most - best.shape[1])), constant_values=_NEVER)
    return np.where(best == _NEVER, NOBODY, best & ((1 << _FOREIGN) - 1))
