"""Frozen encoders behind one face, and the small one that is trained from nothing.

Images are uint8 (N, 3, height, width), channels R, G, B. Tokens are float32 (N, grid * grid, dim),
row-major from the north-west; embeddings are float32 (N, embedding), of length 1, in the space shared with
the texts.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple, Protocol

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor, nn

from reference_model.networks.attention import AttentionPool, SelfBlock
from reference_model.networks.positions import sincos

SMALL = "small"
"""Name of the encoder that a run trains for itself; the others are published ones."""

Sensor = Literal["lr", "hr"]
"""Which image: the Sentinel-2 overview or a NAIP tile."""

SENSORS: tuple[Sensor, ...] = ("lr", "hr")


class Backbone(Protocol):
    """What every encoder can do, trained here or read from a published checkpoint."""

    dim: int
    """Channels of a token."""

    embedding: int
    """Channels of an embedding."""

    grid: int
    """Tokens on a side of one image."""

    def state_dict(self) -> dict[str, Tensor]:
        """The weights by name, as PyTorch has them."""

    def encode(self, images: Tensor, sensor: Sensor) -> "Encoding":
        """Encode uint8 (N, 3, h, w) into tokens (N, grid * grid, dim) and embeddings (N, embedding)."""


class Encoding(NamedTuple):
    """What an encoder makes of N images."""

    tokens: Tensor
    """(N, grid * grid, dim), row-major from the north-west."""

    embeddings: Tensor
    """(N, embedding), each of length 1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EncoderParameters:
    """Size of the small encoder."""

    input_px: int = 96
    """Pixels on a side to which every image is resized; a multiple of 16."""

    dim: int = 96
    """Channels of a token."""

    depth: int = 3
    """Transformer blocks."""

    heads: int = 4
    """Attention heads."""

    embedding: int = 64
    """Channels of the space shared with the texts."""


STRIDE = 16
"""Pixels of the resized image that one token stands for, on a side."""


class SmallEncoder(nn.Module):
    """A small vision transformer: three strided convolutions, then blocks, then an attention pool.

    One set of weights serves both sensors, as both are three-channel images of 268 x 268; each sensor has
    its own mean and standard deviation. Convolutions instead of one linear patch layer because a few
    thousand tiles teach them and would not teach that layer.
    """

    mean: Tensor
    deviation: Tensor
    positions: Tensor

    def __init__(self, parameters: EncoderParameters) -> None:
        super().__init__()
        self.parameters_of = parameters
        self.dim, self.embedding = parameters.dim, parameters.embedding
        self.grid = parameters.input_px // STRIDE
        widths = (parameters.dim // 3, 2 * parameters.dim // 3, parameters.dim)
        layers: list[nn.Module] = [nn.Conv2d(3, widths[0], 4, stride=4)]
        for narrow, wide in pairwise(widths):
            layers += [nn.GroupNorm(1, narrow), nn.GELU(), nn.Conv2d(narrow, wide, 3, stride=2, padding=1)]
        self.stem = nn.Sequential(*layers)
        self.blocks = nn.ModuleList(
            SelfBlock(parameters.dim, parameters.heads) for _ in range(parameters.depth)
        )
        self.norm = nn.LayerNorm(parameters.dim)
        self.pool = AttentionPool(parameters.dim, parameters.heads)
        self.project = nn.Linear(parameters.dim, parameters.embedding)
        self.register_buffer("positions", sincos(self.grid, parameters.dim), persistent=False)
        self.register_buffer("mean", torch.full((len(SENSORS), 3), 127.5))
        self.register_buffer("deviation", torch.full((len(SENSORS), 3), 64.0))

    def resized(self, images: Tensor) -> Tensor:
        """Resize uint8 (N, 3, h, w) to (N, 3, input_px, input_px), anti-aliased, still uint8."""
        size = (self.parameters_of.input_px, self.parameters_of.input_px)
        if images.shape[-2:] == size:
            return images
        return F.interpolate(images, size, mode="bilinear", antialias=True)

    def encode(self, images: Tensor, sensor: Sensor) -> Encoding:
        """Encode uint8 (N, 3, h, w); see `Backbone.encode`."""
        tokens = self.tokens(images, sensor)
        return Encoding(tokens, self.embed(tokens))

    def tokens(self, images: Tensor, sensor: Sensor) -> Tensor:
        """Encode uint8 (N, 3, h, w) into (N, grid * grid, dim)."""
        row = SENSORS.index(sensor)
        mean, deviation = self.mean[row, :, None, None], self.deviation[row, :, None, None]
        pixels = (self.resized(images).float() - mean) / deviation
        tokens: Tensor = self.stem(pixels).flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        normed: Tensor = self.norm(tokens)
        return normed

    def embed(self, tokens: Tensor) -> Tensor:
        """Gather tokens (N, n, dim) into embeddings (N, embedding) of length 1."""
        return F.normalize(self.project(self.pool(tokens)), dim=-1)
