"""ResNet-50 on PyTorch alone, with the names of torchvision's, whose ImageNet weights it reads.

The variant with the stride in the 3 x 3 convolution ("v1.5"), as torchvision has it. Images are float32
(N, 3, px, px), normalised by ImageNet's mean and deviation.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor, nn

from reference_model.networks.checkpoint_names import load_named

BLOCKS: Final = (3, 4, 6, 3)
WIDTH: Final = 64
EXPANSION: Final = 4
DIM: Final = 8 * WIDTH * EXPANSION
STRIDE: Final = 32
"""Pixels of the image that one token stands for, on a side."""


class ResNet(nn.Module):
    """Bottleneck blocks in four stages; the classifier is left out."""

    def __init__(self, blocks: Sequence[int] = BLOCKS, width: int = WIDTH) -> None:
        """Build the network: ResNet-50 by default, 23,508,032 parameters."""
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        narrow = width
        for place, count in enumerate(blocks):
            inner = width << place
            stage = []
            for number in range(count):
                stride = 2 if place and number == 0 else 1
                stage.append(_Bottleneck(narrow, inner, stride=stride))
                narrow = EXPANSION * inner
            self.add_module(f"layer{place + 1}", nn.Sequential(*stage))
        self.stages = len(blocks)

    def forward(self, images: Tensor) -> Tensor:
        """Encode images into tokens (N, (px / 32) ** 2, 2048), row-major from the north-west."""
        features = F.max_pool2d(F.relu(self.bn1(self.conv1(images))), 3, stride=2, padding=1)
        for place in range(self.stages):
            features = self.get_submodule(f"layer{place + 1}")(features)
        return features.flatten(2).transpose(1, 2)


class _Bottleneck(nn.Module):
    """Narrow, convolve, widen, and add what came in."""

    def __init__(self, narrow: int, inner: int, *, stride: int) -> None:
        super().__init__()
        wide = EXPANSION * inner
        self.conv1 = nn.Conv2d(narrow, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, wide, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(wide)
        self.downsample = None
        if stride > 1 or narrow != wide:
            self.downsample = nn.Sequential(
                nn.Conv2d(narrow, wide, 1, stride=stride, bias=False), nn.BatchNorm2d(wide)
            )

    def forward(self, images: Tensor) -> Tensor:
        mixed = F.relu(self.bn1(self.conv1(images)))
        mixed = F.relu(self.bn2(self.conv2(mixed)))
        added: Tensor = self.bn3(self.conv3(mixed))
        return F.relu(added + (images if self.downsample is None else self.downsample(images)))


def load_resnet(network: ResNet, state: Mapping[str, Tensor]) -> None:
    """Copy torchvision's state dict; the classifier is passed over.

    Raises:
        CheckpointNamesError: a part is missing, unknown or of another shape.
    """
    load_named(network, {name: one for name, one in state.items() if not name.startswith("fc.")})
