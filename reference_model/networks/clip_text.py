"""CLIP's text tower out of the file that holds its image tower, on PyTorch alone.

`transformers` reads neither a file of open_clip (RemoteCLIP has no other) nor one of pickled tensors
(CLIP-RSICD has no other), so the tower is computed from the tensors as open_clip names them; only the
tokenizer is theirs.
"""

import re
from collections.abc import Mapping

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor

from reference_model.networks.checkpoint_names import CheckpointNamesError
from reference_model.networks.vision_transformer import Activation

HEAD_DIM = 64
"""Channels of one head, in all sizes of CLIP."""

OUTSIDE = (
    "token_embedding.weight",
    "positional_embedding",
    "ln_final.weight",
    "ln_final.bias",
    "text_projection",
)
"""Tensors outside the blocks."""

_RENAMED = (
    (r"^text_model\.embeddings\.token_embedding\.", "token_embedding."),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^text_model\.final_layer_norm\.", "ln_final."),
    (r"^text_projection\.weight$", "text_projection"),
    (r"^text_model\.encoder\.layers\.", "transformer.resblocks."),
    (r"\.layer_norm(\d)\.", r".ln_\1."),
    (r"\.self_attn\.", ".attn."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
)
"""From the names of transformers to those of open_clip."""


def clip_text_features(
    state: Mapping[str, Tensor],
    tokens: Tensor,
    lengths: Tensor,
    activation: Activation,
    head_dim: int = HEAD_DIM,
) -> Tensor:
    """Embed sentences.

    Args:
        state: of the whole checkpoint.
        tokens: ids, int64 (N, n); n is at most the tower's context, what follows the end is not looked at.
        lengths: tokens of each sentence with its begin and end, (N,).
        activation: inside the MLPs.
        head_dim: channels of one head.

    Returns:
        float32 (N, embedding), not normalised.

    Raises:
        CheckpointNamesError: the checkpoint has no such tower, or a part of it is missing or of another
        shape.
    """
    try:
        return _features(state, tokens, lengths, activation, head_dim)
    except (LookupError, RuntimeError, AttributeError) as error:
        raise CheckpointNamesError(
            f"the checkpoint's text tower is not one of CLIP ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}). Name the file of both towers, or fetch it again."
        ) from error


def _features(
    state: Mapping[str, Tensor], tokens: Tensor, lengths: Tensor, activation: Activation, head_dim: int
) -> Tensor:
    if any(name.startswith("text_model.") for name in state):
        state = as_open_clip(state)
    missing = [name for name in OUTSIDE if name not in state]
    if missing:
        raise CheckpointNamesError(
            f"the checkpoint holds no text tower of CLIP: {', '.join(missing)} are missing. Name the file "
            "of both towers."
        )
    hidden = F.embedding(tokens, state["token_embedding.weight"].float())
    hidden = hidden + state["positional_embedding"].float()[: tokens.shape[1]]
    depth = len({name.split(".")[2] for name in state if name.startswith("transformer.resblocks.")})
    for place in range(depth):
        block = _Block(state, f"transformer.resblocks.{place}.")
        hidden = hidden + _attention(block, block.normed("ln_1", hidden), head_dim)
        hidden = hidden + _mlp(block, block.normed("ln_2", hidden), activation)
    ends = hidden[torch.arange(len(hidden)), lengths - 1]
    return _Block(state, "").normed("ln_final", ends) @ state["text_projection"].float()


def as_open_clip(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The text tower of a state dict of transformers, under the names of open_clip."""
    named: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if not name.startswith(("text_model.", "text_projection.")):
            continue
        for pattern, instead in _RENAMED:
            name = re.sub(pattern, instead, name)  # noqa: PLW2901 - one rule after the other
        named[name] = tensor.T if name == "text_projection" else tensor
    for name in [name for name in named if ".attn.q_proj." in name]:
        parts = [named.pop(name.replace("q_proj", f"{part}_proj")) for part in "qkv"]
        named[name.replace("q_proj.", "in_proj_")] = torch.cat(parts)
    return named


class _Block:
    """Tensors under one prefix."""

    def __init__(self, state: Mapping[str, Tensor], prefix: str) -> None:
        self.state, self.prefix = state, prefix

    def __getitem__(self, name: str) -> Tensor:
        return self.state[self.prefix + name].float()

    def normed(self, name: str, tokens: Tensor) -> Tensor:
        return F.layer_norm(tokens, tokens.shape[-1:], self[f"{name}.weight"], self[f"{name}.bias"])

    def linear(self, name: str, tokens: Tensor) -> Tensor:
        return F.linear(tokens, self[f"{name}.weight"], self[f"{name}.bias"])


def _attention(block: _Block, tokens: Tensor, head_dim: int) -> Tensor:
    joined = F.linear(tokens, block["attn.in_proj_weight"], block["attn.in_proj_bias"])
    query, key, value = (
        part.view(*part.shape[:-1], -1, head_dim).transpose(1, 2) for part in joined.chunk(3, dim=-1)
    )
    mixed = F.scaled_dot_product_attention(query, key, value, is_causal=True)
    return block.linear("attn.out_proj", mixed.transpose(1, 2).flatten(2))


def _mlp(block: _Block, tokens: Tensor, activation: Activation) -> Tensor:
    wide = block.linear("mlp.c_fc", tokens)
    if activation == "quick_gelu":
        wide = wide * torch.sigmoid(1.702 * wide)
    else:
        wide = F.gelu(wide, approximate="tanh" if activation == "gelu_tanh" else "none")
    return block.linear("mlp.c_proj", wide)
