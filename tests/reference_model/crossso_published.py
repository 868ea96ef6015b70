"""Files of xiehaoai/CrossSO with random weights: names, shapes and headers as published, sizes as asked for.

Names and shapes are facts of the state dicts; the published sizes are the defaults of `Sizes`.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

# fmt: off
POLICY_NAMES = (
    "tennis", "skate", "football", "swimming", "cemetery", "garage", "golf", "roundabout", "parkinglot",
    "supermarket", "school", "marina", "baseball", "fall", "pond", "airport", "beach", "bridge",
    "religious", "residential", "warehouse", "office", "farmland", "university", "forest", "lake",
    "naturereserve", "park", "sand", "soccer", "equestrian", "shooting", "icerink", "commercialarea",
    "garden", "dam", "railroad", "highway", "river", "wetland",
)
# fmt: on
"""The 40 concepts of their policy, in its order."""

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789-."
VOCABULARY = [*LETTERS, *(f"{one}</w>" for one in LETTERS), "<|startoftext|>", "<|endoftext|>"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """Sizes of the networks."""

    dim: int = 768
    depth: int = 12
    """Blocks of a transformer, and of a predictor."""

    places: int = 37
    """Learned positions on a side of DINOv2."""

    graft_dim: int = 512
    words: int = 512
    """Channels of the text towers."""


class Drawn:
    """Random tensors by name; norms and biases too are off their start."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.state: dict[str, Tensor] = {}

    def add(self, name: str, *shape: int) -> None:
        fan = max(1, torch.Size(shape[1:]).numel())
        drawn = torch.randn(shape, generator=self.generator) / fan**0.5
        norm = name.endswith("weight") and len(shape) == 1
        self.state[name] = 1 + 0.2 * drawn if norm else drawn

    def linear(self, name: str, wide: int, narrow: int) -> None:
        self.add(f"{name}.weight", wide, narrow)
        self.add(f"{name}.bias", wide)

    def norm(self, name: str, dim: int) -> None:
        self.add(f"{name}.weight", dim)
        self.add(f"{name}.bias", dim)


def dino(sizes: Sizes, prefix: str = "", seed: int = 1) -> dict[str, Tensor]:
    """DINOv2 with registers, as its file on the hub names it."""
    drawn, dim = Drawn(seed), sizes.dim
    drawn.add(f"{prefix}embeddings.cls_token", 1, 1, dim)
    drawn.add(f"{prefix}embeddings.mask_token", 1, dim)
    drawn.add(f"{prefix}embeddings.register_tokens", 1, 4, dim)
    drawn.add(f"{prefix}embeddings.position_embeddings", 1, 1 + sizes.places**2, dim)
    drawn.add(f"{prefix}embeddings.patch_embeddings.projection.weight", dim, 3, 14, 14)
    drawn.add(f"{prefix}embeddings.patch_embeddings.projection.bias", dim)
    for place in range(sizes.depth):
        one = f"{prefix}encoder.layer.{place}"
        for part in ("attention.attention.query", "attention.attention.key", "attention.attention.value"):
            drawn.linear(f"{one}.{part}", dim, dim)
        drawn.linear(f"{one}.attention.output.dense", dim, dim)
        drawn.linear(f"{one}.mlp.fc1", 4 * dim, dim)
        drawn.linear(f"{one}.mlp.fc2", dim, 4 * dim)
        for part in ("norm1", "norm2"):
            drawn.norm(f"{one}.{part}", dim)
        for part in ("layer_scale1", "layer_scale2"):
            drawn.add(f"{one}.{part}.lambda1", dim)
    drawn.norm(f"{prefix}layernorm", dim)
    return drawn.state


def router(sizes: Sizes) -> dict[str, Tensor]:
    """router.safetensors."""
    drawn = Drawn(2)
    drawn.add("router_head.net.0.weight", 512, sizes.dim + 2, 1, 1)
    drawn.norm("router_head.net.1", 512)
    drawn.add("router_head.net.3.weight", 512, 512, 3, 3)
    drawn.norm("router_head.net.4", 512)
    drawn.add("router_head.net.7.weight", 1, 512, 1, 1)
    drawn.add("router_head.net.7.bias", 1)
    return {f"model.{name}": one for name, one in (dino(sizes, "backbone.model.", 3) | drawn.state).items()}


def predictor(dim: int, each: int, depth: int) -> Drawn:
    """What both predictors hold."""
    drawn = Drawn(4)
    for name in ("lr_proj.0", "lr_proj.3"):
        drawn.linear(name, dim, dim)
    drawn.norm("lr_proj.1", dim)
    for name, count in (("tile_pos_embed", 100), ("sub_pos_embed", each), ("lr_sub_pos_embed", 4)):
        drawn.add(f"{name}.pos", 1, count, dim)
    drawn.add("mask_token", 1, 1, 1, dim)
    for place in range(depth):
        one = f"predictor.layers.{place}"
        for part in ("norm1", "norm2", "norm3"):
            drawn.norm(f"{one}.{part}", dim)
        for part in ("self_attn", "cross_attn"):
            drawn.add(f"{one}.{part}.in_proj_weight", 3 * dim, dim)
            drawn.add(f"{one}.{part}.in_proj_bias", 3 * dim)
            drawn.linear(f"{one}.{part}.out_proj", dim, dim)
        drawn.linear(f"{one}.mlp.0", 4 * dim, dim)
        drawn.linear(f"{one}.mlp.3", dim, 4 * dim)
    drawn.norm("predictor.norm", dim)
    return drawn


