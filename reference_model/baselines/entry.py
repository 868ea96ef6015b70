"""What a row of the tables is: how its method is made, what it observes, what it needs from outside."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from reference_model.baselines.covariates import Covariate
from reference_model.face import Method, Setting
from reference_model.networks.published_table import ENCODERS, Published

Observes = Literal["LR", "HR", "LR + HR"]
Regime = Literal["zero-shot", "supervised"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assets:
    """What rows need that no data set and no run folder holds. All of it may be absent."""

    weights: Mapping[str, Path] = field(default_factory=dict)
    """Files of published weights by the name of the row, or of its encoder, which several rows may share;
    looked for on this machine where none is named."""

    texts: Mapping[str, Path] = field(default_factory=dict)
    """Folders of text towers or tokenizers by encoder name; looked for on this machine likewise."""

    covariate: Covariate | None = None
    """How lit every tile is, for the night-light rows."""

    concept_scale: Path | None = None
    """The scale at which each class is seen best, in the form of class_maps/concept_scale.toml."""


class MissingAssetError(LookupError):
    """A row needs something from outside that was not handed over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row: its place in the paper, and the way to its method."""

    name: str
    """Also that of the method."""

    stands_for: tuple[str, ...]
    """Rows of the paper, as "Table 1: SAR (Only HR)"; empty for a row that the paper lacks."""

    observes: Observes
    regime: Regime
    """zero-shot: no label of a Novel class and no Novel word is learned from. supervised: all labels."""

    paper_obr: float
    """OBR of that row in the paper: 0 for LR alone, 1 for full observation."""

    learned: str
    """What is trained, in words; "nothing" where nothing is."""

    encoder: str | None = None
    """The published encoder whose weights it needs, a key of `published.ENCODERS`; None for the setting's."""

    needs: str | None = None
    """Anything else it needs from outside, in words."""

    draws: int = 1
    """Draws over which a row of chance is averaged."""

    make: Callable[[Setting, Assets, int], Method]
    """The method for a setting; the number is that of the draw."""

    @property
    def published(self) -> Published | None:
        """Where the weights that it needs are, and under which licence."""
        return None if self.encoder is None else ENCODERS[self.encoder]

    @property
    def sparse(self) -> bool:
        """Whether it buys some tiles and not all."""
        return 0 < self.paper_obr < 1

    def budgets(self, matched: float) -> tuple[float, ...]:
        """The target OBRs at which the row is reported: the paper's, and the one all sparse rows share."""
        return tuple(dict.fromkeys((self.paper_obr, matched))) if self.sparse else (self.paper_obr,)
