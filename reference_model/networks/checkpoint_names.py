"""From the names of published state dicts to those of `VisionTransformer`.

Three dialects: files of `transformers` (and its models in memory, which 5.x names otherwise), of open_clip
and OpenAI, and of timm, which DINO's and the masked autoencoders' own releases follow. A name that no rule
knows, or that is missing, is an error: a part left at its random start would go unnoticed.
"""

import pickle
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import safetensors
import torch
from torch import Tensor, nn

from reference_model.networks.vision_transformer import VisionTransformer

UNREADABLE = (
    safetensors.SafetensorError,
    pickle.UnpicklingError,
    RuntimeError,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    RecursionError,
    MemoryError,
    AssertionError,
)
"""What PyTorch, safetensors and json raise over bytes that are none of theirs, or describe something else."""

_COMMON = (
    (r"^patch_embed(?:dings?)?(?:\.projection|\.proj)?", "patches"),
    (r"^(?:cls_token|class_embedding)$", "class_token"),
    (r"^(?:register_tokens|reg_token|storage_tokens)$", "registers"),
    (r"^(?:position_embeddings?|pos_embed|positional_embedding)(?:\.weight)?$", "position"),
)

TRANSFORMERS = (
    (r"^satellite_image_backbone\.", ""),  # GRAFT
    (r"^vision_model\.", ""),
    (r"^embeddings\.", ""),
    (r"^pre_layrnorm\.", "norm_first."),
    (r"^(?:post_layernorm|layernorm|norm)\.", "norm."),
    (r"^visual_projection\.", "project."),
    (r"^head\.probe$", "pool.query"),
    (r"^head\.layernorm\.", "pool.norm."),
    (r"^head\.mlp\.fc1\.", "pool.mlp.widen."),
    (r"^head\.mlp\.fc2\.", "pool.mlp.narrow."),
    (r"^head\.attention\.out_proj\.", "pool.attention.out."),
    (r"^head\.attention\.in_proj_", "pool.attention.in_proj_"),
    (r"^(?:model\.|encoder\.)?layers?\.(\d+)\.", r"blocks.\1."),
    (r"\.(?:self_attn|attention)\.(?:attention\.)?(?:q_proj|query)\.", ".attention.query."),
    (r"\.(?:self_attn|attention)\.(?:attention\.)?(?:k_proj|key)\.", ".attention.key."),
    (r"\.(?:self_attn|attention)\.(?:attention\.)?(?:v_proj|value)\.", ".attention.value."),
    (r"\.(?:self_attn\.out_proj|attention\.o_proj|attention\.output\.dense)\.", ".attention.out."),
    (r"^(blocks\.\d+)\.(?:layer_norm1|norm1|layernorm_before)\.", r"\1.norm."),
    (r"^(blocks\.\d+)\.(?:layer_norm2|norm2|layernorm_after)\.", r"\1.mlp_norm."),
    (r"^(blocks\.\d+)\.(?:mlp\.fc1|mlp\.up_proj|intermediate\.dense)\.", r"\1.mlp.widen."),
    (r"^(blocks\.\d+)\.(?:mlp\.fc2|mlp\.down_proj|output\.dense)\.", r"\1.mlp.narrow."),
    (r"\.layer_scale1\.lambda1$", ".scale"),
    (r"\.layer_scale2\.lambda1$", ".mlp_scale"),
    *_COMMON,
)
"""Names in files of `transformers`, and in its models in memory."""

OPEN_CLIP = (
    (r"^visual\.", ""),
    (r"^conv1\.", "patches."),
    (r"^ln_pre\.", "norm_first."),
    (r"^ln_post\.", "norm."),
    (r"^proj$", "project.transposed"),
    (r"^transformer\.resblocks\.", "blocks."),
    (r"\.ln_1\.", ".norm."),
    (r"\.ln_2\.", ".mlp_norm."),
    (r"\.attn\.in_proj_", ".attention.in_proj_"),
    (r"\.attn\.out_proj\.", ".attention.out."),
    (r"\.mlp\.c_fc\.", ".mlp.widen."),
    (r"\.mlp\.c_proj\.", ".mlp.narrow."),
    *_COMMON,
)
"""Names in files of open_clip and OpenAI, image tower."""

