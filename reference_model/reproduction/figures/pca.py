"""Features as colours: one basis of three principal components for every panel of every figure.

Tokens are brought to length 1 and centred; the components come from a covariance in double precision, each
with its largest loading positive; colours run from the 1st to the 99th percentile of full observations.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from numpy.typing import NDArray
from torch import Tensor

from reference_model.networks.positions import tiles_to_grid
from reference_model.weights_file import write_weights

REFERENCE_SCENES = 64
"""Training scenes whose full observation the basis is fitted on."""

COMPONENTS = 3
PERCENTILES = (1.0, 99.0)
FILE = "pca.safetensors"


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """Everything that turns a token into a colour."""

    mean: Tensor
    """Of the unit tokens, float64 (dim,)."""

    components: Tensor
    """float64 (3, dim), rows of length 1, the greatest variance first."""

    low: Tensor
    """float64 (3,): becomes 0."""

    high: Tensor
    """float64 (3,): becomes 1."""

    @classmethod
    def fit(cls, tokens: Tensor) -> "Basis":
        """Find the basis.

        Args:
            tokens: (n, dim), n at least 2 and dim at least 3.

        Raises:
            ValueError: there are too few tokens or channels.
        """
        if len(tokens) < 2 or tokens.shape[1] < COMPONENTS:  # noqa: PLR2004 - a covariance needs two
            raise ValueError(f"three components need 2 tokens of 3 channels; got {tuple(tokens.shape)}")
        unit = F.normalize(tokens.double(), dim=1)
        mean = unit.mean(dim=0)
        centred = unit - mean
        _, vectors = torch.linalg.eigh(centred.T @ centred / (len(centred) - 1))
        components = vectors[:, -COMPONENTS:].flip(1).T
        largest = components.gather(1, components.abs().argmax(dim=1, keepdim=True))
        components = components * largest.sign()
        low, high = np.percentile((centred @ components.T).numpy(), PERCENTILES, axis=0)
        return cls(mean=mean, components=components, low=torch.from_numpy(low), high=torch.from_numpy(high))

    def project(self, tokens: Tensor) -> Tensor:
        """Coordinates of tokens (..., dim) along the components: float64 (..., 3)."""
        return (F.normalize(tokens.double(), dim=-1) - self.mean) @ self.components.T

    def picture(self, scene: Tensor) -> NDArray[np.float64]:
        """The tokens of one scene (100, p * p, dim) as colours, float64 (10 p, 10 p, 3) in [0, 1]."""
        span = (self.high - self.low).clamp_min(1e-12)
        shades = ((self.project(scene) - self.low) / span).clamp(0, 1)
        colours: NDArray[np.float64] = tiles_to_grid(shades[None])[0].numpy()
        return colours

    def store(self, path: Path) -> None:
        """Keep the basis, so that other pictures can be made in the same colours.

        Raises:
            OSError: the file cannot be written.
        """
        named = {"mean": self.mean, "components": self.components, "low": self.low, "high": self.high}
        write_weights(path, named)


def reference_rows(train: NDArray[np.int64]) -> Tensor:
    """The training scenes that a basis is fitted on: evenly spread over all, (at most 64,)."""
    count = min(REFERENCE_SCENES, len(train))
    return torch.from_numpy(train[np.linspace(0, len(train) - 1, count).round().astype(np.int64)])
