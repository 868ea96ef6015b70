"""Turning a scene turns its LR image, its tiles and their numbers alike."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from gl10m.loader import RandomSymmetry
from gl10m.loader.transforms import turned
from gl10m.scene.grid import cut


def scene(tiles: list[int], seed: int = 0) -> tuple[dict[str, Any], NDArray[np.uint8]]:
    """A sample with tiny images, and the mosaic that its tiles were cut from."""
    mosaic = np.random.default_rng(seed).integers(0, 256, (3, 40, 40), dtype=np.uint8)
    sample = {
        "image": torch.from_numpy(mosaic),
        "hr": torch.from_numpy(cut(mosaic)[tiles]),
        "tiles": torch.tensor(tiles, dtype=torch.int64),
        "label": torch.tensor([True]),
    }
    return sample, mosaic


@given(symmetry=st.integers(0, 7), tiles=st.lists(st.integers(0, 99), max_size=5))
@settings(max_examples=60)
def test_each_tile_is_where_its_number_says(symmetry: int, tiles: list[int]) -> None:
    sample, _ = scene(tiles)
    after = turned(sample, symmetry)
    mosaic = after["image"].numpy()
    assert np.array_equal(after["hr"].numpy(), cut(mosaic)[after["tiles"].tolist()])
    assert after["label"] is sample["label"]


def test_the_eight_symmetries_differ() -> None:
    sample, _ = scene([0, 1])
    seen = {turned(sample, symmetry)["image"].numpy().tobytes() for symmetry in range(8)}
    assert len(seen) == 8
    assert turned(sample, 0)["tiles"].tolist() == [0, 1]
    assert turned(sample, 4)["tiles"].tolist() == [9, 8]


def test_another_symmetry_is_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.\.7; asked for 8"):
        turned(scene([])[0], 8)


def test_the_random_one_repeats_with_the_seed() -> None:
    sample, _ = scene([5])
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append([int(RandomSymmetry()(sample)["tiles"][0]) for _ in range(20)])
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) > 3
