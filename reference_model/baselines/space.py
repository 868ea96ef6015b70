"""The setting's encoder with the way into the space of the class names, and what every row does with it."""

import copy

import torch
from torch import Tensor, nn

from gl10m.scene.grid import GRID
from reference_model.face import Setting
from reference_model.job import ALIGNER
from reference_model.networks.encoder import Backbone, Sensor
from reference_model.networks.vision_transformer import VisionTransformer
from reference_model.shared_space import Aligner

LAST_BLOCKS = 4
"""Blocks of a published transformer that a student trains; the earlier ones keep their weights."""


class SharedEncoder(nn.Module):
    """Images to embeddings of length 1 beside the class names."""

    def __init__(self, encoder: nn.Module, aligner: Aligner | None) -> None:
        super().__init__()
        self.encoder, self.aligner = encoder, aligner

    def forward(self, images: Tensor, sensor: Sensor) -> Tensor:
        """Embed uint8 (N, 3, h, w) into float32 (N, embedding)."""
        encoder: Backbone = self.encoder  # type: ignore[assignment]  # the constructor's caller has seen to it
        encoding = encoder.encode(images, sensor)
        embedded: Tensor = encoding.embeddings if self.aligner is None else self.aligner(encoding.tokens)
        return embedded


def shared_encoder(setting: Setting) -> SharedEncoder:
    """A frozen copy of the setting's encoder, with the aligner where the run has learned one.

    Raises:
        TypeError: the encoder is no PyTorch module, so that it cannot be copied and trained.
    """
    if not isinstance(setting.encoder, nn.Module):
        raise TypeError(
            "this row trains a copy of the encoder, which must be a torch.nn.Module; got "
            f"{type(setting.encoder).__name__}. Derive the encoder from torch.nn.Module."
        )
    aligner = None
    if setting.job.run.has(ALIGNER):
        aligner = Aligner(setting.features.hr.shape[-1], setting.texts.embeddings.shape[1], 0.5)
        setting.job.run.load(ALIGNER, aligner=aligner)
    frozen = SharedEncoder(copy.deepcopy(setting.encoder), aligner).requires_grad_(requires_grad=False)
    return frozen.eval().to(setting.job.team.device)


def unfrozen(student: SharedEncoder) -> SharedEncoder:
    """Let the encoder learn: all of a small one, the last blocks of a published transformer."""
    student.encoder.requires_grad_()
    network = getattr(student.encoder, "network", None)
    if isinstance(network, VisionTransformer):
        network.requires_grad_(requires_grad=False)
        for part in (*network.blocks[-LAST_BLOCKS:], network.norm, network.pool, network.project):
            if part is not None:
                part.requires_grad_()
    return student


def crops(overviews: Tensor) -> Tensor:
    """Cut LR images along the tile grid.

    Args:
        overviews: uint8 (N, 3, px, px).

    Returns:
        uint8 (N * 100, 3, h, h), scene by scene, tile = 10 * row + column. A tile gets 26.8 of 268 pixels;
        the crops have 27, so that neighbours share a pixel here and there.
    """
    pixels = overviews.shape[-1]
    wide = -(-pixels // GRID)
    edges = [min(pixels * place // GRID, pixels - wide) for place in range(GRID)]
    parts = [overviews[:, :, top : top + wide, left : left + wide] for top in edges for left in edges]
    return torch.stack(parts, dim=1).flatten(0, 1)
