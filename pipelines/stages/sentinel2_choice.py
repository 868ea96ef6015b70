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

CELL_DEGREES = 0.25
"""Side of a cell; the best of four sizes tried."""

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
        ground = shapely.box(*shapely.total_bounds(flown.footprints[rows]))
        near = tree.query(ground, predicate="intersects")
        if len(near):
            near = near[np.lexsort((near, images.days[near]))]
            step = max(1, MOST_PAIRS // len(near))
            for start in range(0, len(rows), step):
                part = rows[start : start + step]
                meets, covers = _relations(flown.footprints[part], images, near)
                rank, fallback = _ranked(flown.rows(part), images, near, meets, covers, days)
                best = _best_of_days(rank, images.days[near])[:, :most]
                seen.images[part, : best.shape[1]] = best
                seen.fallback[part] = fallback
                seen.met[part] = meets.sum(axis=1)
    return seen


def _cells(footprints: NDArray[np.object_]) -> Iterator[Places]:
    """Rows of the footprints of each cell."""
    corners = np.floor(shapely.bounds(footprints)[:, :2] / CELL_DEGREES)
    order = np.lexsort((corners[:, 0], corners[:, 1]))
    borders = np.flatnonzero(np.diff(corners[order], axis=0).any(axis=1)) + 1
    yield from (rows for rows in np.split(order, borders) if len(rows))


def _relations(
    footprints: NDArray[np.object_], images: Images, near: Places
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Which images share ground with which footprints, and which cover them; shape (footprints, near)."""
    _, first, same = np.unique(images.shapes[near], return_index=True, return_inverse=True)
    outlines = images.outlines[near[first]]
    covers = shapely.covers(outlines, footprints[:, None])
    meets = covers.copy()
    footprint, outline = np.nonzero(~covers)
    crossed = shapely.intersects(outlines[outline], footprints[footprint])
    footprint, outline = footprint[crossed], outline[crossed]
    # A common border is no common ground.
    meets[footprint, outline] = ~shapely.touches(outlines[outline], footprints[footprint])
    return meets[:, same], covers[:, same]


def _ranked(
    flown: Flown,
    images: Images,
    near: Places,
    meets: NDArray[np.bool_],
    covers: NDArray[np.bool_],
    days: int,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The rank of each image for each footprint, the least first, and who must search all images."""
    away = np.abs(images.days[near] - flown.days[:, None])
    fallback = ~(covers & (away <= days)).any(axis=1)
    pool = meets & ((away <= days) | fallback[:, None])
    zones = ((flown.longitudes + 180) // 6).astype(np.int64) % 60 + 1
    rank = (~covers).astype(np.int64) << _PARTIAL
    rank |= away << _DAYS
    rank |= (images.zones[near] != zones[:, None]).astype(np.int64) << _FOREIGN
    rank |= near
    rank[~(pool & covers.any(axis=1)[:, None])] = _NEVER
    return rank, fallback


def _best_of_days(rank: NDArray[np.int64], days: NDArray[np.int64]) -> Places:
    """The first image of each day, by rank.

    Args:
        rank: shape (footprints, images).
        days: of the images, ascending.

    Returns:
        Shape (footprints, days): rows of the images, then NOBODY.
    """
    begins = np.flatnonzero(np.diff(days, prepend=days[0] - 1))
    best = np.sort(np.minimum.reduceat(rank, begins, axis=1), axis=1)
    return np.where(best == _NEVER, NOBODY, best & ((1 << _FOREIGN) - 1))
