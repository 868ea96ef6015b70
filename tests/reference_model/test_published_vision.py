"""Our transformer computes what the published classes compute, with random weights, through their files."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from reference_model.networks.checkpoint_names import CheckpointNamesError, load_published, read_state
from reference_model.networks.vision_transformer import Shape, VisionTransformer

transformers = pytest.importorskip("transformers", reason="the published classes come with the extra `hub`")

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "image_size": 32,
    "patch_size": 8,
}
WIDE = {**SIZES, "intermediate_size": 64}
COMMON: dict[str, Any] = {"patch": 8, "native_px": 32, "dim": 32, "depth": 2, "heads": 4, "hidden": 64}

SIGLIP = Shape(**COMMON, eps=1e-6, activation="gelu_tanh", class_token=False, gather="attention")
DINO = Shape(**COMMON, eps=1e-6, layer_scale=True)
DINO_REGISTERS = Shape(**COMMON, eps=1e-6, layer_scale=True, registers=4)
DINO_3 = Shape(
    **COMMON, eps=1e-5, layer_scale=True, registers=4, position="rotary", class_position=False, key_bias=False
)
CLIP = Shape(**COMMON, eps=1e-5, activation="quick_gelu", norm_first=True, patch_bias=False, projection=16)
MAE = Shape(**COMMON, eps=1e-12)


def images(px: int = 32) -> Tensor:
    return torch.randn(3, 3, px, px, generator=torch.Generator().manual_seed(1))


def published(kind: str) -> Any:  # noqa: ANN401 - a class of transformers
    """A published class with weights that are random everywhere: biases and norms too."""
    torch.manual_seed(0)
    model = {
        "siglip": lambda: transformers.SiglipVisionModel(transformers.SiglipVisionConfig(**WIDE)),
        "dinov2": lambda: transformers.Dinov2Model(transformers.Dinov2Config(**SIZES, mlp_ratio=2)),
        "registers": lambda: transformers.Dinov2WithRegistersModel(
            transformers.Dinov2WithRegistersConfig(**SIZES, mlp_ratio=2)
        ),
        "dinov3": lambda: transformers.DINOv3ViTModel(
            transformers.DINOv3ViTConfig(**WIDE, num_register_tokens=4)
        ),
        "clip": lambda: transformers.CLIPVisionModelWithProjection(
            transformers.CLIPVisionConfig(**WIDE, projection_dim=16)
        ),
        "mae": lambda: transformers.ViTMAEModel(transformers.ViTMAEConfig(**WIDE, mask_ratio=0.0)),
    }[kind]()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2)
    return model.eval()


def ours(shape: Shape, state: dict[str, Tensor], dialect: str = "transformers") -> VisionTransformer:
    network = VisionTransformer(shape)
    load_published(network, state, dialect)
    return network.eval()


def from_file(model: Any, folder: Path) -> dict[str, Tensor]:  # noqa: ANN401
    """The weights as the hub has them: `save_pretrained` writes the published names."""
    model.save_pretrained(folder)
    return load_file(folder / "model.safetensors")


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("siglip", SIGLIP),
        ("dinov2", DINO),
        ("registers", DINO_REGISTERS),
        ("dinov3", DINO_3),
        ("clip", CLIP),
    ],
)
@pytest.mark.parametrize("read", ["file", "memory"])
@torch.no_grad()
def test_tokens_and_embeddings_are_those_of_the_published_class(
    kind: str, shape: Shape, read: str, tmp_path: Path
) -> None:
    model = published(kind)
    state = from_file(model, tmp_path) if read == "file" else model.state_dict()
    tokens, embedding = ours(shape, state)(images())
    theirs = model(pixel_values=images())
    hidden = theirs.last_hidden_state[:, -16:]
    if kind == "clip":  # its last norm is applied to the class token alone
        norm = getattr(model, "vision_model", model).post_layernorm
        hidden = norm(hidden)
    torch.testing.assert_close(tokens, hidden, atol=1e-5, rtol=1e-4)
    gathered = theirs.image_embeds if kind == "clip" else theirs.pooler_output
    torch.testing.assert_close(embedding, gathered, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_a_masked_autoencoder_without_a_mask_gives_the_same_tokens(tmp_path: Path) -> None:
    model = published("mae")
    tokens, embedding = ours(MAE, from_file(model, tmp_path))(images())
    # Its tokens come back shuffled; the noise says how.
    order = torch.arange(16.0).expand(3, -1)
    theirs = model(pixel_values=images(), noise=order).last_hidden_state
    torch.testing.assert_close(tokens, theirs[:, 1:], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(embedding, theirs[:, 0], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_positions_are_resized_as_the_published_class_does(tmp_path: Path) -> None:
    model = published("dinov2")
    tokens, _ = ours(DINO, from_file(model, tmp_path))(images(48))
    torch.testing.assert_close(tokens, model(images(48)).last_hidden_state[:, 1:], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_dialects_of_open_clip_and_timm_name_the_same_networks() -> None:
    clip = VisionTransformer(CLIP)
    for parameter in clip.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.2)
    tokens, embedding = ours(CLIP, _as_open_clip(clip), "open_clip")(images())
    torch.testing.assert_close((tokens, embedding), clip(images()))
    dino = VisionTransformer(DINO)
    for parameter in dino.parameters():
        parameter.copy_(torch.randn_like(parameter) * 0.2)
    torch.testing.assert_close(ours(DINO, _as_timm(dino), "timm")(images()), dino(images()))


def _as_open_clip(network: VisionTransformer) -> dict[str, Tensor]:
    """The state dict as open_clip's `VisionTransformer` names it (src/open_clip/transformer.py)."""
    state = network.state_dict()
    assert network.project is not None
    named = {
        "visual.conv1.weight": state["patches.weight"],
        "visual.class_embedding": state["class_token"].flatten(),
        "visual.positional_embedding": state["position"][0],
        "visual.proj": network.project.weight.T,
        "token_embedding.weight": torch.zeros(4, 4),
        "logit_scale": torch.zeros(()),
    }
    for place in ("weight", "bias"):
        named[f"visual.ln_pre.{place}"] = state[f"norm_first.{place}"]
        named[f"visual.ln_post.{place}"] = state[f"norm.{place}"]
        for block in range(network.shape.depth):
            mine, theirs = f"blocks.{block}", f"visual.transformer.resblocks.{block}"
            joined = [state[f"{mine}.attention.{part}.{place}"] for part in ("query", "key", "value")]
            named[f"{theirs}.attn.in_proj_{place}"] = torch.cat(joined)
            named[f"{theirs}.attn.out_proj.{place}"] = state[f"{mine}.attention.out.{place}"]
            named[f"{theirs}.ln_1.{place}"] = state[f"{mine}.norm.{place}"]
            named[f"{theirs}.ln_2.{place}"] = state[f"{mine}.mlp_norm.{place}"]
            named[f"{theirs}.mlp.c_fc.{place}"] = state[f"{mine}.mlp.widen.{place}"]
            named[f"{theirs}.mlp.c_proj.{place}"] = state[f"{mine}.mlp.narrow.{place}"]
    return named