def vision_language_predictor(sizes: Sizes) -> dict[str, Tensor]:
    """vision_language_predictor.safetensors."""
    drawn = predictor(sizes.dim, 16, sizes.depth)
    drawn.norm("siglip_visual_proj.0", sizes.dim)
    drawn.linear("siglip_visual_proj.1", sizes.words, sizes.dim)
    return drawn.state | {
        "siglip_logit_scale": torch.tensor(2.5),
        "siglip_logit_bias": torch.tensor(-0.3),
    }


def feature_predictor(sizes: Sizes) -> dict[str, Tensor]:
    """feature_predictor.safetensors; its names may stand under `core.`."""
    dim = sizes.graft_dim
    drawn = predictor(dim, 49, sizes.depth)
    for name in ("hr_pooler.conv", "upsample_head.upsample"):
        drawn.add(f"{name}.weight", dim, dim, 2, 2)
        drawn.add(f"{name}.bias", dim)
    drawn.norm("upsample_head.norm", dim)
    return {f"core.{name}": one for name, one in drawn.state.items()}


def graft(sizes: Sizes, seed: int) -> dict[str, Tensor]:
    """GRAFT's image tower in its wrapper, with what it projects patches with."""
    drawn, dim = Drawn(seed), sizes.dim
    tower = "satellite_image_backbone.vision_model"
    drawn.add(f"{tower}.embeddings.class_embedding", dim)
    drawn.add(f"{tower}.embeddings.patch_embedding.weight", dim, 3, 16, 16)
    drawn.add(f"{tower}.embeddings.position_embedding.weight", 197, dim)
    for name in ("pre_layrnorm", "post_layernorm"):
        drawn.norm(f"{tower}.{name}", dim)
    for place in range(sizes.depth):
        one = f"{tower}.encoder.layers.{place}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            drawn.linear(f"{one}.self_attn.{part}", dim, dim)
        for part in ("layer_norm1", "layer_norm2"):
            drawn.norm(f"{one}.{part}", dim)
        drawn.linear(f"{one}.mlp.fc1", 4 * dim, dim)
        drawn.linear(f"{one}.mlp.fc2", dim, 4 * dim)
    drawn.add("satellite_image_backbone.visual_projection.weight", sizes.graft_dim, dim)
    drawn.norm("projector.0", dim)
    drawn.add("projector.1.weight", sizes.graft_dim, dim)
    return drawn.state | {"logit_scale": torch.tensor(2.6)}


def counts() -> dict[str, int]:
    """A policy: none, 2 or 5 tiles a class."""
    return {name: (0, 2, 5)[place % 3] for place, name in enumerate(POLICY_NAMES)}


def notes() -> dict[str, str]:
    """The header of vision_language_predictor.safetensors."""
    policy = {"per_class": [{"name": name, "Pc": one} for name, one in counts().items()], "default_pc": 12}
    statistics = {
        "class_names": list(POLICY_NAMES),
        "hr_mad": [0.1 + 0.01 * place for place in range(40)],
        "lr_median": [-0.3 + 0.001 * place for place in range(40)],
        "lr_mad": [0.05 + 0.001 * place for place in range(40)],
    }
    fusion = {
        "method": "robust_mad_tail",
        "pooling": "mean",
        "positive_weight": 0.5,
        "negative_weight": 0.25,
        "tail_threshold": 0.8,
        "statistics": statistics,
    }
    return {"pc_policy": json.dumps(policy), "fusion": json.dumps(fusion)}


def write_published(folder: Path, sizes: Sizes) -> Path:
    """All files of the repository, GRAFT's as safetensors."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(router(sizes), folder / "router.safetensors")
    save_file(
        vision_language_predictor(sizes), folder / "vision_language_predictor.safetensors", metadata=notes()
    )
    save_file(feature_predictor(sizes), folder / "feature_predictor.safetensors")
    save_file(graft(sizes, 5), folder / "graft_naip.safetensors")
    save_file(graft(sizes, 6), folder / "graft_sentinel.safetensors")
    return folder


def write_text_tower(folder: Path, words: int, *, seed: int = 7) -> Path:
    """A CLIP's text tower in the form of pytorch_model.bin, and a tokenizer that spells."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn, dim = Drawn(seed), 128
    drawn.add("text_model.embeddings.token_embedding.weight", len(VOCABULARY), dim)
    drawn.add("text_model.embeddings.position_embedding.weight", 77, dim)
    one = "text_model.encoder.layers.0"
    for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
        drawn.linear(f"{one}.self_attn.{part}", dim, dim)
    for part in ("layer_norm1", "layer_norm2"):
        drawn.norm(f"{one}.{part}", dim)
    drawn.linear(f"{one}.mlp.fc1", 2 * dim, dim)
    drawn.linear(f"{one}.mlp.fc2", dim, 2 * dim)
    drawn.norm("text_model.final_layer_norm", dim)
    drawn.add("text_projection.weight", words, dim)
    torch.save(drawn.state, folder / "pytorch_model.bin")
    ends = {"bos_token_id": len(VOCABULARY) - 2, "eos_token_id": len(VOCABULARY) - 1}
    shape = {"hidden_size": dim, "intermediate_size": 2 * dim, "num_attention_heads": 2}
    text = {**shape, **ends, "vocab_size": len(VOCABULARY), "num_hidden_layers": 1, "projection_dim": words}
    told = {"model_type": "clip", "projection_dim": words, "text_config": text}
    (folder / "config.json").write_text(json.dumps(told))
    (folder / "vocab.json").write_text(json.dumps({one: place for place, one in enumerate(VOCABULARY)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    marks = {"bos_token": VOCABULARY[-2], "eos_token": VOCABULARY[-1], "unk_token": VOCABULARY[-1]}
    tokenizer = {**marks, "pad_token": VOCABULARY[-1], "model_max_length": 77}
    (folder / "tokenizer_config.json").write_text(
        json.dumps({**tokenizer, "tokenizer_class": "CLIPTokenizer"})
    )
    return folder
