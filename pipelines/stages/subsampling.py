"""Stage "subsampling": frequent classes give up candidates, rare ones none (paper A.4)."""

from collections.abc import Iterable
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

PAPER_RATE = PAPER_RETAINED / PAPER_INDEXED
"""Share that the paper retains: 85.6 %."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubsamplingParameters:
    """How much to keep: a rate or a target, not both. Without either it is the paper's rate."""

    rate: float | None = None
    """Share to keep of candidates with anchors spread over the classes as the map's counts are; 1 is all. By
    default the paper's, 273,250 of 319,060."""

    target: int | None = None
    """Candidates to keep of each state; a state with fewer keeps all. Protected ones stay even above it."""

    protected_count: int = 1000
    """A footprint that holds a class of at most this count in the map is kept in any case."""

    seed: int = 0
    """Another seed gives up other candidates."""

    def __post_init__(self) -> None:
        """Refuse what cannot be kept.

        Raises:
            ValueError: the rate is not above 0 and at most 1, the target is below 1, or both are given.
        """
        if self.rate is not None and self.target is not None:
            raise ValueError(
                f"either a rate or a target says how much to keep; got rate {self.rate} and target "
                f"{self.target}. Take one of them away."
            )
        if self.rate is not None and not 0 < self.rate <= 1:
            raise ValueError(f"the rate to keep is above 0 and at most 1; got {self.rate}")
        if self.target is not None and self.target < 1:
            raise ValueError(f"the target is 1 candidate a state or more; got {self.target}")


def subsample(
    candidates: pa.Table, state: str, class_map: ClassMap, parameters: SubsamplingParameters
) -> Outcome:
    """Thin out the frequent classes, to a rate or to a target.

    To a rate: let n_c be the count of class c in the class map. There is one ceiling T for which the counts
    min(n_c, T) add up to `rate` of all counts. A candidate whose anchor is of class c is kept where its lot,
    a number in 0..1 drawn from the seed and the scene id, is below T / n_c. Classes under the ceiling so lose
    none, and those above it are brought down to it. The ceiling comes from the map and the lot from the id:
    another candidate, or another state, changes neither. A map without counts gives all classes one rate.

    To a target: the lowest lot of every class is kept, then the second lowest of every class, and so on until
    the target is met to the candidate: a ceiling on the state's own counts. Protected candidates come first
    and stay even above the target. Another state changes nothing; another candidate of this one may.

    Args:
        candidates: schema CANDIDATES, of one state.
        state: region code of the candidates.
        class_map: the map that the candidates were labelled with.
        parameters: rate or target, and seed.

    Returns:
        Kept rows in schema CANDIDATES, in the order they came; rejected: SUBSAMPLED.
    """
    ledger = Ledger("subsampling", state)
    names: list[Any] = candidates["scene_id"].to_pylist()
    drawn = drawn_lots(names, parameters.seed)
    lot = as_shares(drawn)
    anchor: NDArray[np.uint8] = candidates["anchor_class"].to_numpy()
    protected = _protected(candidates, class_map, parameters.protected_count)
    if parameters.target is None:
        shares = retention(class_map, PAPER_RATE if parameters.rate is None else parameters.rate)
        limit = shares[anchor]
        kept = (lot < limit) | protected
    else:
        kept = _fewest(anchor, drawn, protected, names, parameters.target)
        held = np.bincount(anchor[kept], minlength=len(class_map.names))
        limit = (held / np.maximum(np.bincount(anchor, minlength=len(held)), 1))[anchor]
    for place in np.flatnonzero(~kept):
        detail = f"lot {lot[place]:.4f}; {class_map.names[anchor[place]]} keeps {limit[place]:.4f}"
        ledger.reject(names[place], Reason.SUBSAMPLED, detail)
    return Outcome(
        stage="subsampling",
        read=candidates.num_rows,
        kept=candidates.filter(pa.array(kept)),
        dropped=ledger.table,
    )


def drawn_lots(scene_ids: Iterable[str], seed: int) -> NDArray[np.uint64]:
    """The lot of each scene, shape (scenes,): the same whatever else is drawn.

    Args:
        scene_ids: stable names.
        seed: another seed, other lots.
    """
    return lots(f"subsampling {seed}", scene_ids)


def as_shares(drawn: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Lots as numbers from 0 to below 1, shape (scenes,)."""
    # Of 53 bits, which a float holds: one rounded up to 1 would cost a rare class a scene.
    return np.asarray((drawn >> np.uint64(11)) / 2.0**53)


def _fewest(
    anchor: NDArray[np.uint8],
    drawn: NDArray[np.uint64],
    protected: NDArray[np.bool_],
    names: list[Any],
    target: int,
) -> NDArray[np.bool_]:
    """The target's candidates: the first of every class, then the second of every class, and so on.

    Protected candidates come before the others of their class and are kept in any case. Where one round
    would pass the target, the lowest lots of that round are kept.

    Args:
        anchor: shape (candidates,), class ids.
        drawn: shape (candidates,), lots.
        protected: shape (candidates,).
        names: scene ids, which settle equal lots.
        target: how many.

    Returns:
        Shape (candidates,); True = kept.
    """
    order = np.lexsort((np.asarray(names, dtype=str), drawn, ~protected, anchor))
    classes = anchor[order]
    begins = np.searchsorted(classes, classes)
    rounds = np.empty(len(order), np.int64)
    rounds[order] = np.arange(len(order)) - begins
    kept = protected.copy()
    first = np.lexsort((np.asarray(names, dtype=str), drawn, rounds, ~protected))
    kept[first[:target]] = True
    return kept


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
