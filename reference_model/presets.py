"""Sizes and lengths of training by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from reference_model.networks.encoder import EncoderParameters
from reference_model.networks.predictor import PredictorParameters
from reference_model.networks.sampler import SamplerParameters
from reference_model.optimise import Schedule


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """Everything that decides a run but the data set, the seed and the target cost."""

    name: str
    encoder: EncoderParameters = field(default_factory=EncoderParameters)
    sampler: SamplerParameters = field(default_factory=SamplerParameters)
    predictor: PredictorParameters = field(default_factory=PredictorParameters)
    threads: int = 1
    """Threads of PyTorch. Fixed, because sums in another order give other last digits: so the result does
    not depend on how many cores a machine has. Layers this small gain little from a second one."""

    tokens_per_side: int = 2
    """p: tokens kept on a side of one tile."""

    fusion: str = "product"
    """Supervision of the sampler, a key of `supervision.FUSIONS`."""

    gain_weight: float = 1.0
    """lambda of Eq. 5."""

    ranks: tuple[int, ...] = (5, 20, 100)
    """K of mAP@K."""

    random_draws: int = 5
    """Random choices of tiles that the row "random tiles" is averaged over."""

    pretraining: Schedule
    """The encoder; the batch counts tiles."""

    sampling: Schedule
    """The sampler."""

    completion: Schedule
    """Stage I: the predictor on Eq. 8."""

    alignment: Schedule
    """Stage II: predictor and head on Eq. 9 and half of Eq. 8."""


TINY = Preset(
    name="tiny",
    pretraining=Schedule(steps=300, batch=64, learning_rate=1e-3),
    sampling=Schedule(steps=250, batch=16, learning_rate=1e-3),
    completion=Schedule(steps=300, batch=16, learning_rate=1e-3),
    alignment=Schedule(steps=200, batch=16, learning_rate=1e-3),
)
"""Minutes on two cores. Trains its own encoder, so its numbers check the machinery and reproduce nothing."""

PRESETS: Mapping[str, Preset] = MappingProxyType({TINY.name: TINY})
"""By name."""
