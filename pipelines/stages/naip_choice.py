"""The NAIP quads of many footprints at once: newest season that covers, fewest quads, largest overlap first.

The rule stands in `pipelines.stages.matching`. Here it is worked out for all footprints together: arrays have
one row a footprint, or one row a pair of a footprint and a quad that shows a part of it.
"""

import functools
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import shapely
from numpy.typing import NDArray

from pipelines.stages.shared_ground import Edges, shared_areas

MOST_QUADS = 4
"""A footprint of 0.024 degrees meets at most four quarter quads of 0.0625 degrees."""

GAP_TOLERANCE = 1e-6
"""Share of a footprint that may stay uncovered, for outlines rounded to some digits: 7 of 7.2 million
pixels."""

SMALLEST_SHARE = 1e-9
"""Quads that show less of a footprint show none of it, and two that differ by less show the same share: a
hundredth of a pixel, and far above the rounding of areas."""

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
    """Footprints with the quads that show a part of them; all arrays of shape (pairs,)."""

    footprint: Places
    quad: Places
    covers: NDArray[np.bool_]
    share: NDArray[np.int64]
    """Of the footprint, in units of SMALLEST_SHARE."""
    season: Places
    """Counted from the newest of the footprint."""

    def rows(self, wanted: NDArray[np.bool_] | Places) -> "_Pairs":
        """Some of them."""
        return _Pairs(
            self.footprint[wanted],
            self.quad[wanted],
            self.covers[wanted],
            self.share[wanted],
            self.season[wanted],
        )


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
    pairs = _by_rank(_in_seasons(_meeting(footprints, quads), quads, season_gap_days), quads)
    for season in range(int(pairs.season.max(initial=-1)) + 1):
        flown = pairs.rows((pairs.season == season) & (chosen[pairs.footprint, 0] == NOBODY))
        _take_single(flown, chosen)
        _take_several(flown.rows(chosen[flown.footprint, 0] == NOBODY), footprints, quads, chosen)
    return chosen


def _meeting(footprints: NDArray[np.object_], quads: Quads) -> _Pairs:
    """All pairs that share ground; a common border is none."""
    tree = shapely.STRtree(quads.outlines)
    footprint, quad = tree.query(footprints)
    shapely.prepare(quads.outlines)
    covers = shapely.covers(quads.outlines[quad], footprints[footprint])
    share = np.full(len(quad), round(1 / SMALLEST_SHARE), np.int64)
    part = np.flatnonzero(~covers)
    bounds, whole = shapely.bounds(footprints)[footprint[part]], shapely.area(footprints)[footprint[part]]
    areas = shared_areas(bounds, Edges.of(quads.outlines), quad[part])
    share[part] = np.rint(areas / whole / SMALLEST_SHARE)
    return _Pairs(footprint, quad, covers, share, np.zeros_like(quad)).rows(share > 0)


def _in_seasons(pairs: _Pairs, quads: Quads, gap_days: int) -> _Pairs:
    """The pairs, each with the season of its quad among those of its footprint, the newest first."""
    order = np.lexsort((-quads.days[pairs.quad], -quads.vintages[pairs.quad], pairs.footprint))
    pairs = pairs.rows(order)
    vintage, day = quads.vintages[pairs.quad], quads.days[pairs.quad]
    another = np.diff(pairs.footprint, prepend=-1) != 0
    begins = (np.diff(vintage, prepend=-1) != 0) | (-np.diff(day, prepend=day[:1]) > gap_days)
    counted = np.cumsum(begins & ~another)
    since = np.maximum.accumulate(np.where(another, counted, 0))
    return _Pairs(pairs.footprint, pairs.quad, pairs.covers, pairs.share, counted - since)


def _by_rank(pairs: _Pairs, quads: Quads) -> _Pairs:
    """The pairs of each footprint by the larger share, then newer, then item id."""
    keys = (quads.names[pairs.quad], -quads.days[pairs.quad], -pairs.share, pairs.footprint)
    return pairs.rows(np.lexsort(keys))


def _take_single(flown: _Pairs, chosen: Places) -> None:
    """Write down the first quad that covers a footprint alone."""
    whole = flown.rows(flown.covers)
    found, first = np.unique(whole.footprint, return_index=True)
    chosen[found, 0] = whole.quad[first]


def _take_several(flown: _Pairs, footprints: NDArray[np.object_], quads: Quads, chosen: Places) -> None:
    """Write down the first of the smallest choices of quads that leave nothing of a footprint out."""
    rows, first, counts = np.unique(flown.footprint, return_index=True, return_counts=True)
    for count in range(2, int(counts.max(initial=0)) + 1):
        alike = np.flatnonzero(counts == count)
        ranked = first[alike, None] + np.arange(min(count, CONSIDERED_QUADS))
        chosen[rows[alike]] = _fewest(
            footprints[rows[alike]], flown.quad[ranked], flown.share[ranked], quads.outlines
        )


