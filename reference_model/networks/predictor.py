"""Completes the scene in latent space (Eq. 7)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor, nn

from gl10m.scene.grid import GRID, TILES
from reference_model.networks.attention import BLOCKS
from reference_model.networks.positions import grid_to_tiles, sincos, tiles_to_grid


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictorParameters:
    """Size of the predictor. The paper has N = 12 blocks (4.3)."""

    dim: int = 96
    """Channels of a latent token."""

    depth: int = 3
    """Completion blocks."""

    heads: int = 4
    """Attention heads."""

    bottleneck: int = 2
    """Tokens pooled together on a side before the blocks; must divide the tokens on a tile's side."""

    block: str = "self and cross"
    """What its blocks attend to, a key of `attention.BLOCKS`."""


class Predictor(nn.Module):
    """From sparse HR evidence and the LR overview to a token for every place of the scene.

    Unselected tiles are never read: the caller hands over the selected ones alone.
    """

    tile_positions: Tensor
    layout: Tensor
    context_positions: Tensor

    def __init__(
        self, parameters: PredictorParameters, *, features: int, tokens_per_side: int, context_side: int
    ) -> None:
        """Build the predictor.

        Args:
            parameters: its size.
            features: channels of the encoder's tokens.
            tokens_per_side: p, tokens on a side of one tile.
            context_side: LR tokens on a side.

        Raises:
            ValueError: the bottleneck does not divide p, so a pooling window would straddle two tiles; or
                there is no such block.
        """
        super().__init__()
        if parameters.block not in BLOCKS:
            raise ValueError(f"a block is one of {', '.join(BLOCKS)}; asked for {parameters.block!r}")
        if tokens_per_side % parameters.bottleneck:
            raise ValueError(
                f"the bottleneck must divide the {tokens_per_side} tokens on a tile's side, so that no "
                f"pooling window straddles two tiles; got {parameters.bottleneck}"
            )
        dim = parameters.dim
        self.bottleneck, self.tokens_per_side = parameters.bottleneck, tokens_per_side
        self.enter = nn.Linear(features, dim)
        self.mask = nn.Parameter(torch.randn(dim) * 0.02)
        self.tile_identity = nn.Parameter(torch.randn(TILES, 1, dim) * 0.02)
        self.layout_strength = nn.Parameter(torch.tensor(0.5))
        self.context_norm = nn.LayerNorm(features)
        self.context = nn.Linear(features, dim)
        self.blocks = nn.ModuleList(
            BLOCKS[parameters.block](dim, parameters.heads) for _ in range(parameters.depth)
        )
        self.norm = nn.LayerNorm(dim)
        self.leave = nn.Linear(dim, parameters.bottleneck**2 * features)
        side = GRID * tokens_per_side
        self.register_buffer("layout", sincos(side, dim).view(side, side, dim), persistent=False)
        self.register_buffer("context_positions", sincos(context_side, dim), persistent=False)

    def forward(self, observed: Tensor, selected: Tensor, context: Tensor) -> Tensor:
        """Predict the tokens of all tiles.

        Args:
            observed: tokens of the selected tiles alone, (number selected, p * p, features), in the order of
                `selected.nonzero()`.
            selected: bool (B, 100), True where a tile was observed; may be all False.
            context: LR tokens (B, context_side ** 2, features).

        Returns:
            (B, 100, p * p, features), predictions for observed tiles included.
        """
        latent = self._rasterised(observed, selected)
        latent = latent + self.tile_identity
        grid = tiles_to_grid(latent) + self.layout_strength * self.layout
        pooled = F.avg_pool2d(grid.permute(0, 3, 1, 2), self.bottleneck)
        tokens = pooled.flatten(2).transpose(1, 2)
        keys = self.context(self.context_norm(context)) + self.context_positions
        for block in self.blocks:
            tokens = block(tokens, keys)
        wide = self.leave(self.norm(tokens)).transpose(1, 2)
        wide = wide.reshape(len(wide), -1, *pooled.shape[2:])
        return grid_to_tiles(F.pixel_shuffle(wide, self.bottleneck).permute(0, 2, 3, 1))

    def _rasterised(self, observed: Tensor, selected: Tensor) -> Tensor:
        """M(.) of Eq. 7: observed tokens at their places, the mask embedding everywhere else."""
        latent = self.mask.expand(*selected.shape, self.tokens_per_side**2, -1).clone()
        latent[selected] = self.enter(observed).to(latent.dtype)  # half as wide under autocast
        return latent


def integrated(predicted: Tensor, observed: Tensor, selected: Tensor) -> Tensor:
    """Pass observed tokens through and keep predictions elsewhere.

    With every tile selected the result is the full observation itself, which is what makes a threshold of 0
    the ground truth (Figure 8).

    Args:
        predicted: (B, 100, p * p, features).
        observed: (number selected, p * p, features).
        selected: bool (B, 100).

    Returns:
        (B, 100, p * p, features).
    """
    scene = predicted.to(observed.dtype, copy=True)
    scene[selected] = observed
    return scene
