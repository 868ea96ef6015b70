"""What the sampler learns to predict: structural saliency times cross-scale semantic gain (Eq. 5 and 6).

Made offline from features of both scales. No function here takes a label.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from math import isqrt
from types import MappingProxyType

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor

CUES = ("variation", "boundary", "complexity")
"""The three cues of structural saliency, one for each phrase of 4.2."""

PERCENTILES = (1.0, 99.0)
"""Percentiles of the training tiles that become 0 and 1."""

SCENES_AT_ONCE = 4096
"""Scenes whose tiles are held against the texts together: 1.3 GB of embeddings of 768 channels. All of the
paper's at once would be 32 GB, and as much again for what is computed of them."""

Fusion = Callable[[Tensor, Tensor], Tensor]
"""From structural saliency and semantic gain, each (N, 100) in [0, 1], to their union of the same kind."""


def structural_cues(tokens: Tensor) -> Tensor:
    """Measure how much goes on inside a tile.

    Tokens are brought to length 1 first: vision transformers have a few artefact tokens of great length.

    Args:
        tokens: dense features of N tiles, (N, n * n, features).

    Returns:
        float32 (N, 3): variation (1 - |mean|^2), boundary (mean of 1 - cosine over neighbours), complexity
        (effective rank times energy of the centred tokens).
    """
    unit = F.normalize(tokens.float(), dim=-1)
    mean = unit.mean(dim=1, keepdim=True)
    variation = 1 - mean.square().sum(dim=(1, 2))
    side = isqrt(tokens.shape[1])
    grid = unit.view(len(unit), side, side, -1)
    down = (1 - (grid[:, 1:] * grid[:, :-1]).sum(-1)).flatten(1)
    across = (1 - (grid[:, :, 1:] * grid[:, :, :-1]).sum(-1)).flatten(1)
    boundary = torch.cat([down, across], dim=1).mean(dim=1)
    return torch.stack([variation, boundary, _complexity(unit - mean)], dim=1)


def _complexity(centred: Tensor) -> Tensor:
    """exp(entropy of the spectrum) x energy, from the smaller Gram matrix; (N, n, d) to (N,)."""
    if centred.shape[1] > centred.shape[2]:
        centred = centred.transpose(1, 2)
    energy = torch.linalg.eigvalsh(centred @ centred.transpose(1, 2)).clamp_min(0)
    total = energy.sum(dim=1)
    share = energy / total.clamp_min(1e-12)[:, None]
    entropy = -torch.special.xlogy(share, share).sum(dim=1)
    spread: Tensor = entropy.exp() * total
    return spread


def semantic_gain(
    hr: Tensor, lr: Tensor, texts: Tensor, *, log_scale: Tensor, bias: Tensor, weight: float = 1.0
) -> Tensor:
    """Eq. 5: what a tile says beyond what the overview says already, for the text that gains most.

    The similarity is the calibrated probability sigmoid(t * cosine + b): raw cosines lie in a narrow band
    that differs from class to class, and their maximum would pick the class with the highest offset.

    Args:
        hr: tile embeddings of length 1, (N, 100, embedding).
        lr: overview embeddings of length 1, (N, embedding).
        texts: task prompts, (classes, embedding). Words for plain ground would saturate the gain.
        log_scale: scalar, logarithm of t.
        bias: scalar, b.
        weight: lambda of Eq. 5.

    Returns:
        float32 (N, 100) in [0, 1].
    """
    gains = []
    for of_tiles, of_overviews in zip(
        torch.split(hr, SCENES_AT_ONCE), torch.split(lr, SCENES_AT_ONCE), strict=True
    ):
        at_hr = torch.sigmoid(log_scale.exp() * of_tiles @ texts.T + bias)
        at_lr = torch.sigmoid(log_scale.exp() * of_overviews @ texts.T + bias)
        gains.append((at_hr - weight * at_lr[:, None]).clamp_min(0).amax(dim=-1))
    return torch.cat(gains)


def product(structural: Tensor, semantic: Tensor) -> Tensor:
    """Eq. 6: both cues must speak; the paper's choice."""
    return structural * semantic


def additive(structural: Tensor, semantic: Tensor) -> Tensor:
    """Mean of the cues (Table 6)."""
    return (structural + semantic) / 2


def structural_only(structural: Tensor, semantic: Tensor) -> Tensor:  # noqa: ARG001 - one signature for all
    """Structure alone (Table 6)."""
    return structural


def semantic_only(structural: Tensor, semantic: Tensor) -> Tensor:  # noqa: ARG001 - one signature for all
    """Semantics alone (Table 6)."""
    return semantic


FUSIONS: Mapping[str, Fusion] = MappingProxyType(
    {
        "product": product,
        "additive": additive,
        "structural": structural_only,
        "semantic": semantic_only,
    }
)
"""The rows of Table 6 by name."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Maps a quantity to [0, 1] by two values of the training set."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Tensor) -> "Scale":
        """Take the 1st and 99th percentile of all values."""
        low, high = np.percentile(values.double().numpy(), PERCENTILES)
        return cls(float(low), float(high))

    def __call__(self, values: Tensor) -> Tensor:
        """Clip (values - low) / (high - low) to [0, 1]; all 0 where the training set did not vary."""
        if self.high <= self.low:
            return torch.zeros_like(values)
        return ((values - self.low) / (self.high - self.low)).clamp(0, 1)


@dataclass(frozen=True, slots=True)
class Supervision:
    """G*: how much each tile is worth, on one scale for the whole data set.

    A scale per scene would give every scene a tile worth 1 and so destroy "fewer tiles for simple scenes".
    """

    fusion: str
    """A key of FUSIONS."""

    cues: tuple[Scale, Scale, Scale]
    structural: Scale
    semantic: Scale
    fused: Scale

    @classmethod
    def fit(cls, cues: Tensor, gain: Tensor, fusion: str = "product") -> "Supervision":
        """Take the percentiles from the training scenes.

        Args:
            cues: `structural_cues` of the training tiles, (N, 100, 3).
            gain: `semantic_gain` of the same tiles, (N, 100).
            fusion: a key of FUSIONS.

        Raises:
            ValueError: there is no such fusion.
        """
        if fusion not in FUSIONS:
            raise ValueError(f"a fusion is one of {', '.join(FUSIONS)}; asked for {fusion!r}")
        of_cues = (Scale.of(cues[..., 0]), Scale.of(cues[..., 1]), Scale.of(cues[..., 2]))
        saliency = _saliency(of_cues, cues)
        structural, semantic = Scale.of(saliency), Scale.of(gain)
        fused = FUSIONS[fusion](structural(saliency), semantic(gain))
        return cls(fusion, of_cues, structural, semantic, Scale.of(fused))

    def targets(self, cues: Tensor, gain: Tensor) -> Tensor:
        """G* of any scenes on the training set's scale: float32 (N, 100) in [0, 1]."""
        return self.fused(FUSIONS[self.fusion](self.saliency(cues), self.semantic(gain)))

    def saliency(self, cues: Tensor) -> Tensor:
        """s_vis of any scenes on the training set's scale: float32 (N, 100) in [0, 1]."""
        return self.structural(_saliency(self.cues, cues))

    def as_json(self) -> dict[str, object]:
        """The percentiles, to be kept beside the weights."""
        return asdict(self)


def _saliency(scales: tuple[Scale, Scale, Scale], cues: Tensor) -> Tensor:
    return torch.stack([scale(cues[..., place]) for place, scale in enumerate(scales)]).mean(dim=0)
