"""No held-out footprint overlaps one that is trained on."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_model.holdout import TooFewScenesError, assign, blocks


def squares(corners: np.ndarray) -> np.ndarray:
    return np.concatenate([corners, corners + 0.024], axis=1)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), extent=st.floats(0.3, 2))
def test_held_out_ground_is_never_trained_on(seed: int, extent: float) -> None:
    bounds = squares(np.random.default_rng(seed).uniform(0, extent, (80, 2)))
    roles = assign(["train"] * 80, bounds, seed)
    boxes = shapely.box(*bounds.T)
    parts = (roles.train, roles.val, roles.test)
    for held_out, others in ((roles.test, parts[:2]), (roles.val, parts[:1])):
        ground = shapely.union_all(boxes[held_out])
        for other in others:
            assert shapely.union_all(boxes[other]).intersection(ground).area < 1e-12
    assert sum(map(len, parts)) + roles.dropped == 80
    assert len(np.unique(np.concatenate(parts))) == 80 - roles.dropped


def test_splits_that_exist_are_used_and_said() -> None:
    splits = ["train"] * 10 + ["val"] * 3 + ["test"] * 5 + ["none"]
    bounds = squares(np.arange(19)[:, None] * [0.1, 0])
    roles = assign(splits, bounds, 0)
    assert roles.val.tolist() == [10, 11, 12]
    assert roles.test.tolist() == [13, 14, 15, 16, 17]
    assert roles.dropped == 0
    assert "val and test splits" in roles.held_out


def test_a_missing_split_alone_is_taken_from_train() -> None:
    splits = ["train"] * 32 + ["val"] * 3
    roles = assign(splits, squares(np.arange(35)[:, None] * [0.1, 0]), 0)
    assert roles.val.tolist() == [32, 33, 34]
    assert len(roles.test) == 8
    assert "no test split" in roles.held_out


def test_scenes_that_only_touch_do_not_overlap() -> None:
    splits = ["train"] * 8 + ["val"] * 2 + ["test"] * 4
    roles = assign(splits, squares(np.arange(14)[:, None] * [0.024, 0]), 0)
    assert roles.dropped == 0


def test_blocks_are_a_partition_of_compact_parts() -> None:
    bounds = squares(np.random.default_rng(0).uniform(0, 1, (50, 2)))
    parts = blocks(bounds, 8)
    assert sorted(np.concatenate(parts).tolist()) == list(range(50))
    assert {len(part) for part in parts} <= {6, 7}


def test_too_few_scenes_are_said_with_the_remedy() -> None:
    with pytest.raises(TooFewScenesError, match=r"at least 8 scenes for train.*Build more scenes"):
        assign(["train"] * 10, squares(np.arange(10)[:, None] * [0.1, 0]), 0)
