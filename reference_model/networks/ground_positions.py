"""Positions on the ground instead of in the image: what makes Scale-MAE aware of resolution.

The sine and cosine of a token's place, the place multiplied by the metres that a pixel covers (equation 1 of
Reed et al., 2023, with a reference of 1 m): the same ground has the same positions at any resolution.
"""

import torch
from torch import Tensor

LONGEST_WAVE = 10_000.0


def ground_positions(grid: int, dim: int, metres: float) -> Tensor:
    """Positions of a square grid of tokens.

    Args:
        grid: tokens on a side.
        dim: channels, a multiple of 4; the first half tells the column, the second the row, as in the masked
            autoencoders.
        metres: ground that one pixel covers, on a side.

    Returns:
        float32 (grid * grid, dim), row-major.
    """
    frequency = LONGEST_WAVE ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    angle = metres * torch.arange(grid, dtype=torch.float64)[:, None] * frequency
    wave = torch.cat([angle.sin(), angle.cos()], dim=1)
    columns, rows = wave[None].expand(grid, -1, -1), wave[:, None].expand(-1, grid, -1)
    return torch.cat([columns, rows], dim=-1).flatten(0, 1).float()
