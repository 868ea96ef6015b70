"""Samples to a batch, whatever number of tiles each has."""

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, cast

import torch

from gl10m.loader.sample import Batch

_PACKED = ("hr", "tiles")


def collate(samples: Sequence[Mapping[str, Any]]) -> Batch:
    """Pack scenes with unequal numbers of HR tiles. Pass it to a DataLoader as `collate_fn`.

    With equal numbers PyTorch's own collation serves as well; it gives `hr` of shape (B, n, 3, 268, 268).

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
    counts = [len(sample["tiles"]) for sample in samples]
    batch: dict[str, Any] = {
        name: _gathered(name, [sample[name] for sample in samples]) for name in samples[0]
    }
    batch["scene"] = torch.repeat_interleave(torch.arange(len(samples)), torch.tensor(counts))
    batch["offsets"] = torch.tensor([0, *accumulate(counts)])
    return cast("Batch", batch)


def _gathered(name: str, values: list[Any]) -> Any:  # noqa: ANN401 - a sample may hold anything
    if name in _PACKED:
        return torch.cat(values)
    if isinstance(values[0], torch.Tensor):
        return torch.stack(values)
    if isinstance(values[0], (bool, int, float)):
        return torch.tensor(values)
    return values
