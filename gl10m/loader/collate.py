"""Samples to a batch, whatever number of tiles each has, and a batch's tiles to their places."""

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any, cast

import torch
from torch import Tensor

from gl10m.loader.sample import Batch
from gl10m.scene.grid import TILES


def collate(samples: Sequence[Mapping[str, Any]]) -> Batch:
    """Pack scenes with unequal numbers of HR tiles. Pass it to a DataLoader as `collate_fn`.

    Images that lie one behind the other in memory, as those of one `GL10MDataset.__getitems__` do, are not
    copied: the batch is a view of them. With equal numbers PyTorch's own collation serves as well; it copies,
    and gives `hr` of shape (B, n, 3, 268, 268).

    Args:
        samples: items of `GL10MDataset`, at least one, all with the same keys.

    Returns:
        Tensors stacked, HR tiles and their numbers one behind the other, numbers as tensors, all else (texts,
        lists) as lists.

    Raises:
        ValueError: there is no sample.
    """
    if not samples:
        raise ValueError("a batch has at least one sample; got none")
    batch: dict[str, Any] = {
        name: _gathered(name, [sample[name] for sample in samples]) for name in samples[0]
    }
    return cast("Batch", batch | _places([len(sample["tiles"]) for sample in samples]))


def packed(hr: Tensor, tiles: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """The part of a batch that tells of HR tiles.

    Args:
        hr: uint8 (sum of n, 3, 268, 268), the tiles of the first scene, then those of the second.
        tiles: their numbers, for each scene.
    """
    numbers = torch.tensor([number for own in tiles for number in own], dtype=torch.int64)
    return {"hr": hr, "tiles": numbers} | _places([len(own) for own in tiles])


def scatter(batch: Mapping[str, Any], features: Tensor) -> tuple[Tensor, Tensor]:
    """Put what was computed of each tile where the tile lies in its scene.

    Args:
        batch: of `collate` or `GL10MDataset.observe`, with N tiles of B scenes.
        features: shape (N, ...), on any device.

    Returns:
        Shape (B, 100, ...), zero where no tile was read, and a mask, bool (B, 100), True where one was. Of a
        tile that was read twice the one or the other.

    Raises:
        ValueError: there are not as many features as tiles.
    """
    scene, tiles = batch["scene"].to(features.device), batch["tiles"].to(features.device)
    if len(features) != len(tiles):
        raise ValueError(f"the batch has {len(tiles)} tiles; got features of {len(features)}")
    scenes = len(batch["offsets"]) - 1
    placed = features.new_zeros((scenes, TILES, *features.shape[1:]))
    placed[scene, tiles] = features
    mask = torch.zeros((scenes, TILES), dtype=torch.bool, device=features.device)
    mask[scene, tiles] = True
    return placed, mask


def _places(counts: list[int]) -> dict[str, Tensor]:
    """Which scene each tile belongs to, and where the tiles of each scene begin."""
    scene = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    return {"scene": scene, "offsets": torch.tensor([0, *accumulate(counts)])}


def _gathered(name: str, values: list[Any]) -> Any:  # noqa: ANN401 - a sample may hold anything
    if name == "hr":
        return _in_place([value for value in values if len(value)] or values[:1])
    if name == "image":
        return _in_place([_as_one(value) for value in values])
    if name == "tiles":
        return torch.cat(values)
    if isinstance(values[0], Tensor):
        return torch.stack(values)
    if isinstance(values[0], (bool, int, float)):
        return torch.tensor(values)
    return values


def _as_one(image: Tensor) -> Tensor:
    """A batch of one image whose stride says where the next one would lie."""
    strides = (image.numel(), *image.stride())
    return image.as_strided((1, *image.shape), strides, image.storage_offset())


def _in_place(parts: list[Tensor]) -> Tensor:
    """Tensors one behind the other, without a copy where that is how they lie in memory."""
    first = parts[0]
    whole = all(
        after.data_ptr() == before.data_ptr() + len(before) * before.stride(0) * before.element_size()
        and after.shape[1:] == first.shape[1:]
        and after.stride() == first.stride()
        and after.dtype == first.dtype
        and after.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        for before, after in pairwise(parts)
    )
    if not whole:
        return torch.cat(parts)
    shape = (sum(map(len, parts)), *first.shape[1:])
    return first.as_strided(shape, first.stride(), first.storage_offset())
