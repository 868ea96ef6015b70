"""The space that images share with class names, for encoders that were not trained here.

SigLIP and CLIP bring theirs. An encoder that knows no words (DINO, a masked autoencoder, EfficientNet) gets
one linear layer into the space of a sentence encoder, trained on the tiles of the training scenes with Eq. 9;
the layer is small on purpose, and every result that rests on it says that tile labels were used.
"""

from collections.abc import Iterable
from dataclasses import replace

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor, nn

from reference_model.features import Features
from reference_model.objectives.losses import pairwise_sigmoid
from reference_model.pretrain import chances

BISECTIONS = 60
"""Halvings of the interval in which the bias is looked for."""

WIDEST_BIAS = 200.0
"""The bias of a probability is looked for between minus and plus this."""

LIKELY = 0.02
"""Mean probability of a class on a tile, to which a tower without a bias is calibrated: one of 66 or so."""


class Aligner(nn.Module):
    """From an encoder's mean token to the space of the class names."""

    def __init__(self, features: int, embedding: int, positive_rate: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)
        self.project = nn.Linear(features, embedding)
        self.log_scale = nn.Parameter(torch.tensor(10.0).log())
        self.bias = nn.Parameter(torch.logit(torch.tensor(positive_rate), eps=1e-4))

    def forward(self, tokens: Tensor) -> Tensor:
        """Embed tokens (..., n, features) into (..., embedding), each of length 1."""
        return F.normalize(self.project(self.norm(tokens.mean(dim=-2))), dim=-1)

    def loss(self, tokens: Tensor, labels: Tensor, texts: Tensor) -> Tensor:
        """Eq. 9 between images, given as tokens (N, n, features), and class names (classes, embedding)."""
        return pairwise_sigmoid(self(tokens), texts, labels, self.log_scale, self.bias)


class TileDraw:
    """Draws training tiles, rare classes more often, with their tokens and labels."""

    def __init__(self, features: Features, rows: Tensor, tile_labels: Tensor) -> None:
        """Prepare to draw.

        Args:
            features: encoded scenes.
            rows: training scenes, (n,).
            tile_labels: bool (n, 100, classes) of the same scenes.
        """
        self.features, self.rows = features, rows
        self.labels = tile_labels.flatten(0, 1)
        self.chances = chances(self.labels)

    def __call__(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Tokens (count, p * p, features) and labels bool (count, classes) of drawn tiles."""
        drawn = torch.multinomial(self.chances, count, replacement=True, generator=generator)
        tiles = self.features.hr.shape[1]
        rows, tile = self.rows[drawn // tiles], drawn % tiles
        selected = torch.zeros(count, tiles, dtype=torch.bool)
        selected[torch.arange(count), tile] = True
        return self.features.observed(rows, selected), self.labels[drawn]


@torch.no_grad()
def in_shared_space(features: Features, aligner: Aligner) -> Features:
    """The same features with embeddings in the space of the class names."""
    rows = torch.arange(len(features.lr))
    hr = [aligner(features.target(part)).cpu() for part in torch.split(rows, 16)]
    lr = [aligner(features.context(part)).cpu() for part in torch.split(rows, 64)]
    return replace(features, hr_embedding=torch.cat(hr), lr_embedding=torch.cat(lr))


def plausible_bias(embeddings: Iterable[Tensor], texts: Tensor, log_scale: Tensor) -> Tensor:
    """The bias that makes tiles plausible, for a tower that has a temperature and no bias (CLIP).

    No label is looked at: the mean probability over all tiles and classes is set to LIKELY.

    Args:
        embeddings: of tiles, (n, embedding), part by part: those of all scenes need not be in memory.
        texts: of the Base names, (classes, embedding).
        log_scale: logarithm of 1 / tau.

    Returns:
        Scalar.
    """
    logits = torch.cat([(log_scale.exp() * part.float() @ texts.T).double() for part in embeddings])
    low, high = torch.tensor(-WIDEST_BIAS).double(), torch.tensor(WIDEST_BIAS).double()
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        if float((logits + middle).sigmoid().mean()) < LIKELY:
            low = middle
        else:
            high = middle
    return high.float()
