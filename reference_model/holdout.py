"""Which scenes teach, which set the threshold, and which are kept aside for the result.

The splits of the data set are used where they exist. A data set whose states all belong to one split, as
the demo with CA and TX, has none to keep aside; then blocks of neighbouring scenes are held out instead. No
held-out footprint ever overlaps one that is trained on: training scenes that do are dropped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations

import numpy as np
import shapely
from numpy.typing import NDArray

BLOCKS = 8
"""Compact blocks of about equal numbers of scenes into which the training scenes are cut."""

BLOCKS_HELD_OUT = {"test": 2, "val": 1}
"""Blocks that stand in for a split that the data set does not have."""

Rows = NDArray[np.int64]
"""Rows of the catalogue."""

FEWEST = {"train": 8, "val": 2, "test": 4}
"""Scenes without which a role cannot be filled."""

UNLABELLED = "pretrain"
"""Split of the scenes that stage I alone learns from."""

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

    unlabelled: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    """Scenes of the split `pretrain`, from which stage I alone learns."""

    held_out: str
    """How the held-out scenes were chosen, in words for the report."""


def assign(splits: Sequence[str], bounds: NDArray[np.float64], seed: int) -> Roles:
    """Give every scene its role.

    Args:
        splits: the split of each scene; others than train, val, test and pretrain take no part.
        bounds: (scenes, 4), west, south, east, north in degrees, EPSG:4326.
        seed: chooses between blocks that are equally good to hold out.

    Raises:
        TooFewScenesError: a role would have too few scenes.
    """
    rows = {name: np.flatnonzero(np.array(splits, dtype=object) == name) for name in FEWEST}
    taking_part = sum(len(part) for part in rows.values())
    missing = [name for name in BLOCKS_HELD_OUT if not len(rows[name])]
    overlaps = _overlaps(bounds)
    choices = _choices(rows, bounds, missing, seed)
    cleared = [_cleared(choice, overlaps, len(bounds)) for choice in choices]
    best = max(cleared, key=_goodness)
    dropped = taking_part - sum(len(part) for part in best.values())
    for name, fewest in FEWEST.items():
        if len(best[name]) < fewest:
            raise TooFewScenesError(
                f"the reference model needs at least {fewest} scenes for {name}; the data set has "
                f"{len(best[name])} of {len(splits)} left for it ({dropped} dropped because they overlap "
                "held-out ground). Build more scenes, or more states."
            )
    unlabelled = np.flatnonzero(np.array(splits, dtype=object) == UNLABELLED)
    touched = _touched(np.concatenate([best["val"], best["test"]]), overlaps, len(bounds))
    return Roles(
        **best, dropped=dropped, unlabelled=unlabelled[~touched[unlabelled]], held_out=_in_words(missing)
    )


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


def _choices(
    rows: Mapping[str, Rows], bounds: NDArray[np.float64], missing: Sequence[str], seed: int
) -> list[dict[str, Rows]]:
    """All ways to move whole blocks from train to the missing splits, in an order the seed decides."""
    if not missing:
        return [dict(rows)]
    train = rows["train"]
    cut = [train[part] for part in blocks(bounds[train], BLOCKS)]
    order = np.random.default_rng(seed).permutation(len(cut)).tolist()
    ways: list[dict[str, Rows]] = []
    for taken in permutations(order, sum(BLOCKS_HELD_OUT[name] for name in missing)):
        way, rest = dict(rows), list(taken)
        for name in missing:
            own, rest = rest[: BLOCKS_HELD_OUT[name]], rest[BLOCKS_HELD_OUT[name] :]
            way[name] = np.sort(np.concatenate([cut[place] for place in own]))
        left = [cut[place] for place in range(len(cut)) if place not in taken]
        way["train"] = np.sort(np.concatenate([np.empty(0, np.int64), *left]))
        ways.append(way)
    return ways


def _goodness(roles: Mapping[str, Rows]) -> tuple[int, int]:
    """Roles that have enough scenes, then scenes that are kept."""
    enough = sum(len(roles[name]) >= fewest for name, fewest in FEWEST.items())
    return enough, sum(len(part) for part in roles.values())


def _cleared(roles: Mapping[str, Rows], overlaps: Rows, scenes: int) -> dict[str, Rows]:
    """Drop validation scenes that overlap a test scene, then training scenes that overlap either."""
    clear = dict(roles)
    for name, held_out in (("val", ("test",)), ("train", ("val", "test"))):
        touched = _touched(np.concatenate([clear[other] for other in held_out]), overlaps, scenes)
        clear[name] = clear[name][~touched[clear[name]]]
    return clear


def _touched(kept_aside: Rows, overlaps: Rows, scenes: int) -> NDArray[np.bool_]:
    """Which scenes share ground with one of those that are kept aside, (scenes,)."""
    aside = np.zeros(scenes, dtype=bool)
    aside[kept_aside] = True
    touched = np.zeros(scenes, dtype=bool)
    touched[overlaps[0][aside[overlaps[1]]]] = True
    return touched


def _overlaps(bounds: NDArray[np.float64]) -> Rows:
    """Pairs of scenes that share ground, (2, pairs), each pair in both orders."""
    west, south, east, north = bounds.T
    edge = SHARED_EDGE_DEGREES
    shrunk = shapely.box(west + edge, south + edge, east - edge, north - edge)
    pairs: Rows = shapely.STRtree(shrunk).query(shrunk, predicate="intersects")
    return pairs


def _in_words(missing: list[str]) -> str:
    if not missing:
        return "held-out scenes: the val and test splits of the data set"
    return (
        "held-out scenes: blocks of neighbouring scenes taken from train, because the data set has no "
        f"{' and no '.join(missing)} split; they lie nearer to the training scenes than another state would"
    )
