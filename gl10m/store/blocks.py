"""Memory that is used again when nobody looks at it any more.

Fresh memory comes from the kernel page by page. Reading a scene of 3.4 MB into it takes four times as long as
into memory that was written before, and a tile of 215 KB of pixels takes up to a third longer to decode.
"""

import contextlib
import mmap
import weakref
from collections import deque
from typing import Final

import numpy as np
from numpy.typing import NDArray

_OWN_PAGES: Final = 1 << 20
"""Blocks of so many bytes come from the kernel, smaller ones from the C library."""

_STEPS: Final = 8
"""Blocks have one of so many sizes between two powers of two: near sizes share blocks, an eighth is lost."""


class Blocks:
    """Blocks of memory that go to their next taker when the last view of them dies.

    Safe in threads, and after a fork, without a lock that could be held while it is copied.
    """

    def __init__(self, kept_bytes: int) -> None:
        """Hold no block yet.

        Args:
            kept_bytes: memory kept for later takers, or one block where it is larger.
        """
        self._kept_bytes = kept_bytes
        self._free: deque[NDArray[np.uint8]] = deque()

    def take(self, *shape: int) -> NDArray[np.uint8]:
        """Memory of undefined content: an array of this shape, uint8, C-contiguous.

        A tensor of it and a memoryview, and their slices, keep it. A numpy view does not: keep the array
        itself as long as one is used.
        """
        wanted = int(np.prod(shape))
        if not wanted:
            return np.empty(shape, np.uint8)
        block = self._fitting(wanted)
        if block is None:
            block = _fresh(_rounded(wanted))
        array = block[:wanted].reshape(shape)
        # A view of `array` would have `block` as its base and not keep `array` alive; a tensor does.
        weakref.finalize(array, self._give, block).atexit = False
        return array

    @property
    def free_bytes(self) -> int:
        """Memory kept for later takers."""
        return sum(block.nbytes for block in tuple(self._free))

    def _give(self, block: NDArray[np.uint8]) -> None:
        """Keep a block for the next taker; where there is too much, what was kept longest goes."""
        self._free.append(block)
        while len(self._free) > 1 and self.free_bytes > self._kept_bytes:
            with contextlib.suppress(IndexError):
                self._free.popleft()

    def _fitting(self, wanted: int) -> NDArray[np.uint8] | None:
        """A free block at least as large, at most twice: the one used last, which caches may hold."""
        for _ in range(len(self._free)):
            try:
                block = self._free.pop()
            except IndexError:  # another thread was faster; each step of a deque is atomic
                return None
            if wanted <= block.nbytes <= 2 * wanted:
                return block
            self._free.appendleft(block)
        return None


def _fresh(size: int) -> NDArray[np.uint8]:
    """A block of its own, which goes back to the kernel as a whole.

    Blocks out of the C library's heaps, of which each thread has one, leave holes that only grow.
    """
    if size < _OWN_PAGES:
        return np.empty(size, np.uint8)
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):  # Linux
        with contextlib.suppress(OSError):  # a kernel without huge pages
            pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, np.uint8)


def _rounded(wanted: int) -> int:
    """The next size of a block, bytes."""
    step = max(1, (1 << (wanted - 1).bit_length()) // (2 * _STEPS))
    return -(-wanted // step) * step
