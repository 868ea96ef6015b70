"""Published encoders behind the face of `encoder.Backbone`: those of the table, and those of other packages.

Their weights come from `published_files`; nothing here starts at random.
"""

from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor, nn

from gl10m.scene.footprint import LR_PIXELS
from reference_model.networks import efficientnet, resnet
from reference_model.networks.checkpoint_names import CheckpointNamesError, load_published
from reference_model.networks.encoder import Encoding, Sensor
from reference_model.networks.published_files import find_weights, read_weights
from reference_model.networks.published_table import ENCODERS, METRES, Published
from reference_model.networks.vision_transformer import VisionTransformer

__all__ = [
    "ENCODERS",
    "ForeignEntryError",
    "OwnNetwork",
    "Published",
    "PublishedEncoder",
    "installed_encoders",
    "loaded",
    "open_published",
]

GROUP = "gl10m.encoders"
"""Entry points of other packages: the name of an encoder, and a function from the file of its weights, or
None, to a `PublishedEncoder`."""


class ForeignEntryError(TypeError, RuntimeError):
    """An entry point of another package gives something else than it should, or cannot be loaded.

    It is a RuntimeError too, which the commands tell in one line.
    """


def loaded(found: EntryPoint) -> Any:  # noqa: ANN401 - whatever the package has there
    """What an entry point names.

    Raises:
        ForeignEntryError: its package lacks it or cannot be imported.
    """
    try:
        return found.load()
    except (ImportError, AttributeError) as error:
        raise ForeignEntryError(
            f"entry point {found.name} of group {found.group} names {found.value}, which cannot be imported "
            f"({error}). Correct the package that declares it, or uninstall it."
        ) from error


class OwnNetwork(nn.Module):
    """What a network of another package derives from to stand behind the face of `encoder.Backbone`.

    Its `forward` takes float32 (N, 3, px, px), resized to `Published.input_px` and normalised by the mean and
    deviation there, and gives tokens (N, (px / stride) ** 2, dim), row-major from the north-west.
    """

    dim: int
    """Channels of a token."""

    stride: int
    """Pixels of the image that one token stands for, on a side."""


class PublishedEncoder(nn.Module):
    """A published network behind the face of `encoder.Backbone`; frozen.

    Both sensors see the same weights and the same normalisation: the networks were trained on 8-bit RGB.
    """

    mean: Tensor
    deviation: Tensor
    log_scale: Tensor
    """Logarithm of 1 / tau of Eq. 9, where the checkpoint has a text tower."""

    bias: Tensor | None
    """b of Eq. 9, where it has one."""

    source: Path | None
    """The file that its weights are from; a CLIP's holds its text tower too."""

    def __init__(self, published: Published, own: "OwnNetwork | None" = None) -> None:
        """Build the network; its weights are undefined until `load` has put them there.

        Args:
            published: what it is.
            own: a network that is none of ours, with its weights; nothing is built then.
        """
        super().__init__()
        self.published = published
        shape = published.shape
        self.network: nn.Module
        if own is not None:
            self.network = own.eval().requires_grad_(requires_grad=False)
            self.dim, self.embedding, stride = own.dim, own.dim, own.stride
        elif shape is not None:
            self.network = VisionTransformer(shape)
            self.dim, self.embedding, stride = shape.dim, shape.embedding, shape.patch
        elif published.convolutions == "resnet50":
            self.network = resnet.ResNet()
            self.dim, self.embedding, stride = resnet.DIM, resnet.DIM, resnet.STRIDE
        else:
            self.network = efficientnet.EfficientNetLite0()
            self.dim, self.embedding, stride = efficientnet.DIM, efficientnet.DIM, efficientnet.STRIDE
        self.grid = published.input_px // stride
        self.log_scale, self.bias = torch.tensor(0.0), None
        self.source = None
        for name, values in (("mean", published.mean), ("deviation", published.deviation)):
            self.register_buffer(name, 255 * torch.tensor(values).view(3, 1, 1))

    def load(self, state: Mapping[str, Tensor]) -> "PublishedEncoder":
        """Take in a published state dict; returns the encoder, frozen.

        Raises:
            CheckpointNamesError: it is that of another network (a ValueError).
        """
        if "logit_scale" in state:
            self.log_scale = _number(state, "logit_scale")
        if "logit_bias" in state:
            self.bias = _number(state, "logit_bias")
        if isinstance(self.network, VisionTransformer):
            load_published(self.network, state, self.published.dialect)
        elif isinstance(self.network, resnet.ResNet):
            resnet.load_resnet(self.network, state)
        elif isinstance(self.network, efficientnet.EfficientNetLite0):
            efficientnet.load_lite0(self.network, state)
            efficientnet.fuse(self.network.eval())
        return self.eval().requires_grad_(requires_grad=False)

    def encode(self, images: Tensor, sensor: Sensor) -> Encoding:
        """Encode uint8 (N, 3, h, w); see `encoder.Backbone.encode`."""
        side = (self.published.input_px, self.published.input_px)
        pixels = images.float()
        if images.shape[-2:] != side:
            pixels = F.interpolate(pixels, side, mode="bicubic", antialias=True).clamp(0, 255)
        pixels = (pixels - self.mean) / self.deviation
        if not isinstance(self.network, VisionTransformer):
            tokens: Tensor = self.network(pixels.contiguous(memory_format=torch.channels_last))
            gathered = tokens.mean(dim=1)
        else:
            metres = METRES[sensor] * LR_PIXELS / self.published.input_px
            tokens, gathered = self.network(pixels, metres)
        return Encoding(tokens, F.normalize(gathered, dim=-1))


