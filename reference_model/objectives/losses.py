"""The two alignment objectives of 4.4 and the running mean that steadies the first."""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor, nn

SLOWEST = 1e-3
"""Share of the newest batch in the running mean once it has seen 1,000 batches."""


class RunningMean(nn.Module):
    """mu of Eq. 8: the mean target token, per channel.

    An exact mean for the first 1,000 updates, an exponential one after that; a mean that began at zero and
    only crept would centre on nothing. Changes in training mode only and travels with the weights.
    """

    mean: Tensor
    updates: Tensor

    def __init__(self, features: int, over_team: Callable[[Tensor], Tensor] | None = None) -> None:
        """Begin with nothing seen.

        Args:
            features: channels of a token.
            over_team: makes one mean of those of all processes that train together.
        """
        super().__init__()
        self.over_team = over_team
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def forward(self, target: Tensor) -> Tensor:
        """Take in target tokens (..., features) when training; returns the mean, (features,)."""
        if self.training:
            self.updates += 1
            share = max(1 / int(self.updates), SLOWEST)
            newest = target.float().flatten(0, -2).mean(0)
            if self.over_team is not None:
                newest = self.over_team(newest)
            self.mean += share * (newest - self.mean)
        return self.mean


def centred_cosine(predicted: Tensor, target: Tensor, mean: Tensor) -> Tensor:
    """Eq. 8: one minus the mean cosine of predicted and target tokens about the running mean.

    A predictor that gives the mean everywhere scores about 1, not the good score that plain cosine would
    grant.

    Args:
        predicted: (..., features).
        target: same shape; no gradient flows into it.
        mean: mu, (features,).

    Returns:
        Scalar in [0, 2], computed in float32.
    """
    cosine = F.cosine_similarity(predicted.float() - mean, target.detach().float() - mean, dim=-1, eps=1e-6)
    return 1 - cosine.mean()


def pairwise_sigmoid(
    images: Tensor, texts: Tensor, labels: Tensor, log_scale: Tensor, bias: Tensor
) -> Tensor:
    """Eq. 9: every image against every text, matched or not.

    The texts are the class prompts, so an image has several matches; a K x K identity as in the paper's
    notation would call true pairs false. Summed over texts, averaged over images.

    Args:
        images: embeddings of length 1, (K, embedding).
        texts: embeddings of length 1, (classes, embedding).
        labels: bool (K, classes).
        log_scale: scalar, logarithm of 1 / tau.
        bias: scalar, b.

    Returns:
        Scalar, at least 0.
    """
    logits = log_scale.exp() * images @ texts.T + bias
    sign = labels.to(logits.dtype) * 2 - 1
    return -F.logsigmoid(sign * logits).sum(dim=1).mean()


@torch.no_grad()
def spread(tokens: Tensor) -> float:
    """Mean standard deviation per channel of tokens brought to length 1: near 0 where a predictor collapsed.

    Args:
        tokens: (..., features).
    """
    return float(F.normalize(tokens.float(), dim=-1).flatten(0, -2).std(dim=0).mean())
