"""Memory for decoded images that is used again when its tensor has died.

A tile is 215 KB of pixels. Fresh memory of that size comes from the kernel page by page, which takes up to a
third of the time of decoding into it.
"""

import contextlib
import weakref
from collections import deque
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gl10m.store.codec import SIDE

KEPT_BYTES: Final = 64 << 20
"""Memory kept for later samples by one process, or one block where it is larger: a batch of 16 scenes with 12
tiles takes two thirds of it."""

_IMAGE_BYTES = SIDE * SIDE * 3
_free: deque[NDArray[np.uint8]] = deque()


def take(images: int) -> NDArray[np.uint8]:
    """Memory for some images, of undefined content: shape (images, 268, 268, 3), uint8.

    Hand it to `as_tensor` and keep no other view of it: it goes to the next taker when this array dies.
    """
    if not images:
        return np.empty((0, SIDE, SIDE, 3), np.uint8)
    wanted = images * _IMAGE_BYTES
    block = _fitting(wanted)
    if block is None:
        block = np.empty(wanted, np.uint8)
    pixels = block[:wanted].reshape(images, SIDE, SIDE, 3)
    # A view of `pixels` would have `block` as its base and not keep `pixels` alive; a tensor does.
    weakref.finalize(pixels, _give, block).atexit = False
    return pixels


def as_tensor(pixels: NDArray[np.uint8]) -> Tensor:
    """What was taken and filled, as a tensor: uint8 (images, 3, 268, 268), channels last in memory."""
    return torch.from_numpy(pixels).permute(0, 3, 1, 2)


def _give(block: NDArray[np.uint8]) -> None:
    """Keep a block for the next taker; what was kept longest goes when there is too much, the last stays."""
    _free.append(block)
    while len(_free) > 1 and sum(kept.nbytes for kept in tuple(_free)) > KEPT_BYTES:
        with contextlib.suppress(IndexError):
            _free.popleft()


def _fitting(wanted: int) -> NDArray[np.uint8] | None:
    """A free block at least as large, at most twice. Needs no lock: a deque's steps are atomic."""
    for _ in range(len(_free)):
        try:
            block = _free.popleft()
        except IndexError:
            return None
        if wanted <= block.nbytes <= 2 * wanted:
            return block
        _free.append(block)
    return None
