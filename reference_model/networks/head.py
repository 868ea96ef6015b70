"""The task head of the vision-language regime: a completed scene becomes one embedding (Eq. 9)."""

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor, nn

from gl10m.scene.grid import GRID
from reference_model.networks.attention import AttentionPool
from reference_model.networks.positions import sincos, tiles_to_grid


class SceneHead(nn.Module):
    """Pool(H) of Eq. 9 with its temperature and bias."""

    layout: Tensor

    def __init__(
        self, *, features: int, heads: int, embedding: int, tokens_per_side: int, width: int | None = None
    ) -> None:
        """Build the head.

        Args:
            features: channels of a scene token.
            heads: attention heads of the pool.
            embedding: channels of the space shared with the texts.
            tokens_per_side: p, tokens on a side of one tile.
            width: channels of the pool, where it is narrower than the tokens.
        """
        super().__init__()
        self.layout_strength = nn.Parameter(torch.zeros(()))
        narrow = width is not None and width < features
        inside = width if width is not None and narrow else features
        self.enter = (
            nn.Sequential(nn.LayerNorm(features), nn.Linear(features, inside)) if narrow else nn.Identity()
        )
        self.pool = AttentionPool(inside, heads)
        self.project = nn.Linear(inside, embedding)
        self.log_scale = nn.Parameter(torch.tensor(10.0).log())
        self.bias = nn.Parameter(torch.zeros(()))
        self.register_buffer("layout", sincos(GRID * tokens_per_side, inside), persistent=False)

    def forward(self, scene: Tensor) -> Tensor:
        """Embed scene tokens (B, 100, p * p, features) into (B, embedding), each of length 1."""
        tokens = self.enter(tiles_to_grid(scene).flatten(1, 2)) + self.layout_strength * self.layout
        return F.normalize(self.project(self.pool(tokens)), dim=-1)
