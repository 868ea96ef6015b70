"""The predictor of the paper's authors, as their published weights have it (github.com/xzhacc/CrossSO).

Written from the names and shapes of their state dicts and the layers that these stand for; no line is
theirs. It comes in two sizes: beside DINOv2 and a text tower, and inside the space of GRAFT. Tokens of tiles
are (N, 100, p * p, dim), tile = 10 * row + column, north-west first.

It differs from `predictor.Predictor` in what the paper leaves open: positions are learned, LR is averaged to
2 x 2 tokens a tile, and observed tiles come out of the blocks like all others.
"""

from dataclasses import dataclass
from math import isqrt

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor, nn

from gl10m.scene.grid import GRID, TILES
from reference_model.networks.positions import grid_to_tiles

LR_SIDE = 2
"""Tokens of the overview on a side of one tile."""

LARGEST_SCALE = 100.0
"""No cosine is multiplied by more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompleterShape:
    """Which of the two sizes."""

    dim: int
    heads: int
    side: int
    """p, tokens on a side of a tile between the blocks."""

    depth: int = 12
    halved: bool = False
    """Whether a convolution halves the tokens of a tile before the blocks, and another doubles them after."""

    words: int | None = None
    """Channels of a text tower's space, where a layer leads there."""

    @property
    def side_out(self) -> int:
        """Tokens on a side of a completed tile."""
        return 2 * self.side if self.halved else self.side


VISION_LANGUAGE = CompleterShape(dim=768, heads=12, side=4, words=512)
"""vision_language_predictor.safetensors: DINOv2 tokens in, a layer into the space of CLIP ViT-B/32 behind."""

GRAFT_SPACE = CompleterShape(dim=512, heads=8, side=7, halved=True)
"""feature_predictor.safetensors: patches of GRAFT's NAIP encoder in and out."""


class Completer(nn.Module):
    """Completes a scene from LR and the tiles that were bought."""

    def __init__(self, shape: CompleterShape) -> None:
        """Build it; its weights are undefined until `crossso_files.read_completer` has put them there."""
        super().__init__()
        self.shape, dim = shape, shape.dim
        self.lift = nn.Sequential(nn.Linear(dim, dim), nn.LayerNorm(dim), nn.GELU(), nn.Linear(dim, dim))
        self.tile_place = nn.Parameter(torch.zeros(1, TILES, dim))
        self.fine_place = nn.Parameter(torch.zeros(1, shape.side**2, dim))
        self.lr_place = nn.Parameter(torch.zeros(1, LR_SIDE**2, dim))
        self.unseen = nn.Parameter(torch.zeros(1, 1, 1, dim))
        self.blocks = nn.ModuleList(_GuidedBlock(dim, shape.heads) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(dim)
        self.down = nn.Conv2d(dim, dim, 2, stride=2) if shape.halved else None
        self.up = nn.ConvTranspose2d(dim, dim, 2, stride=2) if shape.halved else None
        self.up_norm = nn.LayerNorm(dim) if shape.halved else None
        spoken = shape.words is not None
        self.to_words = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, shape.words)) if shape.words else None
        self.log_scale = nn.Parameter(torch.zeros(())) if spoken else None
        self.bias = nn.Parameter(torch.zeros(())) if spoken else None

    def context(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """What the blocks see of LR.

        Args:
            tokens: of the overview, (N, n * n, dim), row-major from the north-west.

        Returns:
            Keys and values (N, 1 + 400, dim), their mean first; and the mean of each tile before positions
            are added, (N, 100, dim).
        """
        cells = F.adaptive_avg_pool2d(_as_grid(tokens), GRID * LR_SIDE).permute(0, 2, 3, 1)
        lifted: Tensor = self.lift(grid_to_tiles(cells))
        placed = (lifted + self.tile_place.unsqueeze(2) + self.lr_place.unsqueeze(1)).flatten(1, 2)
        return torch.cat([placed.mean(dim=1, keepdim=True), placed], dim=1), lifted.mean(dim=2)

    def observed(self, tokens: Tensor) -> Tensor:
        """Tokens (K, n * n, dim) of K bought tiles in the number that the blocks take, (K, p * p, dim)."""
        grid = _as_grid(tokens)
        fewer = F.adaptive_avg_pool2d(grid, self.shape.side) if self.down is None else self.down(grid)
        return fewer.flatten(2).mT

    def forward(self, observed: Tensor, selected: Tensor, context: Tensor) -> Tensor:
        """Complete scenes.

        Args:
            observed: (number selected, p * p, dim), in the order of `selected.nonzero()`.
            selected: bool (N, 100).
            context: (N, 401, dim), see `context`.

        Returns:
            (N, 100, q * q, dim), q = `shape.side_out`; observed tiles too have gone through the blocks.
        """
        scenes, each = len(selected), self.shape.side**2
        laid = self.unseen.expand(scenes, TILES, each, -1).clone()
        laid[selected] = observed.to(laid.dtype)
        tokens = (laid + self.tile_place.unsqueeze(2) + self.fine_place.unsqueeze(1)).flatten(1, 2)
        for block in self.blocks:
            tokens = block(tokens, context)
        completed: Tensor = self.norm(tokens).view(scenes, TILES, each, -1)
        if self.up is None or self.up_norm is None:
            return completed
        wide = self.up(_as_grid(completed.flatten(0, 1))).flatten(2).mT
        doubled: Tensor = self.up_norm(wide).view(scenes, TILES, self.shape.side_out**2, -1)
        return doubled

    def likeness(self, tokens: Tensor, words: Tensor) -> Tensor:
        """Scaled cosines of tokens (..., dim) and words (classes, 512) of length 1: (..., classes).

        Raises:
            TypeError: this size has no layer into the space of words.
        """
        if self.to_words is None or self.log_scale is None or self.bias is None:
            raise TypeError(f"{self.shape} has no layer into the space of words")
        cosines = F.normalize(self.to_words(tokens), dim=-1) @ words.T
        return cosines * self.log_scale.exp().clamp(max=LARGEST_SCALE) + self.bias


class _GuidedBlock(nn.Module):
    """Self-attention among the scene's tokens, cross-attention to LR, an MLP; pre-norm, LR as it comes."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.self_norm, self.cross_norm, self.mlp_norm = (nn.LayerNorm(dim) for _ in range(3))
        self.self_attention, self.cross_attention = _JointAttention(dim, heads), _JointAttention(dim, heads)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        normed = self.self_norm(tokens)
        tokens = tokens + self.self_attention(normed, normed)
        tokens = tokens + self.cross_attention(self.cross_norm(tokens), context)
        mixed: Tensor = tokens + self.mlp(self.mlp_norm(tokens))
        return mixed


class _JointAttention(nn.Module):
    """Attention whose query, key and value matrices are kept as one, as `nn.MultiheadAttention` does."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.joint, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, tokens: Tensor, context: Tensor) -> Tensor:
        weights, biases = self.joint.weight.chunk(3), self.joint.bias.chunk(3)
        query, key, value = (
            F.linear(given, weight, bias).view(*given.shape[:2], self.heads, -1).transpose(1, 2)
            for given, weight, bias in zip((tokens, context, context), weights, biases, strict=True)
        )
        mixed: Tensor = self.out(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
        return mixed


def _as_grid(tokens: Tensor) -> Tensor:
    """Tokens (N, n * n, dim) as an image (N, dim, n, n)."""
    side = isqrt(tokens.shape[1])
    return tokens.mT.reshape(len(tokens), -1, side, side)
