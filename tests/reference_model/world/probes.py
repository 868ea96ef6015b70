"""Probes that ask what can be read off pixels: the strongest one at hand, since a weak one misses leaks."""

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own name for it
from numpy.typing import NDArray
from torch import nn

from reference_model.world.scenes import World

Floats = NDArray[np.float32]


REACH = 5
"""LR pixels about a tile that a probe sees on each side: a tile and a half."""


def probe(inputs: Floats, targets: NDArray[np.int64], steps: int = 250) -> float:
    """Accuracy of a two-layer MLP on the second half, trained on the first.

    Args:
        inputs: (n, features).
        targets: (n,), classes from 0.
    """
    x = torch.from_numpy((inputs - inputs.mean(0)) / (inputs.std(0) + 1e-6)).float()
    y = torch.from_numpy(targets)
    half = len(x) // 2
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(x.shape[1], 64), nn.GELU(), nn.Dropout(0.3), nn.Linear(64, int(y.max()) + 1)
    )
    optimiser = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=0.05)
    best = 0.0
    for step in range(steps):
        network.train()
        rows = torch.randint(0, half, (256,))
        loss = F.cross_entropy(network(x[rows]), y[rows])
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        if step % 25 == 24:
            network.eval()
            with torch.no_grad():
                best = max(best, float((network(x[half:]).argmax(1) == y[half:]).float().mean()))
    return best


def chance(targets: NDArray[np.int64]) -> float:
    """Accuracy of naming the most frequent class of the second half."""
    rest = targets[len(targets) // 2 :]
    return float(np.bincount(rest).max() / len(rest))


def lr_patch(world: World, scene: int, row: int, column: int, reach: int = REACH) -> Floats:
    """The overview about a tile, given where the tile truly is."""
    padded = np.pad(
        world.overview(scene).astype(np.float32), ((0, 0), (reach, reach), (reach, reach)), "edge"
    )
    scale = world.knobs.tile_px / 10
    top, left = round((row + 0.5) * scale - 0.5), round((column + 0.5) * scale - 0.5)
    return padded[:, top : top + 2 * reach + 1, left : left + 2 * reach + 1].ravel()


def ground_about(patches: Floats, pad: Floats) -> Floats:
    """Colour of what is no pad near the middle of each patch, (n, 3): nearer and less grey counts more.

    Args:
        patches: of `lr_patch`, (n, 3 * width * width).
        pad: colour of pads, (3,).
    """
    width = 2 * REACH + 1
    pixels = patches.reshape(len(patches), 3, width, width)
    away = np.hypot(*(np.mgrid[:width, :width] - REACH))
    unlike = np.abs(pixels - pad[:, None, None]).sum(1)
    weight = np.exp(-(away**2) / 8) * np.maximum(unlike - 30, 0)
    found: Floats = (pixels * weight[:, None]).sum((2, 3)) / (weight.sum((1, 2)) + 1e-3)[:, None]
    return found


def hr_spectrum(tile: NDArray[np.uint8]) -> Floats:
    """Magnitudes of the tile's spectrum, which do not depend on where in the tile a glyph lies."""
    grey = tile.astype(np.float32).mean(0)
    return np.log1p(np.abs(np.fft.rfft2(grey - grey.mean()))).astype(np.float32).ravel()


def area_under_curve(scores: Floats, positive: NDArray[np.bool_]) -> float:
    """Probability that a positive scores higher than a negative."""
    ranks = scores.argsort().argsort() + 1
    count = int(positive.sum())
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(positive) - count)))
