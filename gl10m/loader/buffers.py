"""Memory for decoded images that is used again when its tensor has died."""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gl10m.store.blocks import Blocks
from gl10m.store.codec import SIDE

KEPT_BYTES: Final = 64 << 20
"""Memory kept for later samples by one process, or one block where it is larger: a batch of 16 scenes with 12
tiles takes two thirds of it."""

_blocks = Blocks(KEPT_BYTES)


def take(images: int) -> NDArray[np.uint8]:
    """Memory for some images, of undefined content: shape (images, 268, 268, 3), uint8.

    Hand it to `as_tensor` and keep no other view of it: it goes to the next taker when this array dies.
    """
    return _blocks.take(images, SIDE, SIDE, 3)


def as_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """What was taken and filled, as a tensor: uint8 (images, 3, 268, 268), channels last in memory."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)
