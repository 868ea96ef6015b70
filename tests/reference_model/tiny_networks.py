"""Networks of the published kinds, small enough for a test, with random weights."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from reference_model.networks.vision_transformer import Shape

TINY: dict[str, Any] = {"patch": 8, "native_px": 32, "dim": 64, "depth": 2, "heads": 4, "hidden": 64}


def tiny_shape(shape: Shape) -> Shape:
    """The same kind of transformer, smaller."""
    small: dict[str, Any] = {**TINY, "projection": 16 if shape.projection else None}
    return replace(shape, **small)


def noise(count: int, px: int) -> Tensor:
    return torch.randn(count, 3, px, px, generator=torch.Generator().manual_seed(1))


def shaken(model: nn.Module) -> Any:  # noqa: ANN401 - a class of transformers
    """Weights that are random everywhere, norms and running statistics too."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
                tensor.copy_(
                    torch.rand_like(tensor) + 0.5 if "var" in name else torch.randn_like(tensor) * 0.2
                )
    return model.eval()
