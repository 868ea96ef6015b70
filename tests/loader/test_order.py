"""Every scene of an epoch comes once, whoever shares the work and wherever an epoch was left."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gl10m.loader.order import EpochOrder, OrderError, Uneven


@st.composite
def orders(draw: st.DrawFn, uneven: Uneven = "keep") -> list[EpochOrder]:
    """The orders of all ranks over shards of unequal sizes."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=1, max_size=8))
    shards = np.repeat(np.arange(len(sizes)) * 3, sizes)
    world = draw(st.integers(1, 5))
    seed, shuffle, buffer = draw(st.integers(0, 9)), draw(st.booleans()), draw(st.integers(1, 40))
    return [
        EpochOrder(
            shards=shards, rank=rank, world=world, uneven=uneven, seed=seed, shuffle=shuffle, buffer=buffer
        )
        for rank in range(world)
    ]


@given(orders(), st.integers(0, 3))
def test_ranks_share_every_scene_once(ranks: list[EpochOrder], epoch: int) -> None:
    own = [rank.own(epoch).tolist() for rank in ranks]
    assert sorted(place for part in own for place in part) == list(range(len(ranks[0].shards)))
    assert [len(part) for part in own] == [rank.share() for rank in ranks]
    assert max(map(len, own)) - min(map(len, own)) <= 1


@given(orders(), st.data())
def test_an_epoch_goes_on_where_it_was_left_with_any_number_of_ranks(
    ranks: list[EpochOrder], data: st.DataObject
) -> None:
    order = ranks[0]
    seen = data.draw(st.integers(0, len(order.shards)))
    world = data.draw(st.integers(1, 5))
    later = [
        EpochOrder(
            shards=order.shards,
            seed=order.seed,
            shuffle=order.shuffle,
            buffer=order.buffer,
            rank=rank,
            world=world,
        )
        for rank in range(world)
    ]
    rest = [place for rank in later for place in rank.own(1, seen).tolist()]
    assert sorted([*order.of_all(1)[:seen].tolist(), *rest]) == list(range(len(order.shards)))


@given(orders("drop"), orders("pad"), st.integers(0, 3))
def test_ranks_in_step_have_equally_many(
    dropping: list[EpochOrder], padding: list[EpochOrder], epoch: int
) -> None:
    for ranks in (dropping, padding):
        assert len({len(rank.own(epoch)) for rank in ranks}) == 1
        assert {len(rank.own(epoch)) for rank in ranks} == {rank.share() for rank in ranks}
    dropped = np.concatenate([rank.own(epoch) for rank in dropping])
    assert len(np.unique(dropped)) == len(dropped) > len(dropping[0].shards) - len(dropping)
    padded = np.concatenate([rank.own(epoch) for rank in padding])
    assert set(padded.tolist()) == set(range(len(padding[0].shards)))


@given(orders())
def test_a_scene_moves_by_less_than_the_buffer_and_shards_come_in_random_order(
    ranks: list[EpochOrder],
) -> None:
    order = ranks[0]
    found = order.of_all(0)
    if not order.shuffle:
        assert found.tolist() == list(range(len(found)))
        return
    alone = EpochOrder(shards=order.shards, seed=order.seed, buffer=1).of_all(0)
    assert len(np.flatnonzero(np.diff(order.shards[alone]))) == len(np.unique(order.shards)) - 1
    moved = np.argsort(found)[alone] - np.arange(len(found))
    assert abs(moved).max() < max(order.buffer, 1)


def test_epochs_and_seeds_differ_and_repeat() -> None:
    shards = np.repeat(np.arange(10), 8)
    order = EpochOrder(shards=shards, seed=1)
    assert order.of_all(0).tolist() == EpochOrder(shards=shards, seed=1).of_all(0).tolist()
    assert order.of_all(0).tolist() != order.of_all(1).tolist()
    assert order.of_all(0).tolist() != EpochOrder(shards=shards, seed=2).of_all(0).tolist()
    assert order.fingerprint != EpochOrder(shards=shards, seed=2).fingerprint


@pytest.mark.parametrize("asked", [{"rank": 2, "world": 2}, {"buffer": 0}, {"uneven": "some"}, {"world": 0}])
def test_an_order_of_nothing_is_refused(asked: dict[str, object]) -> None:
    with pytest.raises(OrderError):
        EpochOrder(shards=np.zeros(3, np.int64), **asked)  # type: ignore[arg-type]
