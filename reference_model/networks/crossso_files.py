"""Reads the files that the paper's authors published as xiehaoai/CrossSO into networks of ours.

Names and shapes are checked one by one; a part that is missing, unknown or of another shape is an error, and
nothing starts at random. Files are safetensors, or what `torch.load(weights_only=True)` reads without being
allowed any further class.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from reference_model.networks.checkpoint_names import load_exactly, load_published, misfit, renamed
from reference_model.networks.crossso import Completer, CompleterShape
from reference_model.networks.crossso_router import Router
from reference_model.networks.published import ENCODERS, PublishedEncoder
from reference_model.networks.published_files import (
    WeightsDamagedError,
    WeightsNotFoundError,
    cached_file,
    read_tensors,
)
from reference_model.networks.vision_transformer import Shape, VisionTransformer

HUB_ID = "xiehaoai/CrossSO"
LICENCE = "CC-BY-4.0"

_REMEDY = f"Fetch the file of that name from {HUB_ID}."

ROUTER, VISION_LANGUAGE_PREDICTOR = "router.safetensors", "vision_language_predictor.safetensors"
FEATURE_PREDICTOR = "feature_predictor.safetensors"
GRAFT_NAIP, GRAFT_SENTINEL = "graft_naip.ckpt", "graft_sentinel.ckpt"

_COMPLETER = (
    (r"^core\.", ""),
    (r"^lr_proj\.", "lift."),
    (r"^tile_pos_embed\.pos$", "tile_place"),
    (r"^sub_pos_embed\.pos$", "fine_place"),
    (r"^lr_sub_pos_embed\.pos$", "lr_place"),
    (r"^mask_token$", "unseen"),
    (r"^predictor\.norm\.", "norm."),
    (r"^predictor\.layers\.(\d+)\.", r"blocks.\1."),
    (r"^(blocks\.\d+)\.norm1\.", r"\1.self_norm."),
    (r"^(blocks\.\d+)\.norm2\.", r"\1.cross_norm."),
    (r"^(blocks\.\d+)\.norm3\.", r"\1.mlp_norm."),
    (r"^(blocks\.\d+)\.(self|cross)_attn\.in_proj_", r"\1.\2_attention.joint."),
    (r"^(blocks\.\d+)\.(self|cross)_attn\.out_proj\.", r"\1.\2_attention.out."),
    (r"^(blocks\.\d+)\.mlp\.3\.", r"\1.mlp.2."),
    (r"^hr_pooler\.conv\.", "down."),
    (r"^upsample_head\.upsample\.", "up."),
    (r"^upsample_head\.norm\.", "up_norm."),
    (r"^siglip_visual_proj\.", "to_words."),
    (r"^siglip_logit_scale$", "log_scale"),
    (r"^siglip_logit_bias$", "bias"),
)
"""From their names to those of `Completer`."""

_OF_COMPLETER = ("lr_proj", "tile_pos_embed", "sub_pos_embed", "lr_sub_pos_embed", "mask_token", "predictor")
_OF_HALVED = ("hr_pooler", "upsample_head")
_OF_WORDS = ("siglip_visual_proj", "siglip_logit_scale", "siglip_logit_bias")
"""First words of the names that belong to a predictor. Others, as a copy of an encoder, are passed over."""

_HEAD_PLACES = {"0": "0", "1": "1", "3": "3", "4": "4", "7": "6"}
"""Layers of the router's head: theirs has one of dropout in between, which computes nothing here."""

_BACKBONE, _ROUTER_HEAD = "backbone.model.", "router_head.net."
_GRAFT, _PROJECTOR = "satellite_image_backbone.", "projector."
_PATCH_WAY = {
    "projector.0.weight": "vision_model.post_layernorm.weight",
    "projector.0.bias": "vision_model.post_layernorm.bias",
    "projector.1.weight": "visual_projection.weight",
}
"""GRAFT leads patches into the shared space by a norm and a matrix of their own; for patches these stand
where CLIP's are for the class token."""


