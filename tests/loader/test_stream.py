"""A stream is the same whoever carries it, and goes on where it was left."""

import json
import pickle
import threading
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from gl10m.loader import GL10MDataset, GL10MStream, StreamStateError
from gl10m.store.layout import SHARDS
from gl10m.store.reader import DamagedImageError
from gl10m.store.region_index import open_index
from tests.store.small_scenes import build

# More workers than cores are of interest here, whatever the machine.
pytestmark = pytest.mark.filterwarnings("ignore:This DataLoader will create:UserWarning")

SCENES = 11

Make = Callable[..., GL10MStream]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("world"), {"CA": "train", "WA": "train"}, CA=7, WA=4)


@pytest.fixture(scope="module")
def make(root: Path) -> Make:
    def stream(**options: Any) -> GL10MStream:  # noqa: ANN401 - options of a stream
        return GL10MStream(GL10MDataset(root, tiles=1), **{"buffer": 4, **options})

    return stream


def told(items: Any) -> list[tuple[Any, ...]]:  # noqa: ANN401 - samples or batches
    """What tells items apart: their scenes and the tiles drawn."""
    return [
        (torch.as_tensor(item["index"]).tolist(), item["tiles"].tolist(), int(item["hr"].sum()))
        for item in items
    ]


def test_whole_scenes_come_once_each_in_the_order_of_the_epoch(root: Path) -> None:
    stream = GL10MStream(GL10MDataset(root, tiles="all"), buffer=3)
    samples = list(stream)
    assert [sample["index"] for sample in samples] == stream.order.of_all(0).tolist()
    assert (
        sorted(sample["index"] for sample in samples)
        == list(range(SCENES))
        != [sample["index"] for sample in samples]
    )
    own = GL10MDataset(root, tiles="all")[samples[0]["index"]]
    assert torch.equal(samples[0]["hr"], own["hr"])
    assert torch.equal(samples[0]["image"], own["image"])


def test_batches_are_the_same_for_every_number_of_threads_and_workers(make: Make) -> None:
    expected = told(make(batch_size=2))
    assert len(expected) == len(make(batch_size=2)) == 6
    for threads in (0, 1, 3):
        assert told(make(batch_size=2, threads=threads, depth=0)) == expected
    assert told(make(batch_size=2, threads=0, depth=3)) == expected
    for workers in (1, 2, 3):
        loader = DataLoader(make(batch_size=2, threads=2 - workers % 3), batch_size=None, num_workers=workers)
        assert told(loader) == expected


def test_an_epoch_has_an_order_and_tiles_of_its_own_in_living_workers_too(make: Make) -> None:
    here, there = make(), make()
    loader = DataLoader(there, batch_size=None, num_workers=2, persistent_workers=True)
    epochs = []
    for epoch in (0, 1):
        here.set_epoch(epoch)
        there.set_epoch(epoch)
        epochs.append(told(here))
        assert told(loader) == epochs[-1]
    assert epochs[0] != epochs[1]
    assert sorted(epochs[0]) != sorted(epochs[1]), "the tiles drawn"


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.integers(0, 12),
    st.one_of(st.none(), st.integers(1, 4)),
    st.integers(0, 2),
)
def test_it_goes_on_anywhere_with_other_threads_ranks_and_batches(
    make: Make, worlds: tuple[int, int], steps: int, batch_size: int | None, epoch: int
) -> None:
    world, after = worlds
    parts = []
    states = []
    for rank in range(world):
        stream = make(rank=rank, world=world, threads=1)
        stream.set_epoch(epoch)
        parts += [item["index"] for item in islice(stream, steps)]
        states.append(json.loads(json.dumps(stream.state_dict())))
    assert all(state == states[0] for state in states) or steps > SCENES // world
    for rank in range(after):
        stream = make(rank=rank, world=after, threads=2, batch_size=batch_size)
        stream.load_state_dict(states[0])
        parts += torch.cat(
            [torch.as_tensor(item["index"]).reshape(-1) for item in stream] or [torch.zeros(0)]
        ).tolist()
        assert stream.dataset.epoch == epoch
    assert sorted(parts) == list(range(SCENES))


