"""Memory of the dead is used again, that of the living never."""

import gc
from itertools import pairwise

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gl10m.store.blocks import Blocks


def place(array: NDArray[np.uint8]) -> int:
    return int(array.__array_interface__["data"][0])


@given(st.lists(st.tuples(st.integers(1, 300), st.booleans()), max_size=40))
def test_what_somebody_looks_at_is_nobody_elses(takes: list[tuple[int, bool]]) -> None:
    blocks = Blocks(1000)
    living: list[tuple[int, memoryview | torch.Tensor]] = []
    for number, (size, kept) in enumerate(takes):
        array = blocks.take(size)
        array[:] = number % 256
        if kept:
            # A slice of a memoryview or of a tensor keeps the memory by itself.
            whole = array.data if number % 2 else torch.from_numpy(array)
            living.append((number % 256, whole[size // 2 :]))
            del whole
        del array
    assert all(np.all(np.asarray(view) == number) for number, view in living)


def test_the_memory_used_last_is_used_next() -> None:
    blocks = Blocks(10_000)
    first, second = blocks.take(1000), blocks.take(1000)
    places = place(first), place(second)
    del first
    del second
    gc.collect()
    third, fourth = blocks.take(990), blocks.take(1000)
    assert (place(third), place(fourth)) == places[::-1]


def test_near_sizes_share_memory_and_far_ones_do_not() -> None:
    blocks = Blocks(1 << 20)
    sizes = [1000, 1010, 950, 520, 100]
    places = []
    for size in sizes:
        array = blocks.take(size)
        assert array.shape == (size,)
        places.append(place(array))
        del array
    assert [after == before for before, after in pairwise(places)] == [True, True, True, False]


def test_no_more_is_kept_than_was_agreed() -> None:
    blocks = Blocks(5000)
    arrays = [blocks.take(1024) for _ in range(10)]
    assert blocks.free_bytes == 0
    del arrays
    assert 0 < blocks.free_bytes <= 5000


def test_one_block_is_kept_however_large() -> None:
    blocks = Blocks(10)
    array = blocks.take(100_000)
    before = place(array)
    del array
    assert blocks.free_bytes >= 100_000
    assert place(blocks.take(100_000)) == before


def test_shapes_are_what_was_asked_for() -> None:
    blocks = Blocks(0)
    assert blocks.take(2, 3, 4).shape == (2, 3, 4)
    assert blocks.take(0, 3).shape == (0, 3)
    assert blocks.take(2, 3).flags.c_contiguous
