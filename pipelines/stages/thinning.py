"""Spatial thinning: a maximal set of points that keep their distance, the better ranked first."""

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]
Mask = NDArray[np.bool_]

WAITING, KEPT, REFUSED, THINNED = np.int8(0), np.int8(1), np.int8(2), np.int8(3)
"""What becomes of a point."""


def thin(
    longitude: NDArray[np.float64],
    latitude: NDArray[np.float64],
    rank: Indices,
    degrees: float,
    accept: Callable[[Indices], Mask],
) -> NDArray[np.int8]:
    """Walk through the points by rank; keep each that `accept` accepts and no kept one stands too near to.

    Two points are too near where they differ by less than `degrees` in longitude and in latitude. The walk is
    done in rounds: whoever is the best of its whole neighbourhood may be decided at once, and all those are
    asked about together. So `accept` is asked only about points that no kept one has thinned away.

    Args:
        longitude: shape (n,), degrees.
        latitude: shape (n,), degrees.
        rank: shape (n,), a different number for each point, the smallest first.
        degrees: thinning distance; 0 thins nothing.
        accept: for the indices of some points, shape (k,), returns which may be kept, shape (k,).

    Returns:
        Shape (n,): KEPT, REFUSED by `accept`, or THINNED.
    """
    fate = np.full(len(rank), WAITING)
    if degrees <= 0:
        everyone = np.arange(len(rank))
        return np.where(accept(everyone), KEPT, REFUSED)
    waiting = np.argsort(rank, kind="stable")  # by rank from here on
    while waiting.size:
        cells = _Cells(longitude, latitude, rank, degrees, waiting)
        first = cells.best_of_neighbourhood()
        accepted = accept(first)
        fate[first] = np.where(accepted, KEPT, REFUSED)
        fate[cells.near(first[accepted])] = THINNED
        fate[first[accepted]] = KEPT
        waiting = waiting[fate[waiting] == WAITING]
    return fate


def gave_way_to(
    longitude: NDArray[np.float64],
    latitude: NDArray[np.float64],
    rank: Indices,
    degrees: float,
    fate: NDArray[np.int8],
) -> Indices:
    """The kept point that each thinned one gave way to: the best ranked of those it stands too near to.

    Args:
        longitude: as `thin`.
        latitude: as `thin`.
        rank: as `thin`.
        degrees: as `thin`.
        fate: what `thin` gave.

    Returns:
        Shape (n,): index of a kept point; -1 for points that were not thinned.
    """
    thinned, kept = np.flatnonzero(fate == THINNED), np.flatnonzero(fate == KEPT)
    winner = np.full(len(fate), -1, np.int64)
    if not thinned.size:
        return winner
    kept = kept[np.argsort(rank[kept], kind="stable")]
    cells = _Cells(longitude, latitude, rank, degrees, kept)
    best = np.full(len(thinned), len(rank), np.int64)
    by_rank = np.argsort(rank, kind="stable")
    for who, point in cells.beside(thinned):
        np.minimum.at(best, who, np.searchsorted(rank[by_rank], rank[point]))
    winner[thinned] = by_rank[best]
    return winner


class _Cells:
    """Points in square cells as wide as the thinning distance: the too near are in one of nine cells."""

    def __init__(
        self,
        longitude: NDArray[np.float64],
        latitude: NDArray[np.float64],
        rank: Indices,
        degrees: float,
        points: Indices,
    ) -> None:
        self._longitude, self._latitude, self._rank, self._degrees = longitude, latitude, rank, degrees
        self._side = degrees * (1 + 1e-9)  # a hair wider, so that rounding sends nobody two cells away
        key = self._key(points)
        order = np.argsort(key, kind="stable")  # within a cell by rank, since the points come by rank
        self._points, self._keys = points[order], key[order]
        self._starts = np.flatnonzero(np.diff(self._keys, prepend=self._keys[:1] - 1))
        self._ends = np.append(self._starts[1:], len(order))
        self._cell_keys = self._keys[self._starts]

    def _key(self, points: Indices) -> Indices:
        row = np.floor(self._latitude[points] / self._side).astype(np.int64)
        column = np.floor(self._longitude[points] / self._side).astype(np.int64)
        return row * self._width + column

    @property
    def _width(self) -> int:
        return int(360 / self._side) + 4

    def best_of_neighbourhood(self) -> Indices:
        """Points that no better ranked one stands too near to, by rank."""
        best = self._points[self._starts]  # the others of a cell wait: they are beaten, or come later
        beaten = np.zeros(len(best), np.bool_)
        for cell, other in self._neighbours(self._cell_keys):
            rival = self._rank[best[other]] < self._rank[best[cell]]
            who, point = self._pairs(cell[rival], other[rival])
            closer = self._too_near(best[who], point) & (self._rank[point] < self._rank[best[who]])
            beaten[who[closer]] = True
        winners = best[~beaten]
        return winners[np.argsort(self._rank[winners], kind="stable")]

    def near(self, kept: Indices) -> Indices:
        """Points that stand too near to one of `kept`, those themselves among them."""
        return np.concatenate([point for _, point in self.beside(kept)])

    def beside(self, asking: Indices) -> Iterator[tuple[Indices, Indices]]:
        """Which of `asking`, by place, stand too near to which points; nine times some of them."""
        for which, other in self._neighbours(self._key(asking)):
            who, point = self._pairs(which, other)
            close = self._too_near(asking[who], point)
            yield who[close], point[close]

    def _neighbours(self, keys: Indices) -> Iterator[tuple[Indices, Indices]]:
        """For the nine cells about each key: which keys have such a cell, and which cell it is."""
        for rows in (-1, 0, 1):
            for columns in (-1, 0, 1):
                wanted = keys + (rows * self._width + columns)
                place = np.minimum(np.searchsorted(self._cell_keys, wanted), len(self._cell_keys) - 1)
                there = np.flatnonzero(self._cell_keys[place] == wanted)
                yield there, place[there]

    def _pairs(self, which: Indices, cell: Indices) -> tuple[Indices, Indices]:
        """Each of `which` beside each point of its cell."""
        counts = self._ends[cell] - self._starts[cell]
        who = np.repeat(which, counts)
        steps = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return who, self._points[np.repeat(self._starts[cell], counts) + steps]

    def _too_near(self, one: Indices, other: Indices) -> Mask:
        return (np.abs(self._longitude[one] - self._longitude[other]) < self._degrees) & (
            np.abs(self._latitude[one] - self._latitude[other]) < self._degrees
        )
