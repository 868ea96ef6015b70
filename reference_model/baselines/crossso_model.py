"""The published model of the paper's authors, opened: from uint8 images to scores of tiles and classes.

Images are resized as their evaluation does it, through 8-bit values: the overview by bilinear interpolation,
to 280 pixels for the router and to 260 for the encoder; tiles by bicubic interpolation to 260.
"""

from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor, nn

from reference_model.networks.crossso import VISION_LANGUAGE
from reference_model.networks.crossso_files import (
    ROUTER,
    VISION_LANGUAGE_PREDICTOR,
    find_file,
    read_completer,
    read_router,
)
from reference_model.networks.published import ENCODERS, open_published
from reference_model.networks.published_files import find_weights
from reference_model.networks.published_table import IMAGENET_DEVIATION, IMAGENET_MEAN
from reference_model.networks.vision_transformer import VisionTransformer

DINO = "dinov2-registers"
"""The frozen encoder of both sensors, and the shape of the router's own."""

ROUTER_PX, ENCODER_PX = 280, 260

TILES_AT_ONCE = 64


class AuthorsModel(nn.Module):
    """Router, frozen DINOv2, predictor."""

    def __init__(self, folder: Path | None, dino: Path | None) -> None:
        """Read all files.

        Args:
            folder: of the files of xiehaoai/CrossSO; looked for in the hub's cache if None.
            dino: file of facebook/dinov2-with-registers-base; looked for likewise.

        Raises:
            WeightsNotFoundError: a file is not on this machine (a FileNotFoundError).
            WeightsDamagedError, CheckpointNamesError: a file is not what was published (ValueErrors).
        """
        super().__init__()
        shape = ENCODERS[DINO].shape
        if shape is None:
            raise TypeError(f"{DINO} is a transformer")
        router, self.file = find_file(ROUTER, folder), find_file(VISION_LANGUAGE_PREDICTOR, folder)
        self.router = read_router(router, shape)
        self.completer = read_completer(self.file, VISION_LANGUAGE)
        self.encoder = open_published(DINO, find_weights(DINO, dino)).network

    def worth(self, overviews: Tensor) -> Tensor:
        """Logits of the tiles, (N, 100), for overviews uint8 (N, 3, h, w); HR is not read."""
        scores: Tensor = self.router(self._prepared(overviews, ROUTER_PX, "bilinear"))
        return scores

    def context(self, overviews: Tensor) -> tuple[Tensor, Tensor]:
        """What the predictor sees of overviews uint8 (N, 3, h, w); see `Completer.context`."""
        return self.completer.context(self._encoded(overviews, "bilinear"))

    def observed(self, tiles: Tensor) -> Tensor:
        """Tokens (K, p * p, dim) of bought tiles, uint8 (K, 3, h, w)."""
        each = self.completer.shape.side**2
        found = [tiles.new_zeros(0, each, self.completer.shape.dim, dtype=torch.float32)]
        found += [
            self.completer.observed(self._encoded(part, "bicubic"))
            for part in torch.split(tiles, TILES_AT_ONCE)
            if len(part)
        ]
        return torch.cat(found)

    def scores(self, observed: Tensor, selected: Tensor, context: Tensor, words: Tensor) -> Tensor:
        """Complete scenes and score classes, (N, classes): each by the one token that is most like it."""
        completed = self.completer(observed, selected, context)
        best: Tensor = self.completer.likeness(completed.flatten(1, 2), words).amax(dim=1)
        return best

    def _encoded(self, images: Tensor, mode: Literal["bilinear", "bicubic"]) -> Tensor:
        tokens: Tensor = self.encoder(self._prepared(images, ENCODER_PX, mode))[0]
        return tokens

    def _prepared(self, images: Tensor, px: int, mode: Literal["bilinear", "bicubic"]) -> Tensor:
        network = self.encoder
        patch = network.shape.patch if isinstance(network, VisionTransformer) else 1
        whole = px - px % patch  # a strided convolution leaves the rest out
        return normalised(images, px, mode, IMAGENET_MEAN, IMAGENET_DEVIATION)[..., :whole, :whole]


def normalised(
    images: Tensor,
    px: int,
    mode: Literal["bilinear", "bicubic"],
    mean: tuple[float, float, float],
    deviation: tuple[float, float, float],
) -> Tensor:
    """Resize uint8 (N, 3, h, w) to (N, 3, px, px) as PIL does, and normalise.

    PIL resizes rows and columns one after the other and rounds to bytes after each. All but some pixels in a
    hundred come out the same, those by one or two levels otherwise.
    """
    pixels = images.float()
    for size in ((images.shape[-2], px), (px, px)):
        if pixels.shape[-2:] != size:
            pixels = F.interpolate(pixels, size, mode=mode, antialias=True).round().clamp(0, 255)
    centre, spread = (pixels.new_tensor(one).view(3, 1, 1) for one in (mean, deviation))
    return (pixels / 255 - centre) / spread
