"""What a model folder says of its networks, checked before anything of that size is built."""

from dataclasses import fields
from typing import Annotated, Literal, NamedTuple

import torch
from pydantic import BaseModel, ConfigDict, Field, model_validator
from torch import nn

from reference_model.networks import efficientnet
from reference_model.networks.encoder import SMALL, STRIDE, EncoderParameters, SmallEncoder
from reference_model.networks.head import SceneHead
from reference_model.networks.predictor import Predictor, PredictorParameters
from reference_model.networks.published import ENCODERS, PublishedEncoder
from reference_model.networks.sampler import Sampler, SamplerParameters
from reference_model.objectives.losses import RunningMean

LARGEST = 16_384
"""No size in a description is larger: a few bytes of JSON must not ask for all memory."""

DEEPEST = 256
"""Nor is any network deeper."""

LARGEST_SIDE = 32
"""p goes no further, nor do the tokens on a side of one image: positions are laid out for 10 p x 10 p tokens,
and no tensor of a file says how many these are."""

MOST_CLASSES = 10_000

Size = Annotated[int, Field(ge=1, le=LARGEST)]


class HeadParameters(BaseModel):
    """Size of the head."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    heads: Size
    embedding: Size
    width: Size | None = None


class Description(BaseModel):
    """The content of config.json."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["gl10m-reference-model"] = "gl10m-reference-model"
    version: Literal[1] = 1
    encoder: str
    """SMALL, or a name of a published encoder."""

    encoder_licence: str
    small: EncoderParameters | None
    """Size of the small encoder; none where the encoder is a published one."""

    sampler: SamplerParameters
    predictor: PredictorParameters
    head: HeadParameters
    tokens_per_side: Annotated[int, Field(ge=1, le=LARGEST_SIDE)]
    threads: Annotated[int, Field(ge=1, le=1024)]
    """Threads that the run was made with: sums in another order have other last digits."""

    class_names: Annotated[tuple[str, ...], Field(min_length=1, max_length=MOST_CLASSES)]
    novel: tuple[str, ...] = ()
    """Classes that no stage of training learned of."""

    @model_validator(mode="after")
    def _sizes_are_sane(self) -> "Description":
        if self.encoder != SMALL and self.encoder not in ENCODERS:
            raise ValueError(f"an encoder is {SMALL}, {', '.join(ENCODERS)}; got {self.encoder!r}")
        if (self.encoder == SMALL) != (self.small is not None):
            raise ValueError(f"`small` holds sizes where the encoder is {SMALL}, and there alone")
        if self.small is not None and self.small.input_px > LARGEST_SIDE * STRIDE:
            raise ValueError(
                f"input_px of the small encoder is at most {LARGEST_SIDE * STRIDE}; got {self.small.input_px}"
            )
        for part in (self.small, self.sampler, self.predictor):
            for field in fields(part) if part is not None else ():
                value, most = getattr(part, field.name), DEEPEST if field.name == "depth" else LARGEST
                if isinstance(value, int) and not 1 <= value <= most:
                    raise ValueError(f"{field.name} lies in 1..{most}; got {value}")
        return self


class Parts(NamedTuple):
    """The networks of one model."""

    encoder: SmallEncoder | PublishedEncoder
    sampler: Sampler
    predictor: Predictor
    head: SceneHead
    mean: RunningMean


def assembled(description: Description) -> Parts:
    """Build the networks; their weights are still to be loaded.

    Raises:
        ValueError: sizes do not fit each other.
    """
    encoder = _encoder(description)
    predictor = Predictor(
        description.predictor,
        features=encoder.dim,
        tokens_per_side=description.tokens_per_side,
        context_side=encoder.grid,
    )
    head = SceneHead(
        features=encoder.dim,
        heads=description.head.heads,
        embedding=description.head.embedding,
        tokens_per_side=description.tokens_per_side,
        width=description.head.width,
    )
    sampler = Sampler(description.sampler, features=encoder.dim)
    return Parts(encoder, sampler, predictor, head, RunningMean(encoder.dim))


def shapes(description: Description) -> dict[str, tuple[int, ...]]:
    """Names and shapes of all weights, without the memory for them."""
    with torch.device("meta"):
        parts: dict[str, nn.Module] = assembled(description)._asdict()
    return {
        f"{name}.{key}": tuple(tensor.shape)
        for name, module in parts.items()
        for key, tensor in module.state_dict().items()
    }


def _encoder(description: Description) -> SmallEncoder | PublishedEncoder:
    if description.small is not None:
        return SmallEncoder(description.small)
    encoder = PublishedEncoder(ENCODERS[description.encoder])
    if isinstance(encoder.network, efficientnet.EfficientNetLite0):
        efficientnet.fuse(encoder.network.eval())
    return encoder