def _fewest(
    footprints: NDArray[np.object_], quad: Places, share: NDArray[np.int64], outlines: NDArray[np.object_]
) -> Places:
    """The first choices, of two quads, then three, then four, that cover enough.

    Args:
        footprints: shape (n,).
        quad: shape (n, quads), by rank.
        share: of the footprint, in units of SMALLEST_SHARE.
        outlines: of all quads.

    Returns:
        Shape (n, 4), as `choose_naip`.
    """
    chosen = np.full((len(quad), MOST_QUADS), NOBODY, np.int64)
    bounds, boxes = shapely.bounds(footprints), shapely.bounds(outlines)
    choices = [
        list(choice)
        for size in range(2, MOST_QUADS + 1)
        for choice in combinations(range(quad.shape[1]), size)
    ]
    for choice in choices:
        hopeful = share[:, choice].sum(axis=1) * SMALLEST_SHARE >= 1 - 2 * GAP_TOLERANCE
        rows = np.flatnonzero(hopeful & (chosen[:, 0] == NOBODY))
        if not rows.size:
            continue
        # Not even their boxes may leave a gap: this spares a corner the unions of three quads.
        rows = rows[_boxed(bounds[rows], boxes[quad[rows][:, choice]]) >= 1 - 2 * GAP_TOLERANCE]
        if len(choice) == 2:  # noqa: PLR2004 - most footprints that one quad does not cover
            shown = _side_by_side(shapely.bounds(footprints[rows]), *outlines[quad[rows][:, choice]].T)
            chosen[rows[shown], :2] = quad[rows[shown]][:, choice]
            rows = rows[~shown]
        sets, which = np.unique(quad[rows][:, choice], axis=0, return_inverse=True)
        ground = Edges.of(functools.reduce(shapely.union, outlines[sets].T))
        covered = shared_areas(shapely.bounds(footprints[rows]), ground, which.reshape(-1))
        rows = rows[covered >= (1 - GAP_TOLERANCE) * shapely.area(footprints[rows])]
        chosen[rows, : len(choice)] = quad[rows][:, choice]
    return chosen


def _boxed(bounds: NDArray[np.float64], boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The share of each rectangle that some boxes cover together, by inclusion and exclusion.

    Args:
        bounds: shape (n, 4): west, south, east, north.
        boxes: shape (n, boxes, 4), likewise.
    """
    shared = np.zeros(len(bounds))
    count = boxes.shape[1]
    for size in range(1, count + 1):
        for some in combinations(range(count), size):
            within = np.concatenate([bounds[:, None], boxes[:, list(some)]], axis=1)
            sides = within[:, :, 2:].min(axis=1) - within[:, :, :2].max(axis=1)
            shared -= (-1) ** size * np.maximum(sides, 0).prod(axis=1)
    return np.asarray(shared / (bounds[:, 2:] - bounds[:, :2]).prod(axis=1))


def _side_by_side(
    bounds: NDArray[np.float64], first: NDArray[np.object_], second: NDArray[np.object_]
) -> NDArray[np.bool_]:
    """Whether a cut through each rectangle, between two quads, leaves one part to each of them.

    Then the two cover it; where they do not lie so, only their union can say. A tenth of its time.

    Args:
        bounds: shape (n, 4): west, south, east, north.
        first: outlines, prepared.
        second: likewise.
    """
    shown = np.zeros(len(bounds), np.bool_)
    one, other = shapely.bounds(first), shapely.bounds(second)
    for axis in (0, 1):
        low = np.where(one[:, axis] < other[:, axis], first, second)
        high = np.where(one[:, axis] < other[:, axis], second, first)
        # Half way between the low quad's far edge and the high quad's near one: they overlap about there.
        far = np.minimum(one[:, 2 + axis], other[:, 2 + axis])
        cut = (far + np.maximum(one[:, axis], other[:, axis])) / 2
        rows = np.flatnonzero((bounds[:, axis] < cut) & (cut < bounds[:, 2 + axis]))
        below, above = bounds[rows].copy(), bounds[rows].copy()
        below[:, 2 + axis], above[:, axis] = cut[rows], cut[rows]
        shown[rows] |= shapely.covers(low[rows], shapely.box(*below.T)) & shapely.covers(
            high[rows], shapely.box(*above.T)
        )
    return shown
