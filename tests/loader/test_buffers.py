"""Memory of dead tensors is used again, that of living ones never."""

import gc

import torch

from gl10m.loader import buffers


def test_living_tensors_share_no_memory() -> None:
    tensors = []
    for number in range(20):
        pixels = buffers.take(1 + number % 3)
        pixels[:] = number
        tensors.append(buffers.as_tensor(pixels)[0, 1:])  # views keep the memory too
    del pixels
    gc.collect()
    assert [int(tensor.min()) for tensor in tensors] == list(range(20))


def test_memory_comes_back_when_its_last_view_dies() -> None:
    tensor = buffers.as_tensor(buffers.take(5))
    view = tensor[2]
    place = tensor.data_ptr()
    del tensor
    assert buffers.as_tensor(buffers.take(5)).data_ptr() != place
    del view
    taken = [buffers.as_tensor(buffers.take(5)) for _ in range(70)]  # more than can be kept
    assert place in [tensor.data_ptr() for tensor in taken]


def test_what_is_kept_is_bounded() -> None:
    many = [buffers.as_tensor(buffers.take(100)) for _ in range(5)]
    del many
    kept = [buffers.take(100) for _ in range(4)]
    assert sum(pixels.nbytes for pixels in kept) > buffers.KEPT_BYTES
    del kept
    assert buffers._blocks.free_bytes <= buffers.KEPT_BYTES  # noqa: SLF001 - the bound


def test_no_image_needs_no_memory() -> None:
    assert buffers.as_tensor(buffers.take(0)).shape == (0, 3, 268, 268)
    assert buffers.as_tensor(buffers.take(2)).dtype == torch.uint8
