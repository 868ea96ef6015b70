"""The face of everything that is compared, and what each of them sees.

A row of a table is a method, the tiles that it plans from LR, and the classes that it ranks scenes by.
"""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from reference_model.features import Features
from reference_model.job import Job
from reference_model.networks.encoder import Backbone
from reference_model.pretrain import Texts


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What every method sees: the same scenes, roles, encodings and words."""

    job: Job
    """Scenes, labels, roles, preset, seed, and the run folder that keeps each method's weights."""

    encoder: Backbone
    """Frozen."""

    features: Features
    """Every image through the encoder, once."""

    texts: Texts
    """The class names in the space of the images; all classes, Base and Novel."""


class Method(Protocol):
    """One row: how tiles are bought, how a scene is represented, how classes rank scenes by that.

    Each method is made for one setting. `fit` may be called again: what the run folder holds is read back.
    """

    name: str
    """Name of the row; a part of file names: lower case letters, digits and hyphens."""

    def fit(self) -> None:
        """Train on the training scenes, or read the weights back; the threshold on validation scenes."""

    def plan(self, rows: Tensor, target_obr: float) -> Tensor:
        """Choose tiles from LR alone; no HR tile of these scenes is read.

        Args:
            rows: scenes, (N,).
            target_obr: share of tiles to buy; a method that buys none or all does not heed it.

        Returns:
            bool (N, 100).
        """

    def embed(self, rows: Tensor, selected: Tensor) -> Tensor:
        """Represent scenes by LR and the selected tiles; no other tile is read.

        Args:
            rows: scenes, (N,).
            selected: bool (N, 100).

        Returns:
            float32 (N, E); what E is, is the method's own affair.
        """

    def rank(self, embedded: Tensor) -> Tensor:
        """Score classes for embedded scenes (N, E): float32 (N, classes), higher is better."""
