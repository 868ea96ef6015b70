"""A protocol: everything that decides an experiment, written down before it is run."""

import re
from dataclasses import asdict, dataclass, field
from typing import Any

from reference_model.methods.registry import methods
from reference_model.presets import Preset
from reference_model.world.knobs import Knobs
from reference_model.world.vision_language import TowerParameters

DECISIVE = ("scenes", "knobs", "vision_language", "preset", "target_obr", "within")
"""Keys of a protocol that decide what a run finds."""

ALWAYS = ("ours", "full-no-predictor")
"""Rows that the gates and the report need."""


class ProtocolError(ValueError):
    """A protocol is not one: a key is unknown, missing or of the wrong kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordering:
    """A claim of the paper, as one comparison."""

    id: str
    claim: str
    """In words."""

    better: str
    """A run of the protocol: the name of a row, or row@OBR for one of the curve."""

    worse: str

    metric: str = "base/mAP@100"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """What must hold before an ordering is read; checks of training, blind to the orderings."""

    learnability: float = 2.5
    """Full observation without a predictor scores at least so many times the prevalence of Base classes."""

    completion: float = 0.95
    """Eq. 8 on unobserved tiles of compounds lies below this, on validation scenes under random masks."""

    least_range: float = 0.05
    """Validation scores of a sampler range over more than this."""

    least_capture: float = 2.0
    """A sampler captures more than so many times its share of G* on validation scenes."""

    least_spread: float = 0.1
    """Predictions vary by more than this share of what their targets vary by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """All of it."""

    name: str
    registered: str
    """Date of registration."""

    seeds: tuple[int, ...]
    """Each decides a world and all training in it. None of them was looked at before."""

    tuned_on: tuple[int, ...]
    """Seeds on which sizes, steps and knobs were chosen."""

    scenes: dict[str, int]
    """Scenes of each split."""

    knobs: Knobs
    vision_language: TowerParameters
    preset: Preset
    target_obr: float
    within: float = 0.01
    """Rows are compared at realised OBRs no further apart than this."""

    rows: tuple[str, ...]
    curve: tuple[float, ...] = ()
    """Further OBRs, at which the rows of `curve_rows` are run."""

    curve_rows: tuple[str, ...] = ()
    thresholds: tuple[float, ...] = ()
    """Thresholds of the sampler whose OBR and mAP are reported (Figure 8)."""

    resamples: int = 300
    orderings: tuple[Ordering, ...]
    gates: Gates = field(default_factory=Gates)

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[\w-]+", self.name):
            raise ProtocolError(
                f"a protocol's name is that of its files: letters, digits, - and _; got {self.name!r}"
            )
        if not self.seeds or min(self.seeds) < 0:
            raise ProtocolError(f"seeds are whole numbers from 0, one at least; got {list(self.seeds)}")
        if overlap := sorted(set(self.seeds) & set(self.tuned_on)):
            raise ProtocolError(
                f"seeds on which anything was chosen cannot be seeds of the experiment; {overlap} are both. "
                "Choose others."
            )
        if unknown := sorted({*self.rows, *self.curve_rows} - set(methods())):
            raise ProtocolError(
                f"rows are methods of the registry, {', '.join(sorted(methods()))}; got {', '.join(unknown)}"
            )
        if absent := sorted(set(ALWAYS) - set(self.rows)):
            raise ProtocolError(f"the gates and the report need the rows {', '.join(absent)}; add them")
        runs = set(self.runs)
        for one in self.orderings:
            if missing := {one.better, one.worse} - runs:
                raise ProtocolError(
                    f"ordering {one.id} compares {', '.join(sorted(missing))}, which the protocol does not "
                    f"run; it runs {', '.join(sorted(runs))}"
                )

    @property
    def runs(self) -> tuple[str, ...]:
        """Names of everything that is run: rows at the target OBR, then the curve as row@OBR."""
        curve = (f"{row}@{budget:g}" for budget in self.curve for row in self.curve_rows)
        return (*self.rows, *curve)

    def settings(self) -> dict[str, Any]:
        """What decides any run of one seed, as JSON.

        Which runs there are is no part of it: each draws chance of its own, so another protocol may add rows
        to the same run folders.
        """
        whole = asdict(self)
        return {name: whole[name] for name in DECISIVE}
