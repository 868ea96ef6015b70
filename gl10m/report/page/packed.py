"""Columns of a page's data as base64 of their bytes: as JSON they would be several times as long."""

import base64
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from gl10m.report.page.facts import split_order

MOST_SPLITS: Final = 250
"""Splits that a page tells apart; any other has this number, which no name stands for."""


def base64_of(values: NDArray[Any]) -> str:
    """The bytes of an array in C order; its shape and type are the script's to know."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()


def coded_splits(splits: NDArray[np.object_]) -> tuple[list[str], str]:
    """Names of splits in the order of their use, and the place of each scene's split among them, uint8.

    Args:
        splits: shape (scenes,), as of `gl10m.report.page.facts.splits_of`.
    """
    names = split_order(splits.tolist())[:MOST_SPLITS]
    place = {name: number for number, name in enumerate(names)}
    return names, base64_of(np.array([place.get(name, MOST_SPLITS) for name in splits], np.uint8))


def coded_states(states: Sequence[str]) -> tuple[list[str], str]:
    """Region codes in alphabetical order, and the place of each scene's among them, uint16 little-endian.

    Args:
        states: of each scene.
    """
    names = sorted(set(states))
    place = {name: number for number, name in enumerate(names)}
    return names, base64_of(np.array([place[state] for state in states], "<u2"))
