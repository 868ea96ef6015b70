"""A vision transformer that computes what the published ones compute, on PyTorch alone.

SigLIP, DINOv2, DINOv3, CLIP and the masked autoencoders differ in a dozen switches; `Shape` names them.
Which published name goes where is the business of `checkpoint_names`. Images are float32 (N, 3, px, px),
normalised; tokens are (N, grid * grid, dim), row-major from the north-west.
"""

from dataclasses import dataclass
from math import isqrt, pi
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor, nn

from reference_model.networks.ground_positions import ground_positions

Activation = Literal["gelu", "gelu_tanh", "quick_gelu"]
Gather = Literal["class", "mean", "attention"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What distinguishes one published transformer from another."""

    patch: int
    """Pixels on a side of one token."""

    native_px: int
    """Pixels on a side of the images it was trained on."""

    dim: int
    depth: int
    heads: int
    hidden: int
    """Channels inside an MLP."""

    eps: float
    """Of the layer norms."""

    activation: Activation = "gelu"
    class_token: bool = True
    registers: int = 0
    """Further tokens without a place."""

    position: Literal["learned", "rotary", "ground"] = "learned"
    """ground: fixed, by the metres that a pixel covers (Scale-MAE)."""

    class_position: bool = True
    """Whether the class token has a learned position too."""

    position_antialias: bool = False
    """Whether learned positions are smoothed when brought to a coarser grid (DINOv2 with registers)."""

    patch_bias: bool = True
    key_bias: bool = True
    norm_first: bool = False
    """A layer norm before the first block (CLIP)."""

    layer_scale: bool = False
    gather: Gather = "class"
    """How tokens become one vector: the class token, their mean, or SigLIP's attention pool."""

    projection: int | None = None
    """Channels of the space shared with the texts, where a linear layer leads there (CLIP)."""

    @property
    def embedding(self) -> int:
        """Channels of an embedding."""
        return self.projection or self.dim

    @property
    def native_grid(self) -> int:
        """Tokens on a side of an image of the size it was trained on."""
        return self.native_px // self.patch


class VisionTransformer(nn.Module):
    """Pre-norm blocks on `scaled_dot_product_attention`."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        places = shape.native_grid**2 + (shape.class_token and shape.class_position)
        self.patches = nn.Conv2d(3, shape.dim, shape.patch, stride=shape.patch, bias=shape.patch_bias)
        self.class_token = nn.Parameter(torch.zeros(1, 1, shape.dim)) if shape.class_token else None
        self.registers = nn.Parameter(torch.zeros(1, shape.registers, shape.dim)) if shape.registers else None
        learned = shape.position == "learned"
        self.position = nn.Parameter(torch.zeros(1, places, shape.dim)) if learned else None
        self.norm_first = nn.LayerNorm(shape.dim, eps=shape.eps) if shape.norm_first else nn.Identity()
        self.blocks = nn.ModuleList(_Block(shape) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.dim, eps=shape.eps)
        self.pool = _AttentionPool(shape) if shape.gather == "attention" else None
        self.project = nn.Linear(shape.dim, shape.projection, bias=False) if shape.projection else None

    def forward(self, images: Tensor, metres: float = 1.0) -> tuple[Tensor, Tensor]:
        """Encode images whose side is a multiple of the patch.

        Args:
            images: float (N, 3, px, px), normalised.
            metres: ground that one pixel covers, on a side; for positions on the ground alone.

        Returns:
            Tokens (N, grid * grid, dim) after the last norm, and embeddings (N, embedding), not normalised.

        Raises:
            ValueError: the side is no multiple of the patch.
        """
        if images.shape[-1] % self.shape.patch or images.shape[-1] != images.shape[-2]:
            raise ValueError(
                f"images are square, their side a multiple of {self.shape.patch} pixels; got "
                f"{tuple(images.shape[-2:])}"
            )
        grid = images.shape[-1] // self.shape.patch
        tokens = self.patches(images).flatten(2).transpose(1, 2)
        if self.shape.position == "ground":
            tokens = tokens + ground_positions(grid, self.shape.dim, metres).to(tokens)
        tokens = self.norm_first(self._placed(tokens, grid))
        turn = self._rotation(grid, tokens) if self.shape.position == "rotary" else None
        for block in self.blocks:
            tokens = block(tokens, turn)
        tokens = self.norm(tokens)
        places = tokens[:, tokens.shape[1] - grid * grid :]
        return places, self._gathered(tokens, places)

    def _placed(self, tokens: Tensor, grid: int) -> Tensor:
        """Add positions and put the tokens without a place in front."""
        shape, first = self.shape, []
        if self.position is not None:
            own = int(shape.class_token and shape.class_position)
            tokens = tokens + _resized(self.position[:, own:], grid, antialias=shape.position_antialias)
            if self.class_token is not None:
                first = [self.class_token + self.position[:, :own] if own else self.class_token]
        elif self.class_token is not None:
            first = [self.class_token]
        if self.registers is not None:
            first.append(self.registers)
        return torch.cat([part.expand(len(tokens), -1, -1) for part in first] + [tokens], dim=1)

    def _rotation(self, grid: int, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return rotary(grid, self.shape.dim // self.shape.heads, tokens)

    def _gathered(self, tokens: Tensor, places: Tensor) -> Tensor:
        if self.pool is not None:
            one: Tensor = self.pool(places)
        elif self.shape.gather == "class":
            one = tokens[:, 0]
        else:
            one = places.mean(dim=1)
        return one if self.project is None else self.project(one)


class _Attention(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.query = nn.Linear(shape.dim, shape.dim)
        self.key = nn.Linear(shape.dim, shape.dim, bias=shape.key_bias)
        self.value = nn.Linear(shape.dim, shape.dim)
        self.out = nn.Linear(shape.dim, shape.dim)

    def forward(self, tokens: Tensor, context: Tensor, turn: tuple[Tensor, Tensor] | None = None) -> Tensor:
        query, key = self._split(self.query(tokens)), self._split(self.key(context))
        if turn is not None:
            query, key = _rotated(query, turn), _rotated(key, turn)
        mixed = F.scaled_dot_product_attention(query, key, self._split(self.value(context)))
        joined: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return joined

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.view(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


class _MLP(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.widen = nn.Linear(shape.dim, shape.hidden)
        self.narrow = nn.Linear(shape.hidden, shape.dim)
        self.activation = shape.activation

    def forward(self, tokens: Tensor) -> Tensor:
        wide = self.widen(tokens)
        if self.activation == "quick_gelu":
            bent = wide * torch.sigmoid(1.702 * wide)
        else:
            bent = F.gelu(wide, approximate="tanh" if self.activation == "gelu_tanh" else "none")
        narrow: Tensor = self.narrow(bent)
        return narrow


class _Block(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(shape.dim, eps=shape.eps)
        self.attention = _Attention(shape)
        self.mlp_norm = nn.LayerNorm(shape.dim, eps=shape.eps)
        self.mlp = _MLP(shape)
        self.scale = nn.Parameter(torch.ones(shape.dim)) if shape.layer_scale else None
        self.mlp_scale = nn.Parameter(torch.ones(shape.dim)) if shape.layer_scale else None

    def forward(self, tokens: Tensor, turn: tuple[Tensor, Tensor] | None) -> Tensor:
        normed = self.norm(tokens)
        tokens = tokens + _scaled(self.attention(normed, normed, turn), self.scale)
        return tokens + _scaled(self.mlp(self.mlp_norm(tokens)), self.mlp_scale)


class _AttentionPool(nn.Module):
    """SigLIP's head: one learned query, then an MLP."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.zeros(1, 1, shape.dim))
        self.attention = _Attention(shape)
        self.norm = nn.LayerNorm(shape.dim, eps=shape.eps)
        self.mlp = _MLP(shape)

    def forward(self, tokens: Tensor) -> Tensor:
        pooled = self.attention(self.query.expand(len(tokens), -1, -1), tokens)
        mixed: Tensor = pooled + self.mlp(self.norm(pooled))
        return mixed[:, 0]


def rotary(grid: int, head_dim: int, like: Tensor, theta: float = 100.0) -> tuple[Tensor, Tensor]:
    """Cosine and sine of DINOv3's rotary positions: patch centres in [-1, 1], half the channels a direction.

    Args:
        grid: tokens on a side.
        head_dim: channels of one head, a multiple of 4.
        like: a tensor of the wanted device and dtype.
        theta: base of the wavelengths.

    Returns:
        Two tensors (grid * grid, head_dim).
    """
    frequency = theta ** -torch.arange(0, 1, 4 / head_dim, dtype=torch.float32, device=like.device)
    centres = (torch.arange(grid, dtype=torch.float32, device=like.device) + 0.5) / grid * 2 - 1
    places = torch.stack(torch.meshgrid(centres, centres, indexing="ij"), dim=-1).flatten(0, 1)
    angle = (2 * pi * places[:, :, None] * frequency).flatten(1, 2).tile(2)
    return angle.cos().to(like.dtype), angle.sin().to(like.dtype)


def _rotated(heads: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the tokens that have a place: the last ones."""
    cosine, sine = turn
    first, placed = heads[:, :, : -len(cosine)], heads[:, :, -len(cosine) :]
    left, right = placed.chunk(2, dim=-1)
    return torch.cat([first, placed * cosine + torch.cat([-right, left], dim=-1) * sine], dim=2)


def _resized(position: Tensor, grid: int, *, antialias: bool) -> Tensor:
    """Learned positions (1, n * n, dim) for another grid, bicubic as the published models do."""
    side = isqrt(position.shape[1])
    if side == grid:
        return position
    square = position.transpose(1, 2).reshape(1, -1, side, side)
    resized = F.interpolate(square.float(), (grid, grid), mode="bicubic", antialias=antialias)
    return resized.to(position.dtype).flatten(2).mT


def _scaled(tokens: Tensor, scale: Tensor | None) -> Tensor:
    return tokens if scale is None else tokens * scale
