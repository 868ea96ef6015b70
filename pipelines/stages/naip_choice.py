"""The NAIP quads of many footprints at once: newest season that covers, fewest quads, largest overlap first.

The rule stands in `pipelines.stages.matching`. Here it is worked out for all footprints together: arrays have
one row a footprint, or one row a pair of a footprint and a quad that shows a part of it.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import shapely
from numpy.typing import NDArray

MOST_QUADS = 4
"""A footprint of 0.024 degrees meets at most four quarter quads of 0.0625 degrees."""

GAP_TOLERANCE = 1e-6
"""Share of a footprint that may stay uncovered, for outlines rounded to some digits: 7 of 7.2 million
pixels."""

CONSIDERED_QUADS = 12
"""Of a season, this many quads with the largest overlap are considered; real ones have some 8."""

NOBODY = -1
"""Stands in an array of quads where there is none."""

Places = NDArray[np.int64]
"""Row numbers of quads, of footprints, or of pairs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quads:
    """NAIP items as arrays, each of shape (quads,)."""

    outlines: NDArray[np.object_]
    """Polygons, EPSG:4326."""
    vintages: NDArray[np.int64]
    """Rank of the flight year, earliest first."""
    days: NDArray[np.int64]
    """UTC day, counted from 1970-01-01."""
    names: NDArray[np.int64]
    """Rank of the item id."""


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Footprints with the quads that show a part of them, the newest season of a footprint first."""

    footprint: Places
    quad: Places
    covers: NDArray[np.bool_]
    season: Places
    """Counted from the newest of the footprint."""


def choose_naip(footprints: NDArray[np.object_], quads: Quads, season_gap_days: int) -> Places:
    """The quads that show each footprint, by rank.

    Args:
        footprints: rectangles, EPSG:4326, shape (n,).
        quads: the items to choose from; their order does not matter.
        season_gap_days: days without a flight that part two seasons of one vintage.

    Returns:
        Shape (n, 4): rows of `quads`, then NOBODY; a row of NOBODY alone where no season covers.
    """
    chosen = np.full((len(footprints), MOST_QUADS), NOBODY, np.int64)
    pairs = _in_seasons(_meeting(footprints, quads), quads, season_gap_days)
    for season in range(int(pairs.season.max(initial=-1)) + 1):
        here = (pairs.season == season) & (chosen[pairs.footprint, 0] == NOBODY)
        if not here.any():
            break
        flown = _Pairs(pairs.footprint[here], pairs.quad[here], pairs.covers[here], pairs.season[here])
        _take_single(flown, quads, chosen)
        _take_several(flown, footprints, quads, chosen)
    return chosen


def _meeting(footprints: NDArray[np.object_], quads: Quads) -> _Pairs:
    """All pairs that share ground; a common border is none."""
    tree = shapely.STRtree(quads.outlines)
    shapely.prepare(quads.outlines)
    footprint, quad = tree.query(footprints, predicate="intersects")
    covers = shapely.covers(quads.outlines[quad], footprints[footprint])
    part = np.flatnonzero(~covers)
    apart = part[shapely.touches(quads.outlines[quad[part]], footprints[footprint[part]])]
    shared = np.ones(len(quad), np.bool_)
    shared[apart] = False
    return _Pairs(footprint[shared], quad[shared], covers[shared], np.zeros(int(shared.sum()), np.int64))


def _in_seasons(pairs: _Pairs, quads: Quads, gap_days: int) -> _Pairs:
    """The pairs, each with the season of its quad among those of its footprint."""
    vintage, day = quads.vintages[pairs.quad], quads.days[pairs.quad]
    order = np.lexsort((-day, -vintage, pairs.footprint))
    footprint, vintage, day = pairs.footprint[order], vintage[order], day[order]
    other = footprint[1:] != footprint[:-1]
    begins = (vintage[1:] != vintage[:-1]) | (day[:-1] - day[1:] > gap_days)
    counted = np.concatenate([[0], np.cumsum(begins & ~other)]) if len(order) else np.zeros(0, np.int64)
    first = np.concatenate([[True], other])[: len(order)]
    since = np.maximum.accumulate(np.where(first, counted, 0)) if len(order) else counted
    return _Pairs(footprint, pairs.quad[order], pairs.covers[order], counted - since)


def _take_single(flown: _Pairs, quads: Quads, chosen: Places) -> None:
    """Write down the first quad that covers a footprint alone: the newest, then the first by name."""
    whole = np.flatnonzero(flown.covers)
    order = np.lexsort((quads.names[flown.quad[whole]], -quads.days[flown.quad[whole]], flown.footprint[whole]))
    footprint, quad = flown.footprint[whole][order], flown.quad[whole][order]
    found, first = np.unique(footprint, return_index=True)
    chosen[found, 0] = quad[first]


def _take_several(
    flown: _Pairs, footprints: NDArray[np.object_], quads: Quads, chosen: Places
) -> None:
    """Write down the first of the smallest choices of quads that leave nothing of a footprint out."""
    open_ = chosen[flown.footprint, 0] == NOBODY
    footprint, quad = flown.footprint[open_], flown.quad[open_]
    shared = shapely.intersection(footprints[footprint], quads.outlines[quad])
    overlap = shapely.area(shared)
    order = np.lexsort((quads.names[quad], -quads.days[quad], -overlap, footprint))
    rows, first, counts = np.unique(footprint[order], return_index=True, return_counts=True)
    for count in range(2, int(counts.max(initial=0)) + 1):
        alike = np.flatnonzero(counts == count)
        if len(alike):
            ranked = order[first[alike, None] + np.arange(min(count, CONSIDERED_QUADS))]
            enough = (1 - GAP_TOLERANCE) * shapely.area(footprints[rows[alike]])
            chosen[rows[alike]] = _fewest(shared[ranked], overlap[ranked], quad[ranked], enough)


def _fewest(
    shared: NDArray[np.object_], overlap: NDArray[np.float64], quad: Places, enough: NDArray[np.float64]
) -> Places:
    """The first choices, of two quads, then three, then four, that cover enough.

    Args:
        shared: shape (n, quads): the ground that each quad shows of a footprint, by rank.
        overlap: its area, square degrees.
        quad: whose it is.
        enough: shape (n,): area to cover, square degrees.

    Returns:
        Shape (n, 4), as `choose_naip`.
    """
    chosen = np.full((len(quad), MOST_QUADS), NOBODY, np.int64)
    choices = [
        list(choice)
        for size in range(2, MOST_QUADS + 1)
        for choice in combinations(range(quad.shape[1]), size)
    ]
    for choice in choices:
        hopeful = (chosen[:, 0] == NOBODY) & (overlap[:, choice].sum(axis=1) >= enough)
        rows = np.flatnonzero(hopeful)
        if len(rows):
            ground = shapely.union_all(shared[rows][:, choice], axis=1)
            rows = rows[shapely.area(ground) >= enough[rows]]
            chosen[rows, : len(choice)] = quad[rows][:, choice]
    return chosen