# torchdata 0.11 calls a name of PyTorch that PyTorch has since deprecated.
@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("steps", [0, 1, 5, 6])
def test_torchdata_takes_it_up_exactly(make: Make, workers: int, steps: int) -> None:
    def loader() -> Any:  # noqa: ANN401 - it has no types
        return StatefulDataLoader(make(batch_size=2), batch_size=None, num_workers=workers)

    whole = loader()
    expected = told(whole)
    first = loader()
    iterator = iter(first)
    had = told(islice(iterator, steps))
    state = pickle.dumps(first.state_dict())
    del iterator, first
    second = loader()
    second.load_state_dict(pickle.loads(state))  # noqa: S301 - our own
    assert had + told(second) == expected
    second.dataset.set_epoch(1)
    third = make(batch_size=2)
    third.set_epoch(1)
    assert told(second) == told(third), "the next epoch"


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_a_plain_dataloader_goes_on_with_another_number_of_workers(make: Make, workers: int) -> None:
    expected = told(make())
    before = make()
    had = told(islice(DataLoader(before, batch_size=None, num_workers=2), 4))
    after = make()
    after.load_state_dict(before.state_dict(taken=4))
    assert had + told(DataLoader(after, batch_size=None, num_workers=workers)) == expected


def test_a_state_after_the_last_item_leaves_nothing_and_then_a_whole_epoch(make: Make) -> None:
    stream = make()
    expected = told(stream)
    state = stream.state_dict()
    again = make()
    again.load_state_dict(state)
    assert told(again) == []
    assert told(again) == expected
    assert told(stream) == expected
    stream.set_epoch(1)
    assert stream.state_dict() | {"epoch": 0} == make().state_dict()


def test_a_loop_that_was_left_begins_anew(make: Make) -> None:
    stream = make()
    next(iter(stream))
    assert len(told(stream)) == SCENES


def test_states_of_other_streams_are_refused(make: Make) -> None:
    state = make().state_dict()
    with pytest.raises(StreamStateError, match="this has no batch_size, epoch, order"):
        make().load_state_dict({"x": 1})
    with pytest.raises(StreamStateError, match="other scenes, seed"):
        make(seed=1).load_state_dict(state)
    with pytest.raises(StreamStateError, match="one of 2 workers"):
        make().load_state_dict({**state, "workers": 2, "taken": 1})


def test_random_transforms_are_repeated_whatever_the_threads(root: Path) -> None:
    def draws(threads: int) -> list[float]:
        torch.manual_seed(3)
        dataset = GL10MDataset(root, transform=lambda _: float(torch.rand(())))
        return list(GL10MStream(dataset, threads=threads))

    assert draws(1) == draws(4)


@pytest.mark.parametrize("threads", [0, 2])
def test_memory_is_bounded_and_threads_end_with_their_user(root: Path, threads: int) -> None:
    dataset = GL10MDataset(root, tiles=1)
    stream = GL10MStream(dataset, threads=threads, depth=1)
    begun: list[int] = []
    fetch = dataset.fetch
    dataset.fetch = lambda indices: (begun.extend(indices), fetch(indices))[1]  # type: ignore[method-assign, func-returns-value]
    iterator = iter(stream)
    next(iterator)
    assert len(begun) <= 2 + 1 + 1
    iterator.close()  # type: ignore[attr-defined]  # a generator
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("gl10m-decode")]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("gl10m-fetch")]


def test_a_damaged_shard_is_named_where_its_scene_would_come(tmp_path: Path) -> None:
    root = build(tmp_path, CA=5)
    shard = root / SHARDS / "CA-00000-of-00001.parquet"
    content = bytearray(shard.read_bytes())
    index = open_index(root / "index" / "CA.arrow")
    content[int(index.column("hr_offset")[3]) + int(index.column("hr_length")[3][0]) - 20] ^= 1
    shard.write_bytes(content)
    iterator = iter(GL10MStream(GL10MDataset(root, tiles="all"), shuffle=False))
    assert [next(iterator)["index"] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(DamagedImageError, match="HR tile 0 of scene CA-w1003"):
        next(iterator)


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"threads": -1}, {"depth": -1}])
def test_numbers_below_their_least_are_refused(make: Make, wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least"):
        make(**wrong)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_it_is_pickled_and_forked_while_its_threads_run(make: Make, context: str) -> None:
    stream = make(batch_size=3)
    running = iter(make(batch_size=3))
    next(running)
    loader = DataLoader(stream, batch_size=None, num_workers=2, multiprocessing_context=context, timeout=60)
    assert told(loader) == told(pickle.loads(pickle.dumps(stream)))  # noqa: S301 - our own
