"""Stage "subsampling": frequent classes give up candidates, rare ones none (paper A.4)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from gl10m.manifest.outcome import Ledger, Outcome
from gl10m.scene.class_map import ClassMap
from gl10m.scene.identity import lots
from gl10m.scene.rejection import Reason

PAPER_INDEXED = 319_060
"""Candidates before subsampling (A.4, table 5)."""

PAPER_RETAINED = 273_250
"""Candidates for download (A.4, table 5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsamplingParameters:
    """How much to keep."""

    rate: float = PAPER_RETAINED / PAPER_INDEXED
    """Share to keep of candidates with anchors spread over the classes as the map's counts are; 1 is all."""

    protected_count: int = 1000
    """A footprint that holds a class of at most this count in the map is kept in any case."""

    seed: int = 0
    """Another seed gives up other candidates."""

    def __post_init__(self) -> None:
        """Refuse a rate that is none.

        Raises:
            ValueError: the rate is not above 0 and at most 1.
        """
        if not 0 < self.rate <= 1:
            raise ValueError(f"the rate to keep is above 0 and at most 1; got {self.rate}")


def subsample(
    candidates: pa.Table, state: str, class_map: ClassMap, parameters: SubsamplingParameters
) -> Outcome:
    """Thin out the frequent classes.

    Let n_c be the count of class c in the class map. There is one ceiling T for which the counts min(n_c, T)
    add up to `rate` of all counts. A candidate whose anchor is of class c is kept where its lot, a number in
    0..1 drawn from the seed and the scene id, is below T / n_c. Classes under the ceiling so lose none, and
    those above it are brought down to it. The ceiling comes from the map and the lot from the id: another
    candidate, or another state, changes neither. A map without counts gives all classes the same rate.

    Args:
        candidates: schema CANDIDATES.
        state: region code of the candidates.
        class_map: the map that the candidates were labelled with.
        parameters: rate and seed.

    Returns:
        Kept rows in schema CANDIDATES, in the order they came; rejected: SUBSAMPLED.
    """
    ledger = Ledger("subsampling", state)
    keep_share = retention(class_map, parameters.rate)
    names: list[Any] = candidates["scene_id"].to_pylist()
    drawn = lots(f"subsampling {parameters.seed}", names)
    lot = (drawn >> np.uint64(11)) / 2.0**53  # below 1 for sure: rounding up would cost a rare class a scene
    anchor: NDArray[np.uint8] = candidates["anchor_class"].to_numpy()
    kept = (lot < keep_share[anchor]) | _protected(candidates, class_map, parameters.protected_count)
    for place in np.flatnonzero(~kept):
        detail = (
            f"lot {lot[place]:.4f}; {class_map.names[anchor[place]]} keeps {keep_share[anchor[place]]:.4f}"
        )
        ledger.reject(names[place], Reason.SUBSAMPLED, detail)
    return Outcome(
        stage="subsampling",
        read=candidates.num_rows,
        kept=candidates.filter(pa.array(kept)),
        dropped=ledger.table,
    )


def retention(class_map: ClassMap, rate: float) -> NDArray[np.float64]:
    """Share of the candidates of each class that is kept.

    Args:
        class_map: its `paper_count` says how frequent each class is.
        rate: share to keep overall, above 0 and at most 1.

    Returns:
        Shape (classes,), above 0 and at most 1; the same `rate` for all where the map has no counts.
    """
    counts = np.array([concept.paper_count or 0 for concept in class_map.concepts], dtype=np.float64)
    if not counts.any():
        return np.full(len(counts), rate)
    ascending, target = np.sort(counts), rate * counts.sum()
    below = np.concatenate([[0.0], np.cumsum(ascending)[:-1]])  # what the rarer classes add up to
    above = np.arange(len(counts), 0, -1)
    enough = below + above * ascending >= target  # a ceiling at this class's count would do
    first = int(np.argmax(enough)) if enough.any() else len(counts) - 1
    ceiling = (target - below[first]) / above[first]
    return np.asarray(np.minimum(1.0, ceiling / np.maximum(counts, 1.0)))


def _protected(candidates: pa.Table, class_map: ClassMap, count: int) -> NDArray[np.bool_]:
    """Shape (candidates,); True where the footprint holds a class that is too rare to lose any."""
    rare = {c.id for c in class_map.concepts if c.paper_count is not None and c.paper_count <= count}
    held: list[Any] = candidates["class_ids"].to_pylist()
    return np.array([not rare.isdisjoint(ids) for ids in held], np.bool_)
