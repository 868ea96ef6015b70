"""A text tower small enough to be learned from 66 class names."""

import zlib

import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from torch import Tensor, nn

BUCKETS = 1024
"""Hash buckets for the letter groups."""

LONGEST_GROUP = 5
"""Letters in the longest group; the shortest has three."""


def letter_groups(name: str) -> Tensor:
    """Count the letter groups of a name in hash buckets.

    CRC-32 is the hash: the same on every machine, unlike Python's own.

    Args:
        name: a class name; capitals do not matter.

    Returns:
        float32 (1024,), of length 1.
    """
    text = f"<{name.casefold()}>"
    counts = torch.zeros(BUCKETS)
    for length in range(3, LONGEST_GROUP + 1):
        for start in range(max(1, len(text) - length + 1)):
            counts[zlib.crc32(text[start : start + length].encode()) % BUCKETS] += 1
    return F.normalize(counts, dim=0)


class TextTower(nn.Module):
    """Letter groups, then one learned linear layer."""

    def __init__(self, embedding: int) -> None:
        super().__init__()
        self.project = nn.Linear(BUCKETS, embedding, bias=False)
        nn.init.normal_(self.project.weight)

    def forward(self, names: tuple[str, ...]) -> Tensor:
        """Embed names into (len(names), embedding), each of length 1."""
        return F.normalize(self.project(torch.stack([letter_groups(name) for name in names])), dim=-1)
