"""Our own files of weights: safetensors that carry the digest of what was written; a flipped bit is told."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from gl10m.manifest.parquet import replacing

DIGEST = "sha256"
"""Its name in the file's metadata, of which it is the only entry: safetensors writes several in any order."""


class WeightsChangedError(ValueError):
    """The numbers in a file are not those that were written, or nothing tells whether they are."""


def digest_of(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256, hexadecimal, of tensors: their names, types, shapes and values.

    Args:
        tensors: by name, in any order; on any device.
    """
    state = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        state.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        # As bytes, because numpy has no bfloat16, which encoders of other packages may come in.
        state.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return state.hexdigest()


def write_weights(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors with their digest, whole or not at all; the same tensors give the same bytes.

    Raises:
        OSError: the file cannot be written.
    """
    whole = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in sorted(tensors.items())}
    with replacing(path) as temporary:
        save_file(whole, temporary, metadata={DIGEST: digest_of(whole)})


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read tensors that `write_weights` wrote onto the CPU, and compare them with their digest.

    Raises:
        WeightsChangedError: they are others, or the file has no digest.
        SafetensorError: it is no whole safetensors file.
        OSError: it cannot be read.
    """
    with safe_open(path, framework="pt") as file:
        written = (file.metadata() or {}).get(DIGEST)
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if written is None:
        raise WeightsChangedError(f"it has no `{DIGEST}`, by which a change would be seen")
    if written != digest_of(tensors):
        raise WeightsChangedError("its numbers are not those that were written")
    return tensors
