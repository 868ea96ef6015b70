"""Batches by threads, batches without copies, and tiles chosen after LR was seen."""

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler

from gl10m.loader import BatchLoader, GL10MDataset, RandomSymmetry, collate, scatter
from gl10m.loader.batches import PinnedMemoryError
from gl10m.loader.choice import ObservationError, TileChoiceError
from gl10m.store.byte_source import ByteRange, Content
from tests.loader.test_dataset import odd_tiles, seen
from tests.store.small_scenes import build


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("world"), CA=9)


def assert_same(one: Any, other: Any) -> None:  # noqa: ANN401 - batches
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]) if isinstance(value, torch.Tensor) else value == other[name]


def sampler(dataset: GL10MDataset) -> BatchSampler:
    order: DistributedSampler[Any] = DistributedSampler(dataset, num_replicas=1, rank=0, seed=3)
    return BatchSampler(order, 2, drop_last=False)


def test_a_batch_is_a_view_of_what_was_decoded(root: Path) -> None:
    dataset = GL10MDataset(root, tiles=odd_tiles)
    samples = dataset.__getitems__([4, 2, 0])
    batch = collate(samples)
    assert batch["hr"].data_ptr() == samples[0]["hr"].data_ptr()
    assert batch["image"].data_ptr() == samples[0]["image"].data_ptr()
    copied = collate(
        [{**sample, "hr": sample["hr"].clone(), "image": sample["image"].clone()} for sample in samples]
    )
    assert copied["image"].data_ptr() != samples[0]["image"].data_ptr()
    assert_same(batch, copied)
    assert_same(batch, collate([dataset[index] for index in (4, 2, 0)]))
    turned = collate(list(reversed(samples)))
    assert_same(turned, collate([dataset[index] for index in (0, 2, 4)]))
    assert collate(samples[2:])["hr"].shape == (0, 3, 268, 268)


def test_a_batch_outlives_its_samples(root: Path) -> None:
    dataset = GL10MDataset(root, tiles=[5])
    batch = collate(dataset.__getitems__([0, 1]))
    for _ in range(5):
        dataset.__getitems__([7, 8])
    assert seen(batch["hr"]) == [5, 5]
    assert_same(batch, collate(dataset.__getitems__([0, 1])))


def test_all_images_of_a_batch_are_read_with_one_call(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = GL10MDataset(root, tiles=[1, 2, 50])
    source = dataset.scene(0).reader.source
    calls: list[int] = []
    read = source.read

    def counted(ranges: Sequence[ByteRange]) -> Sequence[Content]:
        calls.append(len(ranges))
        return read(ranges)

    monkeypatch.setattr(source, "read", counted)
    dataset.__getitems__([0, 3, 5])
    assert calls == [3 * (1 + 2)], "an LR image, two neighbours and one tile of each scene"


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_give_what_a_dataloader_gives(root: Path, threads: int) -> None:
    dataset = GL10MDataset(root, tiles=2, columns=["naip_date"])
    expected = list(DataLoader(dataset, batch_sampler=sampler(dataset), collate_fn=collate))
    loader = BatchLoader(dataset, sampler(dataset), threads=threads)
    assert len(loader) == 5
    for _ in range(2):
        for own, other in zip(loader, expected, strict=True):
            assert_same(own, other)


@pytest.mark.parametrize("steps", range(6))
def test_it_goes_on_after_any_batch(root: Path, steps: int) -> None:
    dataset = GL10MDataset(root, tiles=1)
    expected = list(BatchLoader(dataset, sampler(dataset)))
    first = BatchLoader(dataset, sampler(dataset), threads=1)
    had = list(islice(first, steps))
    second = BatchLoader(dataset, sampler(dataset), threads=2)
    second.load_state_dict(first.state_dict())
    for own, other in zip([*had, *second], expected, strict=True):
        assert_same(own, other)
    assert second.state_dict() == {"taken": 0}
    assert len(list(second)) == 5


def test_pinned_memory_needs_a_gpu(root: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(PinnedMemoryError, match="sees none"):
        BatchLoader(GL10MDataset(root), [[0]], pin_memory=True)


def test_lr_is_seen_and_then_tiles_are_bought(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = GL10MDataset(root)
    batch = collate(dataset.__getitems__([3, 1, 6]))
    mask = torch.zeros(3, 100, dtype=torch.bool)
    mask[0, [4, 90]] = mask[2, 7] = True
    read: list[int] = []
    preadv = os.preadv
    monkeypatch.setattr(
        os,
        "preadv",
        lambda file, spaces, start: read.append(len(spaces[0])) or preadv(file, spaces, start),  # type: ignore[func-returns-value, redundant-expr]
    )
    observed = dataset.observe(batch, mask)
    assert len(read) == 3, "no LR image is read again"
    assert observed["tiles"].tolist() == seen(observed["hr"]) == [4, 90, 7]
    assert observed["scene"].tolist() == [0, 0, 2]
    assert observed["offsets"].tolist() == [0, 2, 2, 3]
    assert observed["image"] is batch["image"]
    assert torch.equal(observed["hr"][2], dataset.scene(6).hr([7])[0])
    assert_same(observed, dataset.observe(batch, [[4, 90], [], [7]]))
    features, there = scatter(observed, torch.arange(6.0).reshape(3, 2))
    assert features.shape == (3, 100, 2)
    assert torch.equal(there, mask)
    assert features[2, 7].tolist() == [4.0, 5.0]
    assert float(features.sum()) == 15


def test_what_names_no_tiles_of_the_batch_is_refused(root: Path) -> None:
    dataset = GL10MDataset(root)
    batch = collate(dataset.__getitems__([3, 1]))
    with pytest.raises(ObservationError, match=r"shape \(2, 100\)"):
        dataset.observe(batch, torch.zeros(2, 99, dtype=torch.bool))
    for mask in (torch.zeros(2, 100, dtype=torch.uint8), torch.ones(2, 100, dtype=torch.int64)):
        with pytest.raises(TileChoiceError, match="named 100 times"):
            dataset.observe(batch, mask)
    with pytest.raises(ObservationError, match="2 scenes; got tiles of 1"):
        dataset.observe(batch, [[1]])
    with pytest.raises(IndexError, match="asked for 100"):
        dataset.observe(batch, [[100], []])
    with pytest.raises(ObservationError, match="without a transform"):
        GL10MDataset(root, transform=RandomSymmetry()).observe(batch, [[1], []])
    with pytest.raises(ValueError, match="features of 3"):
        scatter(dataset.observe(batch, [[1], []]), torch.zeros(3, 2))
