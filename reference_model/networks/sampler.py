"""Scores the 100 tiles of a scene from its LR image alone (4.2)."""

from dataclasses import dataclass
from itertools import pairwise
from math import isqrt, log

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor, nn

from gl10m.scene.grid import GRID, TILES
from reference_model.networks.attention import SelfBlock

FOLD = 4
"""Cells of the stem's output on a side of one tile."""

LEAST_TARGET = 1e-3
"""The output bias begins at the logit of the mean target, held away from 0 and 1 by this much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerParameters:
    """Size of the sampler."""

    input_px: int = 160
    """Pixels on a side to which the LR image is resized; 10 tiles x 4 cells x a power of two."""

    dim: int = 64
    """Channels of a tile token."""

    depth: int = 2
    """Transformer blocks."""

    heads: int = 4
    """Attention heads."""


class Sampler(nn.Module):
    """A convolutional stem over the LR image, one token a tile, one logit a token.

    One HR tile is 27 LR pixels, less than two patches of a ViT: the stem sees finer than the encoder's
    tokens, which join in because they cost nothing more.
    """

    def __init__(self, parameters: SamplerParameters, *, features: int) -> None:
        """Build the sampler for encoder tokens of `features` channels.

        Raises:
            ValueError: the input size is not 40 pixels times a power of two.
        """
        super().__init__()
        halvings = (parameters.input_px // (GRID * FOLD)).bit_length() - 1
        if GRID * FOLD * 2**halvings != parameters.input_px or halvings < 1:
            raise ValueError(
                f"the sampler's input is {GRID * FOLD} pixels times a power of two, at least "
                f"{2 * GRID * FOLD}; asked for {parameters.input_px}"
            )
        dim = parameters.dim
        widths = [3] + [max(8, dim >> (halvings - 1 - step)) // 2 for step in range(halvings)]
        stem: list[nn.Module] = []
        for narrow, wide in pairwise(widths):
            stem += [nn.Conv2d(narrow, wide, 3, stride=2, padding=1), nn.GELU()]
        self.input_px = parameters.input_px
        self.stem = nn.Sequential(*stem)
        self.fold = nn.Linear(widths[-1] * FOLD * FOLD, dim)
        self.context = nn.Linear(features, dim)
        self.positions = nn.Parameter(torch.randn(TILES, dim) * 0.02)
        self.blocks = nn.ModuleList(SelfBlock(dim, parameters.heads) for _ in range(parameters.depth))
        self.norm = nn.LayerNorm(dim)
        self.score = nn.Linear(dim, 1)

    def start_at(self, mean_target: float) -> None:
        """Begin with the mean target everywhere.

        Product targets are nearly all zero; a sampler that first has to learn their mean collapses to it.
        """
        share = min(max(mean_target, LEAST_TARGET), 1 - LEAST_TARGET)
        nn.init.zeros_(self.score.weight)
        nn.init.constant_(self.score.bias, log(share / (1 - share)))

    def forward(self, images: Tensor, context: Tensor) -> Tensor:
        """Score the tiles.

        Args:
            images: LR, uint8 (B, 3, 268, 268).
            context: the encoder's LR tokens (B, n * n, features).

        Returns:
            Logits (B, 100), tile = 10 * row + column, north-west first.
        """
        size = (self.input_px, self.input_px)
        pixels = F.interpolate(images, size, mode="bilinear", antialias=True).float() / 127.5 - 1
        cells = F.unfold(self.stem(pixels), FOLD, stride=FOLD).transpose(1, 2)
        tokens = self.fold(cells) + self.context(_at_tile_centres(context)) + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        logits: Tensor = self.score(self.norm(tokens))[..., 0]
        return logits


def _at_tile_centres(context: Tensor) -> Tensor:
    """Read tokens (B, n * n, d) bilinearly at the centres of the 100 tiles: (B, 100, d)."""
    side = isqrt(context.shape[1])
    grid = context.transpose(1, 2).reshape(len(context), -1, side, side)
    placed = F.interpolate(grid, (GRID, GRID), mode="bilinear", align_corners=False)
    return placed.flatten(2).transpose(1, 2)
