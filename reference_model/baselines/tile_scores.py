"""Class scores of a scene from the tiles that were observed. No other tile is read."""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor

from reference_model.evaluate import in_batches
from reference_model.features import Features

Pool = Callable[[Tensor], Tensor]
"""Scores of tiles (N, 100, classes), NaN where a tile was not observed, to scores of scenes (N, classes)."""

SCENES_AT_ONCE = 256
TOP = 5


def mean_of_tiles(scores: Tensor) -> Tensor:
    """The mean over the observed tiles; NaN where there is none."""
    return scores.nanmean(dim=1)


def best_tile(scores: Tensor) -> Tensor:
    """The best observed tile; NaN where there is none."""
    best = scores.nan_to_num(nan=-torch.inf).amax(dim=1)
    return best.masked_fill(best.isinf(), torch.nan)


def mean_of_best_tiles(scores: Tensor) -> Tensor:
    """The mean over the five best observed tiles, or as many as there are; NaN where there is none."""
    best = scores.nan_to_num(nan=-torch.inf).topk(TOP, dim=1).values
    return best.masked_fill(best.isinf(), torch.nan).nanmean(dim=1)


def observed_scores(
    features: Features, rows: Tensor, selected: Tensor, words: Tensor, pool: Pool = mean_of_tiles
) -> Tensor:
    """Cosines of scenes and classes.

    Args:
        features: encoded scenes.
        rows: scenes, (N,).
        selected: bool (N, 100).
        words: class names, (classes, embedding), each of length 1.
        pool: how tiles become a scene.

    Returns:
        float32 (N, classes); NaN for a scene of which nothing was observed.
    """
    parts = []
    for part, where in in_batches(rows, selected, SCENES_AT_ONCE):
        place, tile = where.nonzero(as_tuple=True)
        scores = torch.full((len(part), where.shape[1], len(words)), torch.nan)
        scores[place, tile] = features.hr_embedding[part[place], tile] @ words.T
        parts.append(pool(scores))
    return torch.cat(parts)


def mean_embedding(features: Features, rows: Tensor) -> Tensor:
    """The mean over all tiles' embeddings, brought to length 1: (N, embedding)."""
    return F.normalize(features.hr_embedding[rows].mean(dim=1), dim=-1)


def mean_tokens(features: Features, rows: Tensor, selected: Tensor) -> Tensor:
    """The mean over all tokens of the observed tiles: (N, dim), 0 where nothing was observed."""
    tokens = features.observed(rows, selected).mean(dim=1)
    place = selected.nonzero(as_tuple=True)[0].to(tokens.device)
    summed = torch.zeros(len(rows), tokens.shape[-1], device=tokens.device).index_add_(0, place, tokens)
    return summed / selected.sum(dim=1, keepdim=True).clamp_min(1).to(tokens.device)
