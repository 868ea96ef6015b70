"""What chooses tiles in the model of the paper's authors: DINOv2 and a few convolutions, from LR alone.

Written from the names and shapes of router.safetensors and the layers that these stand for; no line is
theirs.
"""

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor, nn

from gl10m.scene.grid import GRID
from reference_model.networks.vision_transformer import Shape, VisionTransformer

WIDTH = 512
"""Channels of the convolutions."""

GROUPS = 32
"""Groups of their norms."""


class Router(nn.Module):
    """Scores 100 tiles by an overview; its DINOv2 is fine-tuned and lies in the same file."""

    def __init__(self, shape: Shape) -> None:
        """Build it; its weights are undefined until `crossso_files.read_router` has put them there.

        Args:
            shape: of its transformer, `ENCODERS["dinov2-registers"].shape` in the published file.
        """
        super().__init__()
        self.network = VisionTransformer(shape)
        self.head = nn.Sequential(
            nn.Conv2d(shape.dim + 2, WIDTH, 1, bias=False),  # two more channels tell column and row
            nn.GroupNorm(GROUPS, WIDTH),
            nn.GELU(),
            nn.Conv2d(WIDTH, WIDTH, 3, stride=2, padding=1, bias=False),
            nn.GroupNorm(GROUPS, WIDTH),
            nn.GELU(),
            nn.Conv2d(WIDTH, 1, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Score tiles.

        Args:
            images: overviews, normalised, float32 (N, 3, px, px), px a multiple of 14; published for 280.

        Returns:
            Logits float32 (N, 100), tile = 10 * row + column, north-west first.
        """
        tokens, _ = self.network(images)
        side = images.shape[-1] // self.network.shape.patch
        grid = tokens.mT.reshape(len(tokens), -1, side, side)
        steps = torch.linspace(-1, 1, side, device=grid.device, dtype=grid.dtype)
        column, row = steps.expand(side, side), steps[:, None].expand(side, side)
        places = torch.stack([column, row]).expand(len(grid), -1, -1, -1)
        logits = self.head(torch.cat([grid, places], dim=1))
        tiles: Tensor = F.interpolate(logits, (GRID, GRID), mode="bilinear").flatten(1)
        return tiles
