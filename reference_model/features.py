"""Encoded scenes: what the stages read of them, and in which shapes."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

TokenType = Literal["float16", "int8"]
"""How the tokens of tiles are kept. int8 has a scale for each scene and channel and takes half the room."""


@dataclass(frozen=True, slots=True)
class Features:
    """Encoded scenes, memory-mapped; row = row of the catalogue."""

    hr: Tensor
    """Tokens of the tiles, float16 or int8 (scenes, 100, p * p, dim), to be multiplied by `hr_scale`."""

    hr_scale: Tensor
    """float32 (scenes, dim); 1 where the tokens are float16."""

    lr: Tensor
    """Tokens of the overview, float16 (scenes, n * n, dim)."""

    hr_embedding: Tensor
    """Embeddings of the tiles, float32 (scenes, 100, embedding)."""

    lr_embedding: Tensor
    """Embeddings of the overview, float32 (scenes, embedding)."""

    cues: Tensor
    """Structural cues of the tiles, float32 (scenes, 100, 3)."""

    device: torch.device = torch.device("cpu")  # noqa: RUF009 - immutable
    """Where what the methods give lies; the cache itself stays in memory that is mapped."""

    def target(self, rows: Tensor) -> Tensor:
        """H* of Eq. 8: float32 (len(rows), 100, p * p, dim)."""
        return self._here(self.hr[rows]) * self._here(self.hr_scale[rows])[:, None, None]

    def context(self, rows: Tensor) -> Tensor:
        """F^g: float32 (len(rows), n * n, dim)."""
        return self._here(self.lr[rows])

    def observed(self, rows: Tensor, selected: Tensor) -> Tensor:
        """F^h_S of Eq. 2: tokens of selected tiles alone; the others are not read.

        Args:
            rows: scenes, (B,).
            selected: bool (B, 100).

        Returns:
            float32 (number selected, p * p, dim), in the order of `selected.nonzero()`.
        """
        place, tile = selected.cpu().nonzero(as_tuple=True)
        return self._here(self.hr[rows[place], tile]) * self._here(self.hr_scale[rows[place]])[:, None]

    def _here(self, values: Tensor) -> Tensor:
        return values.to(self.device, non_blocking=True).float()


def pooled(tokens: Tensor, side: int) -> Tensor:
    """Average tokens (N, n * n, dim) into (N, side * side, dim).

    Raises:
        ValueError: `side` does not divide n.
    """
    across = round(tokens.shape[1] ** 0.5)
    if across % side:
        raise ValueError(f"tokens kept on a side must divide the encoder's {across}; asked for {side}")
    window = across // side
    grid = tokens.view(len(tokens), side, window, side, window, -1)
    return grid.mean(dim=(2, 4)).flatten(1, 2)