TIMM = (
    (r"^(?:encoder|module|model|backbone)\.", ""),
    (r"^(?:norm|fc_norm)\.", "norm."),
    (r"\.norm1\.", ".norm."),
    (r"\.norm2\.", ".mlp_norm."),
    (r"\.attn\.qkv\.", ".attention.in_proj_"),
    (r"\.attn\.proj\.", ".attention.out."),
    (r"\.mlp\.fc1\.", ".mlp.widen."),
    (r"\.mlp\.fc2\.", ".mlp.narrow."),
    (r"\.ls1\.gamma$", ".scale"),
    (r"\.ls2\.gamma$", ".mlp_scale"),
    *_COMMON,
)
"""Names in files of timm, and of DINO's and the masked autoencoders' own releases."""

DIALECTS: Mapping[str, tuple[tuple[str, str], ...]] = MappingProxyType(
    {"transformers": TRANSFORMERS, "open_clip": OPEN_CLIP, "timm": TIMM}
)
"""Rules by name; each rule is a regular expression and what takes its place, applied in order."""

UNUSED = (
    r"^(?:text_model|text_projection|transformer|token_embedding|ln_final|text)\b",
    r"^(?:logit_scale|logit_bias|positional_embedding|attn_mask)$",
    r"(?:^|\.)(?:mask_token|position_ids)$",
    r"^(?:decoder|mask_token|head|heads|fc_norm_head|dec_)",
    r"^(?:projector|patch_mlp)\.",
)
"""Names that the image tower of a checkpoint does not need: text towers, decoders, classifiers, and what
GRAFT projects single patches with."""


class CheckpointNamesError(ValueError):
    """A state dict does not hold the network that it is said to hold."""


def load_published(network: VisionTransformer, state: Mapping[str, Tensor], dialect: str) -> None:
    """Copy a published state dict into a network.

    Args:
        network: of the shape that the checkpoint has.
        state: names and tensors as published; parts of other towers are passed over.
        dialect: a key of DIALECTS.

    Raises:
        CheckpointNamesError: a part is missing, unknown, of another shape or there twice; none is left at its
            start.
    """
    vision = _vision_part(state)
    wanted = network.state_dict()
    found: dict[str, Tensor] = {}
    for name, tensor in vision.items():
        parts = _split(renamed(name, DIALECTS[dialect]), tensor, network.shape.key_bias)
        for own in parts.keys() & found.keys() & wanted.keys():
            if not torch.equal(parts[own], found[own]):
                raise CheckpointNamesError(
                    f"the checkpoint does not fit {network.shape}: {name} is its {own}, and so is another "
                    "part with other values. Name the encoder that the file was made for."
                )
        found |= parts
    if network.shape.position != "learned":
        found.pop("position", None)  # computed; a file may hold those of its own resolution
    found = {name: _fitted(name, tensor, wanted) for name, tensor in found.items()}
    found = {name: tensor for name, tensor in found.items() if name in wanted or not _is_unused(name)}
    load_exactly(
        network,
        found,
        said=f"the checkpoint does not fit {network.shape}",
        remedy="Name the encoder that the file was made for.",
    )


def load_exactly(network: nn.Module, found: Mapping[str, Tensor], *, said: str, remedy: str) -> None:
    """Copy tensors into a network that has just these.

    Args:
        network: takes them.
        found: by the network's own names.
        said: what the error says of the file.
        remedy: what the error names.

    Raises:
        CheckpointNamesError: a part is missing, unknown or of another shape; none is left at its start.
    """
    wanted = network.state_dict()
    missing, unknown = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or unknown:
        raise misfit(missing, unknown, said=said, remedy=remedy)
    for name, tensor in found.items():
        if tensor.shape != wanted[name].shape:
            raise CheckpointNamesError(
                f"{said}: {name} has shape {tuple(tensor.shape)} in it, and {tuple(wanted[name].shape)} was "
                f"asked for. {remedy}"
            )
    network.load_state_dict(dict(found))