def find_file(name: str, folder: Path | None = None) -> Path:
    """One of the published files; a `.safetensors` of the same name goes before a `.ckpt`.

    Args:
        name: as published.
        folder: where the files are; looked for in the hub's cache on this machine if None.

    Raises:
        WeightsNotFoundError: it is not there (a FileNotFoundError).
    """
    names = dict.fromkeys((str(Path(name).with_suffix(".safetensors")), name))
    for one in names:
        path = cached_file(HUB_ID, one) if folder is None else folder / one
        if path is not None and path.is_file():
            return path
    raise WeightsNotFoundError(
        f"the authors' model needs {' or '.join(names)} of {HUB_ID}, which is not "
        f"{f'in {folder}' if folder else 'on this machine'}. Fetch it (`hf download {HUB_ID} {name}`), or "
        "name the folder with --row-weights; no random weights take its place."
    )


def read_notes(path: Path, name: str) -> Mapping[str, Any]:
    """A JSON object that a .safetensors file carries in its header beside the tensors.

    Raises:
        WeightsDamagedError: there is none of that name.
    """
    try:
        with safe_open(path, framework="pt") as opened:
            told = json.loads((opened.metadata() or {})[name])
    except (SafetensorError, OSError, KeyError, ValueError, RecursionError) as error:
        raise WeightsDamagedError(
            f"{path} carries no {name} in its header ({type(error).__name__}). Fetch it again from {HUB_ID}."
        ) from error
    if not isinstance(told, dict):
        raise WeightsDamagedError(f"{name} of {path} is no JSON object. Fetch it again from {HUB_ID}.")
    return told


def read_router(path: Path, shape: Shape) -> Router:
    """The router, frozen.

    Raises:
        CheckpointNamesError: the file holds another network.
        WeightsDamagedError: it cannot be read.
    """
    router = Router(shape)
    state = {name.removeprefix("model."): one for name, one in read_tensors(path).items()}
    load_published(router.network, _under(state, _BACKBONE), "transformers")
    head = {_layer(name): one for name, one in _under(state, _ROUTER_HEAD).items()}
    others = {name: one for name, one in state.items() if not name.startswith((_BACKBONE, _ROUTER_HEAD))}
    load_exactly(router.head, head | others, said=_said(path), remedy=_REMEDY)
    return router.eval().requires_grad_(requires_grad=False)


def _layer(name: str) -> str:
    place, _, rest = name.partition(".")
    return f"{_HEAD_PLACES.get(place, f'unknown {place}')}.{rest}"


def read_completer(path: Path, shape: CompleterShape) -> Completer:
    """A predictor, frozen; see `read_router`."""
    completer = Completer(shape)
    roots = (*_OF_COMPLETER, *(_OF_HALVED if shape.halved else ()), *(_OF_WORDS if shape.words else ()))
    found = {}
    for name, tensor in read_tensors(path).items():
        if name.removeprefix("core.").partition(".")[0] in roots:
            found[renamed(name, _COMPLETER)] = tensor
    load_exactly(completer, found, said=_said(path), remedy=_REMEDY)
    return completer.eval().requires_grad_(requires_grad=False)


def read_graft_patches(path: Path) -> VisionTransformer:
    """GRAFT's NAIP encoder as far as patches go: its tokens times `project` are in the space of the texts.

    Raises:
        CheckpointNamesError: the file holds another network.
        WeightsDamagedError: it cannot be read.
    """
    shape = ENCODERS["graft"].shape
    if shape is None:
        raise TypeError("GRAFT is a transformer")
    state = read_tensors(path)
    foreign = [name for name in state if not name.startswith((_GRAFT, _PROJECTOR)) and name != "logit_scale"]
    lacking = [name for name in _PATCH_WAY if name not in state]
    if foreign or lacking:
        raise misfit(lacking, foreign, said=_said(path), remedy=_REMEDY)
    vision = _under(state, _GRAFT) | {ours: state[theirs] for theirs, ours in _PATCH_WAY.items()}
    network = VisionTransformer(shape)
    load_published(network, vision, "transformers")
    return network.eval().requires_grad_(requires_grad=False)


def read_graft_sentinel(path: Path) -> PublishedEncoder:
    """GRAFT's Sentinel-2 encoder at the size it was trained at; see `read_graft_patches`."""
    encoder = PublishedEncoder(replace(ENCODERS["graft"], input_px=ENCODERS["graft"].native_px))
    return encoder.load(read_tensors(path))


def _under(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): one for name, one in state.items() if name.startswith(prefix)}


def _said(path: Path) -> str:
    return f"{path} is not what was published under that name"
