import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from pipelines.stages.ground import disjoint
from tests.worlds import blobs


@given(st.lists(st.tuples(blobs(), st.sets(st.integers(0, 2))), min_size=1, max_size=7))
def test_what_counts_for_a_layer_is_its_union_without_overlaps(
    shapes: list[tuple[shapely.Polygon, set[int]]],
) -> None:
    parts = np.array([shape for shape, _ in shapes], dtype=object)
    layers = np.array([[number in row for number in range(3)] for _, row in shapes])
    pieces = disjoint(parts, np.arange(len(parts)), layers)
    assert pieces.geometry[: pieces.parts].tolist() == parts.tolist()
    assert shapely.is_valid(pieces.geometry).all()
    for layer in range(3):
        union = shapely.union_all(parts[layers[:, layer]])
        counted = pieces.geometry[pieces.counts[:, layer]]
        assert shapely.area(counted).sum() == pytest.approx(union.area, abs=1e-15)
        assert shapely.union_all(counted).symmetric_difference(union).area < 1e-15


def test_of_two_that_overlap_the_larger_keeps_the_ground() -> None:
    lake, island, shore = shapely.box(0, 0, 4, 4), shapely.box(1, 1, 2, 2), shapely.box(3, 0, 5, 1)
    pieces = disjoint(np.array([island, lake, shore]), np.arange(3), np.ones((3, 1), np.bool_))
    assert pieces.counts[:, 0].tolist() == [False, True, False, True]
    assert pieces.geometry[3].equals(shapely.box(4, 0, 5, 1))


def test_parts_of_one_owner_and_neighbours_are_left_alone() -> None:
    parts = np.array([shapely.box(n, 0, n + 1, 1) for n in range(3)])
    pieces = disjoint(parts, np.array([0, 0, 1]), np.ones((3, 2), np.bool_))
    assert pieces.counts.all()
    assert pieces.geometry.tolist() == parts.tolist()