def load_named(network: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy tensors into a network of batch norms, whose counts of batches older files lack.

    Args:
        network: takes them.
        state: by the network's own names.

    Raises:
        CheckpointNamesError: a part is missing, unknown or of another shape.
    """
    try:
        network.load_state_dict(dict(state))
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointNamesError(
            f"the checkpoint is not that of this {type(network).__name__}: {reason}. Name the encoder that "
            "the file was made for."
        ) from error


def misfit(missing: Sequence[str], unknown: Sequence[str], *, said: str, remedy: str) -> CheckpointNamesError:
    """The error of a file with other parts than its network; see `load_exactly`."""
    return CheckpointNamesError(
        f"{said}: {len(missing)} parts are missing ({', '.join(missing[:4])}), {len(unknown)} are unknown "
        f"({', '.join(unknown[:4])}). {remedy}"
    )


def _vision_part(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The image tower of a checkpoint of two towers; all of it where there is one."""
    for prefix in ("vision_model.", "visual."):
        if any(name.startswith(prefix) for name in state):
            return {
                name: tensor
                for name, tensor in state.items()
                if name.startswith(prefix) or name == "visual_projection.weight"
            }
    return dict(state)


def renamed(name: str, rules: Sequence[tuple[str, str]]) -> str:
    """A published name after rules as those of DIALECTS, in their order."""
    for pattern, instead in rules:
        name = re.sub(pattern, instead, name)
    return name


def _split(name: str, tensor: Tensor, key_bias: bool) -> dict[str, Tensor]:  # noqa: FBT001 - a fact of the shape
    """Query, key and value where a checkpoint holds them in one tensor; a matrix the other way round."""
    if name.endswith(".transposed"):
        return {name.replace(".transposed", ".weight"): tensor.mT if tensor.ndim > 1 else tensor}
    stem, found, kind = name.partition(".in_proj_")
    if not found:
        return {name: tensor}
    if not tensor.ndim or len(tensor) % 3 or not len(tensor):
        raise CheckpointNamesError(
            f"query, key and value are thirds of one tensor; {name} has the shape {tuple(tensor.shape)}, "
            "which has none. Fetch the file again, or name the encoder that it was made for."
        )
    parts = dict(zip(("query", "key", "value"), tensor.chunk(3), strict=True))
    if kind == "bias" and not key_bias:
        parts.pop("key")
    return {f"{stem}.{part}.{kind}": value for part, value in parts.items()}


def _fitted(name: str, tensor: Tensor, wanted: Mapping[str, Tensor]) -> Tensor:
    """The tensor in the form of ours: published ones differ in leading ones, and in flat patches."""
    target = wanted.get(name)
    if target is None or target.shape == tensor.shape:
        return tensor
    if tensor.numel() == target.numel() and name in {"class_token", "registers", "position", "pool.query"}:
        return tensor.reshape(target.shape)
    return tensor


def _is_unused(name: str) -> bool:
    return any(re.search(pattern, name) for pattern in UNUSED)


def read_state(value: object) -> dict[str, Tensor]:
    """The state dict in what a checkpoint file holds: itself, or under one of the usual keys.

    Raises:
        CheckpointNamesError: there is none.
    """
    for key in ("state_dict", "model", "teacher", "model_state_dict"):
        if isinstance(value, Mapping) and isinstance(value.get(key), Mapping):
            value = value[key]
    if isinstance(value, Mapping):
        tensors = {str(name): one for name, one in value.items() if isinstance(one, torch.Tensor)}
        if tensors:
            return tensors
    raise CheckpointNamesError("the file holds no state dict: no tensors by name were found in it.")
