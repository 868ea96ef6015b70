"""The task head of the vision-language regime: a completed scene becomes one embedding (Eq. 9)."""

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor, nn

from gl10m.scene.grid import GRID
from reference_model.networks.attention import AttentionPool, SelfBlock
from reference_model.networks.positions import sincos, tiles_to_grid

TRUNK_LAYOUT = 0.5
"""Strength of the positions at the start, where blocks stand before the pool."""


class SceneHead(nn.Module):
    """Pool(H) of Eq. 9 with its temperature and bias."""

    layout: Tensor

    def __init__(
        self,
        *,
        features: int,
        heads: int,
        embedding: int,
        tokens_per_side: int,
        width: int | None = None,
        depth: int = 0,
    ) -> None:
        """Build the head.

        Args:
            features: channels of a scene token.
            heads: attention heads of the pool.
            embedding: channels of the space shared with the texts.
            tokens_per_side: p, tokens on a side of one tile.
            width: channels of the pool, where it is narrower than the tokens.
            depth: transformer blocks before the pool, which bind an object to the ground about it where no
                predictor has done so. They need places from the start; a bare pool begins without.
        """
        super().__init__()
        self.layout_strength = nn.Parameter(torch.full((), TRUNK_LAYOUT if depth else 0.0))
        narrow = width is not None and width < features
        inside = width if width is not None and narrow else features
        self.enter = (
            nn.Sequential(nn.LayerNorm(features), nn.Linear(features, inside)) if narrow else nn.Identity()
        )
        self.pool = AttentionPool(inside, heads)
        self.project = nn.Linear(inside, embedding)
        self.log_scale = nn.Parameter(torch.tensor(10.0).log())
        self.bias = nn.Parameter(torch.zeros(()))
        self.blocks = nn.ModuleList(SelfBlock(inside, heads) for _ in range(depth))
        self.inside = inside
        self.register_buffer("layout", sincos(GRID * tokens_per_side, inside), persistent=False)

    def forward(self, scene: Tensor) -> Tensor:
        """Embed scene tokens (B, 100, p * p, features) into (B, embedding), each of length 1."""
        return self.gather(tiles_to_grid(scene).flatten(1, 2), self.layout)

    def gather(self, tokens: Tensor, layout: Tensor, seen: Tensor | None = None) -> Tensor:
        """Embed any tokens of a scene.

        Args:
            tokens: (B, n, features).
            layout: their positions, `sincos_at(places, self.inside)`, (n, inside).
            seen: bool (B, n); tokens where it is False are not there. All are if None.

        Returns:
            (B, embedding), each of length 1.
        """
        tokens = self.enter(tokens) + self.layout_strength * layout
        for block in self.blocks:
            tokens = block(tokens, seen)
        return F.normalize(self.project(self.pool(tokens, seen)), dim=-1)
