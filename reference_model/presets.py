"""Sizes and lengths of training by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from reference_model.features import TokenType
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

    kept_as: TokenType = "float16"
    """How the feature cache keeps the tokens of tiles."""

    head_depth: int = 0
    """Transformer blocks before the head's pool, the same for every row that is compared."""

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

    probing: Schedule = Schedule(steps=200, batch=16, learning_rate=1e-2)  # noqa: RUF009 - immutable
    """Linear heads of the supervised baselines, on encodings that stay as they are."""

    finetuning: Schedule = Schedule(steps=60, batch=8, learning_rate=1e-3)  # noqa: RUF009 - immutable
    """A whole baseline network with its head; the network gets a tenth of the rate."""

    distillation: Schedule = Schedule(steps=60, batch=8, learning_rate=5e-4)  # noqa: RUF009 - immutable
    """The LR student of SAR (KD)."""

    policy: Schedule = Schedule(steps=150, batch=16, learning_rate=1e-3)  # noqa: RUF009 - immutable
    """The policy of PatchDrop, alone and then together with its head, each so long."""


TINY = Preset(
    name="tiny",
    pretraining=Schedule(steps=300, batch=64, learning_rate=1e-3),
    sampling=Schedule(steps=250, batch=16, learning_rate=1e-3),
    completion=Schedule(steps=300, batch=16, learning_rate=1e-3),
    alignment=Schedule(steps=200, batch=16, learning_rate=1e-3),
)
"""Minutes on two cores. Trains its own encoder, so its numbers check the machinery and reproduce nothing."""

SMALL = Preset(
    name="small",
    threads=2,
    tokens_per_side=2,
    encoder=EncoderParameters(input_px=160, dim=192, depth=6, heads=6, embedding=128),
    sampler=SamplerParameters(input_px=320, dim=128, depth=4, heads=4),
    predictor=PredictorParameters(dim=192, depth=6, heads=6),
    pretraining=Schedule(steps=3_000, batch=128, learning_rate=1e-3),
    sampling=Schedule(steps=2_000, batch=32, learning_rate=1e-3),
    completion=Schedule(steps=4_000, batch=32, learning_rate=1e-3, average=0.999),
    alignment=Schedule(steps=2_000, batch=32, learning_rate=1e-3),
    probing=Schedule(steps=2_000, batch=32, learning_rate=1e-2),
    finetuning=Schedule(steps=2_000, batch=32, learning_rate=1e-3),
    distillation=Schedule(steps=2_000, batch=32, learning_rate=5e-4),
    policy=Schedule(steps=2_000, batch=32, learning_rate=1e-3),
)
"""Hours on a CPU, minutes on a GPU; of use from some hundred scenes on."""

PAPER = Preset(
    name="paper",
    threads=8,
    tokens_per_side=4,
    sampler=SamplerParameters(input_px=320, dim=192, depth=4, heads=6),
    predictor=PredictorParameters(dim=384, depth=12, heads=6),
    pretraining=Schedule(steps=3_000, batch=256, learning_rate=1e-3),
    sampling=Schedule(steps=6_720, batch=256, learning_rate=1e-3, half_precision=True),
    completion=Schedule(steps=16_800, batch=256, learning_rate=5e-4, average=0.9995, half_precision=True),
    alignment=Schedule(steps=1_680, batch=512, learning_rate=1e-3, half_precision=True),
    probing=Schedule(steps=3_360, batch=512, learning_rate=1e-3, half_precision=True),
    finetuning=Schedule(steps=6_720, batch=256, learning_rate=1e-3, half_precision=True),
    distillation=Schedule(steps=6_720, batch=256, learning_rate=1e-4, half_precision=True),
    policy=Schedule(steps=3_360, batch=512, learning_rate=1e-3, half_precision=True),
)
"""The paper's size (4.3, E.2): twelve blocks, a published ViT-B as encoder, 50 epochs of 86,008 scenes."""

PRESETS: Mapping[str, Preset] = MappingProxyType({one.name: one for one in (TINY, SMALL, PAPER)})
"""By name."""