def open_published(
    name: str, weights: Path | None = None, *, input_px: int | None = None
) -> PublishedEncoder:
    """A published encoder with its weights.

    Args:
        name: a key of ENCODERS.
        weights: the file; looked for where the package registry and the hub put theirs if None.
        input_px: pixels on a side to which it resizes images; those of ENCODERS if None.

    Raises:
        ValueError: there is no such encoder, or the file holds another network.
        ForeignEntryError: another package registers it and gives something else than an encoder.
        WeightsNotFoundError: the weights are not on this machine (a FileNotFoundError).
        WeightsDamagedError: the file cannot be read (a ValueError).
    """
    if name in (installed := installed_encoders()):
        return _opened(installed[name], weights)
    if name not in ENCODERS:
        known = ", ".join(sorted({*ENCODERS, *installed}))
        raise ValueError(f"an encoder is one of {known}; asked for {name!r}")
    published = ENCODERS[name]
    path = find_weights(name, weights)
    wanted = published if input_px is None else replace(published, input_px=input_px)
    encoder = PublishedEncoder(wanted).load(read_weights(path))
    encoder.source = path
    return encoder


def installed_encoders() -> Mapping[str, EntryPoint]:
    """Encoders that other packages register, by name.

    Raises:
        ForeignEntryError: one takes the name of another encoder.
    """
    found: dict[str, EntryPoint] = {}
    for one in sorted(entry_points(group=GROUP), key=lambda entry: (entry.name, entry.value)):
        if one.name in ENCODERS or one.name in found:
            raise ForeignEntryError(
                f"entry point {one.name} of group {GROUP} has the name of another encoder, in whose place it "
                f"would be opened; {one.value} declares it. Give it another name, or uninstall it."
            )
        found[one.name] = one
    return found


def _number(state: Mapping[str, Tensor], name: str) -> Tensor:
    """A scalar of a checkpoint, float32 (); files have it with and without a dimension."""
    if state[name].numel() != 1:
        raise CheckpointNamesError(
            f"the checkpoint is that of another network: {name} is one number, and has the shape "
            f"{tuple(state[name].shape)} in it. Name the encoder that the file was made for."
        )
    return state[name].float().reshape(())


def _opened(found: EntryPoint, weights: Path | None) -> PublishedEncoder:
    opened = loaded(found)(weights)
    if not isinstance(opened, PublishedEncoder):
        raise ForeignEntryError(
            f"entry point {found.name} of group {GROUP} must give a PublishedEncoder; {found.value} gives "
            f"{type(opened).__name__}. Correct the package that declares it, or uninstall it."
        )
    return opened.eval().requires_grad_(requires_grad=False)
