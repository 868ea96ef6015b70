"""How near the scenes of two splits come to each other, where they do not share ground."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import shapely
from numpy.typing import NDArray

from gl10m.manifest.rectangles import METRES_A_DEGREE, Bounds, Rows, boxes, gaps

FARTHEST_METRES = 100_000.0
"""Neighbours farther away are not looked for. A degree of latitude, the height of a strip, is more."""

_STRIP_ERROR = 1.06
"""A strip's scale is right to so much a degree away from its middle, up to 70 degrees north."""

STEPS_KM = (1, 5, 10, 25, 100)
"""Distances that are counted up to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Border:
    """Two splits, and how near the scenes of the smaller one come to the larger one."""

    split: str
    """The smaller split, of whose scenes each is asked for its nearest in the other."""
    other: str
    rows: Rows
    """Scenes of `split` with a neighbour within 100 km, the nearest pair first."""
    neighbours: Rows
    """The nearest scene of `other` to each of them."""
    metres: NDArray[np.float64]
    """Ground between the two footprints; 0 where they overlap or touch."""
    scenes: int
    """Scenes of `split` in all."""

    def within(self, kilometres: float) -> int:
        """Scenes of `split` that lie at most so far from `other`."""
        return int((self.metres <= kilometres * 1000).sum())


def borders(bounds: Bounds, code: Rows, splits: list[str]) -> list[Border]:
    """The borders between all splits, two by two. The date line is one as well: nobody looks across it.

    Args:
        bounds: of the scenes.
        code: shape (scenes,), place of each scene's split in `splits`, or -1.
        splits: their names.

    Returns:
        One for each two splits that have scenes, in the order of the names.
    """
    members = {name: np.flatnonzero(code == number) for number, name in enumerate(splits)}
    trees = _Strips(bounds)
    found = []
    for pair in combinations([name for name in splits if len(members[name])], 2):
        small, large = sorted(pair, key=lambda name: (len(members[name]), name))
        rows, neighbours, metres = trees.nearest(members[small], members[large])
        found.append(
            Border(
                split=small,
                other=large,
                rows=rows,
                neighbours=neighbours,
                metres=metres,
                scenes=len(members[small]),
            )
        )
    return found


class _Strips:
    """Scenes by whole degrees of latitude, within which degrees are nearly as long as each other."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._strip = np.floor(bounds[:, 1::2].mean(axis=1)).astype(np.int64)

    def nearest(self, asking: Rows, others: Rows) -> tuple[Rows, Rows, NDArray[np.float64]]:
        """The nearest of `others` to each of `asking`, with the metres between, the nearest pair first."""
        parts = [
            self._nearest(asking[self._strip[asking] == strip], others, strip)
            for strip in np.unique(self._strip[asking]).tolist()
        ]
        none = np.empty(0, np.int64)
        one, other = (np.concatenate(side) for side in zip((none, none), *parts, strict=True))
        metres = gaps(self._bounds[one], self._bounds[other])
        order = np.lexsort((other, metres, one))  # of several equally near the first scene
        first = order[np.diff(one[order], prepend=-1) != 0]
        first = first[metres[first] <= FARTHEST_METRES]
        first = first[np.lexsort((one[first], metres[first]))]
        return one[first], other[first], metres[first]

    def _nearest(self, asking: Rows, others: Rows, strip: int) -> tuple[Rows, Rows]:
        near = others[np.abs(self._strip[others] - strip) <= 1]
        scale = METRES_A_DEGREE * np.array([np.cos(np.radians(strip + 0.5)), 1.0] * 2)
        tree = shapely.STRtree(boxes(self._bounds[near] * scale))
        here = boxes(self._bounds[asking] * scale)
        found, metres = tree.query_nearest(
            here, max_distance=FARTHEST_METRES * _STRIP_ERROR, return_distance=True, all_matches=False
        )
        # Whoever else may turn out to be the nearest once it is measured where the two stand.
        reach = np.full(len(asking), -1.0)
        reach[found[0]] = metres * _STRIP_ERROR**2
        asked = np.flatnonzero(reach >= 0)
        one, other = tree.query(here[asked], predicate="dwithin", distance=reach[asked])
        return asking[asked[one]], near[other]
