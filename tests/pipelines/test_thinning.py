import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipelines.stages.thinning import KEPT, REFUSED, THINNED, thin
from tests.worlds import points

Points = NDArray[np.float64]
DISTANCES = st.sampled_from([0.005, 0.012, 0.05, 0.3])


def walk(
    places: Points, rank: NDArray[np.int64], degrees: float, good: NDArray[np.bool_]
) -> NDArray[np.int8]:
    """The rule itself, one point after the other."""
    fate = np.zeros(len(places), np.int8)
    kept: list[int] = []
    for point in np.argsort(rank):
        apart = np.abs(places[kept] - places[point]).reshape(-1, 2).max(axis=1)
        fate[point] = THINNED if (apart < degrees).any() else KEPT if good[point] else REFUSED
        if fate[point] == KEPT:
            kept.append(int(point))
    return fate


@st.composite
def crowds(draw: st.DrawFn) -> tuple[Points, NDArray[np.int64], NDArray[np.bool_]]:
    places = draw(points())
    rank = np.array(draw(st.permutations(range(len(places)))), np.int64)
    good = np.array(draw(st.lists(st.booleans(), min_size=len(places), max_size=len(places))), np.bool_)
    return places + np.array(draw(st.sampled_from([(0, 0), (-121.3, 37.2), (179.8, -60)]))), rank, good


@given(crowds(), DISTANCES)
def test_the_rounds_do_what_the_walk_does(
    crowd: tuple[Points, NDArray[np.int64], NDArray[np.bool_]], degrees: float
) -> None:
    places, rank, good = crowd
    asked: list[int] = []

    def accept(those: NDArray[np.int64]) -> NDArray[np.bool_]:
        asked.extend(those.tolist())
        return good[those]

    fate = thin(places[:, 0], places[:, 1], rank, degrees, accept)
    assert fate.tolist() == walk(places, rank, degrees, good).tolist()
    assert sorted(asked) == np.flatnonzero(fate != THINNED).tolist()  # asked once, and only where it matters


@given(crowds(), DISTANCES)
def test_kept_points_keep_their_distance_and_no_more_would_fit(
    crowd: tuple[Points, NDArray[np.int64], NDArray[np.bool_]], degrees: float
) -> None:
    places, rank, _ = crowd
    fate = thin(places[:, 0], places[:, 1], rank, degrees, lambda those: np.ones(len(those), np.bool_))
    apart = np.abs(places[:, None] - places[None]).max(axis=2)
    kept = fate == KEPT
    assert (apart[kept][:, kept] + np.eye(kept.sum()) * 9 >= degrees).all()
    assert (apart[~kept][:, kept] < degrees).any(axis=1).all()  # maximal


@given(crowds(), DISTANCES, st.data())
def test_the_order_of_the_points_does_not_matter(
    crowd: tuple[Points, NDArray[np.int64], NDArray[np.bool_]], degrees: float, data: st.DataObject
) -> None:
    places, rank, good = crowd
    order = np.array(data.draw(st.permutations(range(len(places)))))
    fate = thin(places[:, 0], places[:, 1], rank, degrees, lambda those: good[those])
    other = thin(
        places[order][:, 0], places[order][:, 1], rank[order], degrees, lambda those: good[order][those]
    )
    assert (fate[order] == other).all()


def test_no_distance_thins_nothing() -> None:
    places, rank = np.zeros((3, 2)), np.arange(3)
    fate = thin(places[:, 0], places[:, 1], rank, 0.0, lambda those: those != 1)
    assert fate.tolist() == [KEPT, REFUSED, KEPT]


def test_no_points_no_fate() -> None:
    nothing = np.empty(0)
    assert thin(nothing, nothing, np.empty(0, np.int64), 0.1, lambda those: those > 0).size == 0
