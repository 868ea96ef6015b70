"""Every scene of an epoch once, whoever shares it and wherever it is left and taken up."""

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gl10m.loader.order import EpochOrder, OrderError

SHARDS = st.lists(st.integers(0, 6), max_size=80).map(lambda numbers: np.array(sorted(numbers), np.int64))
SHUFFLES = st.fixed_dictionaries(
    {"seed": st.integers(0, 5), "shuffle": st.booleans(), "buffer": st.integers(1, 100)}
)


def ranks(world: int, **settings: Any) -> list[EpochOrder]:  # noqa: ANN401 - settings of an order
    return [EpochOrder(rank=rank, world=world, **settings) for rank in range(world)]


@given(SHARDS, SHUFFLES, st.integers(0, 3))
def test_an_order_holds_every_scene_once(shards: Any, shuffle: dict[str, Any], epoch: int) -> None:  # noqa: ANN401
    order = EpochOrder(shards=shards, **shuffle)
    assert sorted(order.of_all(epoch).tolist()) == list(range(len(shards)))
    assert np.array_equal(order.of_all(epoch), EpochOrder(shards=shards, **shuffle).of_all(epoch))


@given(SHARDS, SHUFFLES, st.integers(1, 7))
def test_ranks_share_an_epoch_without_loss_or_repeat(
    shards: Any,  # noqa: ANN401 - an array of numpy
    shuffle: dict[str, Any],
    world: int,
) -> None:
    shares = [order.own(2).tolist() for order in ranks(world, shards=shards, **shuffle)]
    assert sorted(scene for share in shares for scene in share) == list(range(len(shards)))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(SHARDS, SHUFFLES, st.integers(1, 7))
def test_dropped_and_padded_shares_are_equal(shards: Any, shuffle: dict[str, Any], world: int) -> None:  # noqa: ANN401
    count = len(shards)
    for uneven, scenes in (("drop", count // world * world), ("pad", -(-count // world) * world)):
        orders = ranks(world, shards=shards, uneven=uneven, **shuffle)
        shares = [order.own(0).tolist() for order in orders]
        assert {len(share) for share in shares} == {scenes // world}
        seen = Counter(scene for share in shares for scene in share)
        assert len(seen) == min(scenes, count)
        if uneven == "drop" or world <= count:
            assert sum(times - 1 for times in seen.values()) == max(0, scenes - count)


@given(SHARDS, SHUFFLES, st.integers(1, 5), st.integers(0, 90), st.sampled_from(["keep", "drop", "pad"]))
def test_a_share_is_as_long_as_it_says(
    shards: Any,  # noqa: ANN401
    shuffle: dict[str, Any],
    world: int,
    seen: int,
    uneven: Any,  # noqa: ANN401
) -> None:
    seen = min(seen, len(shards))
    for order in ranks(world, shards=shards, uneven=uneven, **shuffle):
        assert order.share(seen) == len(order.own(1, seen))


@given(SHARDS, SHUFFLES, st.integers(1, 5), st.integers(1, 5), st.integers(0, 20))
def test_another_number_of_ranks_takes_up_what_is_left(
    shards: Any,  # noqa: ANN401
    shuffle: dict[str, Any],
    before: int,
    after: int,
    steps: int,
) -> None:
    had = [order.own(0)[:steps].tolist() for order in ranks(before, shards=shards, **shuffle)]
    seen = min(steps * before, len(shards))
    rest = [order.own(0, seen).tolist() for order in ranks(after, shards=shards, **shuffle)]
    assert sorted(place for part in had + rest for place in part) == list(range(len(shards)))


def test_a_scene_stays_near_its_shard_and_another_epoch_is_another_order() -> None:
    shards = np.repeat(np.arange(50), 20)
    order = EpochOrder(shards=shards, buffer=40)
    visited = shards[order.of_all(0)]
    for shard in range(50):
        assert np.ptp(np.flatnonzero(visited == shard)) < 20 + 2 * 40
    assert not np.array_equal(order.of_all(0), order.of_all(1))
    together = shards[EpochOrder(shards=shards, buffer=1).of_all(0)]
    assert (np.diff(together) != 0).sum() == 49


@pytest.mark.parametrize(
    "wrong", [{"rank": 2, "world": 2}, {"rank": -1}, {"world": 0}, {"buffer": 0}, {"uneven": "split"}]
)
def test_what_orders_nothing_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(OrderError):
        EpochOrder(shards=np.zeros(3, np.int64), **wrong)
