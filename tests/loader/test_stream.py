"""Streams and batches: whole epochs, left and taken up, by threads and by worker processes."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from gl10m.loader import BatchLoader, GL10MDataset, GL10MStream, collate, scatter
from gl10m.loader.stream import StreamStateError
from tests.store.small_scenes import build

BATCH = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = build(tmp_path_factory.mktemp("data") / "root", CA=7, TX=5, WA=4)
    assert isinstance(place, Path)
    return place


def stream(root: Path, **asked: Any) -> GL10MStream:  # noqa: ANN401 - options of the stream
    return GL10MStream(GL10MDataset(root, tiles=[0, 57]), **asked)


def names(items: Any) -> list[str]:  # noqa: ANN401 - samples or batches
    return [
        name
        for item in items
        for name in ([item["scene_id"]] if isinstance(item["scene_id"], str) else item["scene_id"])
    ]


@pytest.mark.parametrize("batch_size", [None, BATCH])
@pytest.mark.parametrize("threads", [1, 3])
def test_an_epoch_has_every_scene_once_with_its_own_pixels(
    root: Path, batch_size: int | None, threads: int
) -> None:
    dataset = GL10MDataset(root, tiles=[0, 57])
    found = list(stream(root, batch_size=batch_size, threads=threads, depth=1))
    assert sorted(names(found)) == dataset.scene_ids
    assert len(found) == len(stream(root, batch_size=batch_size))
    for item in found if batch_size is None else []:
        expected = dataset[item["index"]]
        assert torch.equal(item["image"], expected["image"])
        assert torch.equal(item["hr"], expected["hr"])


@pytest.mark.parametrize("taken", range(7))
@pytest.mark.parametrize("batch_size", [1, 2, BATCH])
def test_an_epoch_goes_on_behind_the_item_that_came_last(root: Path, taken: int, batch_size: int) -> None:
    whole = names(stream(root, batch_size=BATCH, seed=4))
    left = stream(root, batch_size=BATCH, seed=4)
    begun = iter(left)
    had = [next(begun) for _ in range(min(taken, len(left)))]
    state = json.loads(json.dumps(left.state_dict()))  # plain values
    # Another batch size and other threads: the order of the scenes is the same.
    other = stream(root, batch_size=batch_size, seed=4, threads=3)
    other.load_state_dict(state)
    assert names(had) + names(other) == whole


def test_the_epoch_after_a_resumed_one_is_whole(root: Path) -> None:
    one = stream(root, batch_size=BATCH)
    begun = iter(one)
    next(begun)
    other = stream(root, batch_size=BATCH)
    other.load_state_dict(one.state_dict())
    assert len(names(other)) == 16 - BATCH
    other.set_epoch(1)
    one.set_epoch(1)
    assert names(other) == names(one)
    assert len(names(other)) == 16


def test_a_state_of_another_stream_is_refused(root: Path) -> None:
    state = stream(root, seed=1).state_dict()
    with pytest.raises(StreamStateError, match="other scenes, seed"):
        stream(root, seed=2).load_state_dict(state)


@pytest.mark.parametrize("workers", [0, 2])
def test_worker_processes_share_an_epoch(root: Path, workers: int) -> None:
    loader = DataLoader(
        stream(root, batch_size=BATCH),
        batch_size=None,
        num_workers=workers,
        multiprocessing_context="spawn" if workers else None,
    )
    assert names(loader) == names(stream(root, batch_size=BATCH))


@pytest.mark.filterwarnings("ignore:'set_vital'")  # what torchdata asks of PyTorch
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("taken", [0, 1, 3])
def test_torchdata_takes_an_epoch_up(root: Path, workers: int, taken: int) -> None:
    stateful = pytest.importorskip("torchdata.stateful_dataloader", reason="pip install torchdata")

    def loader() -> Any:  # noqa: ANN401 - torchdata's own class
        return stateful.StatefulDataLoader(
            stream(root, batch_size=BATCH), batch_size=None, num_workers=workers, multiprocessing_context=None
        )

    whole = names(loader())
    left = loader()
    begun = iter(left)
    had = [next(begun) for _ in range(taken)]
    state = left.state_dict()
    other = loader()
    other.load_state_dict(state)
    assert names(had) + names(other) == whole


def test_a_stream_is_picklable(root: Path) -> None:
    made = pickle.loads(pickle.dumps(stream(root, batch_size=2)))  # noqa: S301 - our own
    assert names(made) == names(stream(root, batch_size=2))


def test_batches_by_threads_are_those_of_a_data_loader(root: Path) -> None:
    dataset = GL10MDataset(root, tiles=4, seed=3)
    batches = [[0, 5, 9], [2], [15, 1]]
    ours = list(BatchLoader(dataset, batches, threads=2))
    theirs = list(DataLoader(dataset, batch_sampler=batches, collate_fn=collate))
    for one, other in zip(ours, theirs, strict=True):
        assert one["scene_id"] == other["scene_id"]
        assert torch.equal(one["hr"], other["hr"])
        assert torch.equal(one["image"], other["image"])
        assert torch.equal(one["offsets"], other["offsets"])


def test_look_at_lr_then_buy(root: Path) -> None:
    dataset = GL10MDataset(root)
    batch = collate(dataset.__getitems__([3, 8]))
    wanted = torch.zeros(2, 100, dtype=torch.bool)
    wanted[0, [4, 99]] = True
    wanted[1, 7] = True
    seen = dataset.observe(batch, wanted)
    assert seen["tiles"].tolist() == [4, 99, 7]
    assert seen["scene"].tolist() == [0, 0, 1]
    assert torch.equal(seen["hr"][:2], dataset.scene(3).hr([4, 99]))
    placed, mask = scatter(seen, seen["hr"].float().mean(dim=(1, 2, 3)))
    assert mask.tolist() == wanted.tolist()
    assert placed.shape == (2, 100)
    assert placed[1, 7] == seen["hr"][2].float().mean()


def test_a_batch_of_one_call_is_not_copied(root: Path) -> None:
    samples = GL10MDataset(root, tiles=[1, 2]).__getitems__([0, 1, 2])
    batch = collate(samples)
    assert batch["hr"].data_ptr() == samples[0]["hr"].data_ptr()
    assert batch["image"].data_ptr() == samples[0]["image"].data_ptr()


def test_a_damaged_shard_ends_the_stream_where_its_scene_would_have_come(tmp_path: Path) -> None:
    place = build(tmp_path / "root", CA=4)
    assert isinstance(place, Path)
    dataset = GL10MDataset(place, tiles=[5])
    (shard,) = (place / "data").iterdir()
    content = bytearray(shard.read_bytes())
    start = dataset.scene(2).reader.lr_range(2).start
    content[start + 300] ^= 16
    shard.write_bytes(content)
    streaming = iter(GL10MStream(GL10MDataset(place, tiles=[5]), shuffle=False))
    assert [next(streaming)["index"] for _ in range(2)] == [0, 1]
    with pytest.raises(ValueError, match="is damaged"):
        next(streaming)
