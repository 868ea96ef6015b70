"""Transformer blocks on `scaled_dot_product_attention`.

All blocks are pre-norm and begin as the identity: the last layer of each residual branch starts at zero.
Tokens have shape (batch, tokens, dim).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention of one set of tokens to another.

    Queries and keys are normalised per head, which keeps the logits bounded in half precision.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"heads must divide dim; got dim={dim}, heads={heads}")
        self.heads = heads
        self.query = nn.Linear(dim, dim)
        self.key_value = nn.Linear(dim, 2 * dim)
        self.query_norm = nn.LayerNorm(dim // heads)
        self.key_norm = nn.LayerNorm(dim // heads)
        self.out = nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, context: Tensor, seen: Tensor | None = None) -> Tensor:
        """Attend from `tokens` (B, n, dim) to `context` (B, m, dim); returns (B, n, dim).

        Context tokens where `seen`, bool (B, m), is False have no say.
        """
        query = self.query_norm(self._split(self.query(tokens)))
        key, value = (self._split(part) for part in self.key_value(context).chunk(2, dim=-1))
        mask = None if seen is None else seen[:, None, None]
        mixed = F.scaled_dot_product_attention(query, self.key_norm(key), value, mask)
        joined: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return joined

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.view(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


class MLP(nn.Sequential):
    """Two linear layers with GELU between them, four times as wide inside."""

    def __init__(self, dim: int) -> None:
        super().__init__(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))


class SelfBlock(nn.Module):
    """Self-attention, then an MLP."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = MLP(dim)
        start_at_zero(self.attention.out, self.mlp[2])

    def forward(self, tokens: Tensor, seen: Tensor | None = None) -> Tensor:
        """Mix `tokens` (B, n, dim) among themselves, those alone that are `seen` (B, n); same shape."""
        normed = self.norm(tokens)
        tokens = tokens + self.attention(normed, normed, seen)
        mixed: Tensor = tokens + self.mlp(self.mlp_norm(tokens))
        return mixed


class CompletionBlock(nn.Module):
    """Self-attention among latent tokens, cross-attention to the LR tokens, then an MLP.

    The paper names cross-attention alone ("HR latent tokens act as queries, the LR tokens provide keys and
    values", 4.3). Read literally, no observed tile could inform an unobserved one, although the predictor
    "consumes the entire sparse observation pattern at once"; the self-attention is what lets it.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.self_norm = nn.LayerNorm(dim)
        self.self_attention = Attention(dim, heads)
        self.cross_norm = nn.LayerNorm(dim)
        self.context_norm = nn.LayerNorm(dim)
        self.cross_attention = Attention(dim, heads)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = MLP(dim)
        start_at_zero(self.self_attention.out, self.cross_attention.out, self.mlp[2])

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """Update latent `tokens` (B, n, dim) under LR `context` (B, m, dim); same shape as `tokens`."""
        normed = self.self_norm(tokens)
        tokens = tokens + self.self_attention(normed, normed)
        tokens = tokens + self.cross_attention(self.cross_norm(tokens), self.context_norm(context))
        mixed: Tensor = tokens + self.mlp(self.mlp_norm(tokens))
        return mixed


class CrossBlock(nn.Module):
    """Cross-attention to the LR tokens, then an MLP: 4.3 read literally, for the ablation."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.cross_norm = nn.LayerNorm(dim)
        self.context_norm = nn.LayerNorm(dim)
        self.cross_attention = Attention(dim, heads)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = MLP(dim)
        start_at_zero(self.cross_attention.out, self.mlp[2])

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        """Update latent `tokens` (B, n, dim), each by itself, under LR `context` (B, m, dim); same shape."""
        tokens = tokens + self.cross_attention(self.cross_norm(tokens), self.context_norm(context))
        mixed: Tensor = tokens + self.mlp(self.mlp_norm(tokens))
        return mixed


class ContextFreeBlock(nn.Module):
    """Self-attention and an MLP; LR is not read (Table 6, predictor without LR context)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.block = SelfBlock(dim, heads)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:  # noqa: ARG002 - one face for all blocks
        """Update latent `tokens` (B, n, dim); same shape."""
        mixed: Tensor = self.block(tokens)
        return mixed


BLOCKS: Mapping[str, Callable[[int, int], nn.Module]] = MappingProxyType(
    {"self and cross": CompletionBlock, "cross": CrossBlock, "self": ContextFreeBlock}
)
"""Blocks of the predictor by what they attend to."""


class AttentionPool(nn.Module):
    """One learned query that gathers any number of tokens: SigLIP's pooling head.

    A mean over a scene's 1,600 tokens would dilute an object on one tile a hundredfold.
    """

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, 1, dim) * 0.02)
        self.norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, heads)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = MLP(dim)
        start_at_zero(self.mlp[2])

    def forward(self, tokens: Tensor, seen: Tensor | None = None) -> Tensor:
        """Gather `tokens` (B, n, dim), those alone that are `seen` (B, n), into (B, dim)."""
        query = self.query.expand(len(tokens), -1, -1)
        pooled = self.attention(query, self.norm(tokens), seen)[:, 0]
        mixed: Tensor = pooled + self.mlp(self.mlp_norm(pooled))
        return mixed


def start_at_zero(*layers: nn.Module) -> None:
    """Set weights and biases of linear layers to zero, so that a residual branch begins silent."""
    for layer in layers:
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)