def _as_timm(network: VisionTransformer) -> dict[str, Tensor]:
    """The state dict as timm's `VisionTransformer` names it, with a classifier that nobody needs."""
    state = network.state_dict()
    named = {
        "cls_token": state["class_token"],
        "pos_embed": state["position"],
        "head.weight": torch.zeros(10, 32),
        "mask_token": torch.zeros(1, 32),
    }
    for block in range(network.shape.depth):
        named[f"blocks.{block}.ls1.gamma"] = state[f"blocks.{block}.scale"]
        named[f"blocks.{block}.ls2.gamma"] = state[f"blocks.{block}.mlp_scale"]
    for place in ("weight", "bias"):
        named[f"patch_embed.proj.{place}"] = state[f"patches.{place}"]
        named[f"norm.{place}"] = state[f"norm.{place}"]
        for block in range(network.shape.depth):
            mine = f"blocks.{block}"
            joined = [state[f"{mine}.attention.{part}.{place}"] for part in ("query", "key", "value")]
            named[f"{mine}.attn.qkv.{place}"] = torch.cat(joined)
            named[f"{mine}.attn.proj.{place}"] = state[f"{mine}.attention.out.{place}"]
            named[f"{mine}.norm1.{place}"] = state[f"{mine}.norm.{place}"]
            named[f"{mine}.norm2.{place}"] = state[f"{mine}.mlp_norm.{place}"]
            named[f"{mine}.mlp.fc1.{place}"] = state[f"{mine}.mlp.widen.{place}"]
            named[f"{mine}.mlp.fc2.{place}"] = state[f"{mine}.mlp.narrow.{place}"]
    return named


def test_a_missing_or_unknown_part_is_an_error_and_never_a_random_start(tmp_path: Path) -> None:
    state = from_file(published("dinov2"), tmp_path)
    short = {name: one for name, one in state.items() if "layer.1.mlp.fc1" not in name}
    with pytest.raises(CheckpointNamesError, match=r"2 parts are missing \(blocks.1.mlp.widen"):
        ours(DINO, short)
    with pytest.raises(CheckpointNamesError, match="unknown"):
        ours(DINO, {**state, "encoder.layer.0.gate.weight": torch.zeros(1)})
    with pytest.raises(CheckpointNamesError, match="missing"):
        ours(SIGLIP, state)
    with pytest.raises(CheckpointNamesError, match="no state dict"):
        read_state({"epoch": 3})
