"""Where a token lies: fixed 2-D positions, and the way from tiles to the scene's grid and back.

Tile tokens have shape (batch, 100, p * p, dim): tile = 10 * row + column, north-west first, and the p x p
tokens of a tile in the same order. The scene's grid has shape (batch, 10 * p, 10 * p, dim), row 0 in the
north.
"""

from math import isqrt

import torch
from torch import Tensor

from gl10m.scene.grid import GRID, TILES

LONGEST_WAVE = 10_000.0
"""Base of the wavelengths, as in the first transformer."""


def sincos(side: int, dim: int) -> Tensor:
    """Sine and cosine positions of a square grid.

    Args:
        side: cells on a side.
        dim: channels, a multiple of 4: half tell the row, half the column.

    Returns:
        float32 (side * side, dim), row-major. Distances are in cells.

    Raises:
        ValueError: dim is not a multiple of 4.
    """
    return sincos_at(lattice(side, side), dim)


def sincos_at(places: Tensor, dim: int) -> Tensor:
    """Sine and cosine positions of any places.

    Args:
        places: row and column in cells, float64 (n, 2).
        dim: channels, a multiple of 4.

    Returns:
        float32 (n, dim).

    Raises:
        ValueError: dim is not a multiple of 4.
    """
    if dim % 4:
        raise ValueError(f"positions need a multiple of 4 channels; asked for {dim}")
    frequency = LONGEST_WAVE ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    angle = places[..., None] * frequency.to(places.device)
    return torch.cat([angle.sin(), angle.cos()], dim=-1).flatten(1).float()


def lattice(side: int, cells: int) -> Tensor:
    """Centres of a square of side x side tokens that covers a square of cells x cells.

    Returns:
        Row and column in cells, the first cell's centre being 0: float64 (side * side, 2), row-major.
    """
    steps = (torch.arange(side, dtype=torch.float64) + 0.5) * (cells / side) - 0.5
    return torch.cartesian_prod(steps, steps)


def tiles_to_grid(tokens: Tensor) -> Tensor:
    """Lay tile tokens (B, 100, p * p, d) out on the scene's grid (B, 10 p, 10 p, d)."""
    side = isqrt(tokens.shape[2])
    grid = tokens.reshape(-1, GRID, GRID, side, side, tokens.shape[-1])
    return grid.transpose(2, 3).reshape(-1, GRID * side, GRID * side, tokens.shape[-1])


def grid_to_tiles(grid: Tensor) -> Tensor:
    """Cut the scene's grid (B, 10 p, 10 p, d) into tile tokens (B, 100, p * p, d)."""
    side = grid.shape[1] // GRID
    tokens = grid.reshape(-1, GRID, side, GRID, side, grid.shape[-1])
    return tokens.transpose(2, 3).reshape(-1, TILES, side * side, grid.shape[-1])


def turned(grid: Tensor, turn: int, *, rows: int) -> Tensor:
    """One of the 8 ways to turn and mirror a square.

    Args:
        grid: a tensor whose dimensions `rows` and `rows + 1` are the rows and columns of a square.
        turn: 0..7: quarter turns, mirrored for 4 and more. 0 changes nothing.
        rows: the dimension of the rows.

    Returns:
        A tensor of the same shape. The same turn of an image and of its tile grid shows the same ground.
    """
    if turn >= 4:  # noqa: PLR2004 - four quarter turns, then their mirror images
        grid = grid.flip(rows)
    return torch.rot90(grid, turn % 4, (rows, rows + 1))
