"""The task head of the dense regime: a completed scene becomes a logit a class (4.4, Table 2)."""

import torch
from torch import Tensor, nn

from gl10m.scene.grid import GRID
from reference_model.networks.attention import AttentionPool
from reference_model.networks.positions import sincos, tiles_to_grid


class SceneClassifier(nn.Module):
    """The same pool as the head of Eq. 9, then one linear layer."""

    layout: Tensor

    def __init__(self, *, features: int, heads: int, tokens_per_side: int, rates: Tensor) -> None:
        """Build the head; it begins at the frequencies of the classes.

        Args:
            features: channels of a scene token.
            heads: attention heads of the pool.
            tokens_per_side: p, tokens on a side of one tile.
            rates: share of the training scenes that carry each class, (classes,).
        """
        super().__init__()
        self.layout_strength = nn.Parameter(torch.zeros(()))
        self.pool = AttentionPool(features, heads)
        self.norm = nn.LayerNorm(features)
        self.classify = nn.Linear(features, len(rates))
        self.register_buffer("layout", sincos(GRID * tokens_per_side, features), persistent=False)
        with torch.no_grad():
            self.classify.weight.zero_()
            self.classify.bias.copy_(torch.logit(rates, eps=1e-3))

    def forward(self, scene: Tensor) -> Tensor:
        """Classify scene tokens (B, 100, p * p, features) into logits (B, classes)."""
        tokens = tiles_to_grid(scene).flatten(1, 2) + self.layout_strength * self.layout
        logits: Tensor = self.classify(self.norm(self.pool(tokens)))
        return logits
