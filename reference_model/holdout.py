"""Which scenes teach, which set the threshold, and which are kept aside for the result.

The splits of the data set are used where they exist. A data set whose states all belong to one split, as
the demo with CA and TX, has none to keep aside; then blocks of neighbouring scenes are held out instead. No
held-out footprint ever overlaps one that is trained on: training scenes that do are dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

BLOCKS = 8
"""Compact blocks of about equal numbers of scenes into which the training scenes are cut."""

BLOCKS_HELD_OUT = {"test": 2, "val": 1}
"""Blocks that stand in for a split that the data set does not have."""

FEWEST = {"train": 8, "val": 2, "test": 4}
"""Scenes without which a role cannot be filled."""

SHARED_EDGE_DEGREES = 1e-9
"""Footprints that overlap by no more than this touch; a tenth of a millimetre."""


class TooFewScenesError(ValueError):
    """The data set is too small to train on and to hold anything out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Rows of the catalogue by what they are for; each ascending, disjoint."""

    train: NDArray[np.int64]
    val: NDArray[np.int64]
    test: NDArray[np.int64]
    dropped: int
    """Scenes left out because they overlap a held-out footprint."""

    held_out: str
    """How the held-out scenes were chosen, in words for the report."""


def assign(splits: Sequence[str], bounds: NDArray[np.float64], seed: int) -> Roles:
    """Give every scene its role.

    Args:
        splits: the split of each scene; others than train, val and test take no part.
        bounds: (scenes, 4), west, south, east, north in degrees, EPSG:4326.
        seed: chooses the blocks.

    Raises:
        TooFewScenesError: a role would have too few scenes.
    """
    rows = {name: np.flatnonzero(np.array(splits, dtype=object) == name) for name in FEWEST}
    missing = [name for name in BLOCKS_HELD_OUT if not len(rows[name])]
    if missing:
        rows |= _carved(rows["train"], bounds, missing, seed)
    before = sum(len(part) for part in rows.values())
    rows["val"] = _clear_of(rows["val"], rows["test"], bounds)
    rows["train"] = _clear_of(rows["train"], np.concatenate([rows["val"], rows["test"]]), bounds)
    dropped = before - sum(len(part) for part in rows.values())
    for name, fewest in FEWEST.items():
        if len(rows[name]) < fewest:
            raise TooFewScenesError(
                f"the reference model needs at least {fewest} scenes for {name}; the data set has "
                f"{len(rows[name])} of {len(splits)} left for it ({dropped} dropped because they overlap "
                "held-out ground). Build more scenes, or more states."
            )
    return Roles(**rows, dropped=dropped, held_out=_in_words(missing))


def blocks(bounds: NDArray[np.float64], count: int) -> list[NDArray[np.int64]]:
    """Cut scenes into compact blocks of about equal size by halving the largest along its longer side.

    Args:
        bounds: (scenes, 4), degrees.
        count: blocks wanted; fewer come back where there are fewer scenes.

    Returns:
        Rows of `bounds`, a partition.
    """
    centres = (bounds[:, :2] + bounds[:, 2:]) / 2
    parts = [np.arange(len(bounds))]
    while len(parts) < min(count, len(bounds)):
        largest = max(range(len(parts)), key=lambda place: len(parts[place]))
        rows = parts.pop(largest)
        longer = int(np.ptp(centres[rows], axis=0).argmax())
        ordered = rows[np.argsort(centres[rows, longer], kind="stable")]
        parts += [ordered[: len(rows) // 2], ordered[len(rows) // 2 :]]
    return parts


def _carved(
    train: NDArray[np.int64], bounds: NDArray[np.float64], missing: list[str], seed: int
) -> dict[str, NDArray[np.int64]]:
    """Move whole blocks from train to the splits that are missing."""
    cut = blocks(bounds[train], BLOCKS)
    order = iter(np.random.default_rng(seed).permutation(len(cut)))
    taken = {
        name: [cut[place] for _, place in zip(range(BLOCKS_HELD_OUT[name]), order, strict=False)]
        for name in missing
    }
    taken["train"] = [cut[place] for place in order]
    return {
        name: np.sort(train[np.concatenate([np.empty(0, np.int64), *parts])]) for name, parts in taken.items()
    }


def _clear_of(
    rows: NDArray[np.int64], others: NDArray[np.int64], bounds: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Rows whose footprint overlaps none of the others'."""
    west, south, east, north = bounds.T
    edge = SHARED_EDGE_DEGREES
    shrunk = shapely.box(west + edge, south + edge, east - edge, north - edge)
    hit, _ = shapely.STRtree(shrunk[others]).query(shrunk[rows], predicate="intersects")
    return np.delete(rows, np.unique(hit))


def _in_words(missing: list[str]) -> str:
    if not missing:
        return "held-out scenes: the val and test splits of the data set"
    return (
        "held-out scenes: blocks of neighbouring scenes taken from train, because the data set has no "
        f"{' and no '.join(missing)} split; they lie nearer to the training scenes than another state would"
    )
