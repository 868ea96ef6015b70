"""AP@K against brute force; the threshold's properties; the price of observation."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reference_model.metrics.observation_cost import Calibration, calibrate, mocr, obr
from reference_model.metrics.retrieval import (
    NoEvaluableClassError,
    average_precision,
    average_precision_over_hits,
    chance_level,
    mean_average_precision,
    ranked_relevance,
)


def brute_force(ranked: list[bool], k: int) -> float:
    hits, total = 0, 0.0
    for place, hit in enumerate(ranked[:k], start=1):
        hits += hit
        total += hit * hits / place
    return total / min(sum(ranked), k)


def test_average_precision_agrees_with_brute_force_on_200_cases() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        scenes, k = int(rng.integers(1, 40)), int(rng.integers(1, 50))
        relevant = rng.random((scenes, 3)) < rng.random()
        scores = rng.random((scenes, 3))
        found = average_precision(ranked_relevance(scores, relevant), k)
        for place in range(3):
            column = relevant[np.argsort(-scores[:, place]), place].tolist()
            if any(column):
                assert found[place] == pytest.approx(brute_force(column, k), abs=1e-12)
            else:
                assert np.isnan(found[place])


def test_a_worked_example_for_both_normalisers() -> None:
    ranked = np.array([[True], [False], [True], [False], [True]])
    assert average_precision(ranked, 3)[0] == pytest.approx((1 + 2 / 3) / 3)
    assert average_precision_over_hits(ranked, 3)[0] == pytest.approx((1 + 2 / 3) / 2)


def test_a_perfect_ranking_scores_one_and_a_random_one_about_the_prevalence() -> None:
    rng = np.random.default_rng(0)
    relevant = rng.random((2000, 20)) < 0.2
    assert mean_average_precision(relevant.astype(float), relevant, 100).mean == 1
    by_chance = mean_average_precision(rng.random(relevant.shape), relevant, 2000).mean
    assert by_chance == pytest.approx(chance_level(relevant), abs=0.02)


def test_only_the_order_of_scores_counts() -> None:
    rng = np.random.default_rng(0)
    scores, relevant = rng.normal(size=(50, 4)), rng.random((50, 4)) < 0.3
    plain = mean_average_precision(scores, relevant, 20)
    assert mean_average_precision(np.exp(scores) - 100, relevant, 20).mean == plain.mean


def test_ties_do_not_leak_the_order_of_the_gallery() -> None:
    relevant = np.arange(400)[:, None] < 40  # all positives come first
    scores = np.zeros((400, 1))
    assert mean_average_precision(scores, relevant, 400, seed=0).mean < 0.25


def test_classes_without_a_positive_are_left_out_and_none_at_all_is_an_error() -> None:
    relevant = np.array([[True, False], [False, False]])
    assert mean_average_precision(np.array([[1.0, 0], [0, 1]]), relevant, 5).mean == 1
    with pytest.raises(NoEvaluableClassError, match="none of 2 classes"):
        mean_average_precision(np.zeros((2, 2)), np.zeros((2, 2), dtype=bool), 5)


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="no NaN"):
        ranked_relevance(np.array([[np.nan]]), np.array([[True]]))


scores = st.integers(0, 2**31).map(
    lambda seed: torch.rand(7, 100, generator=torch.Generator().manual_seed(seed))
)


@settings(max_examples=40, deadline=None)
@given(scores=scores, target=st.floats(0, 1))
def test_the_target_is_met_to_within_one_tile(scores: torch.Tensor, target: float) -> None:
    found = calibrate(scores**4, target)
    realised = obr(found.select(scores**4))
    assert realised == pytest.approx(found.obr)
    # The lowest and highest 0.1 % of the scores share one value each.
    assert abs(realised - target) <= 2 / scores.numel()


@settings(max_examples=40, deadline=None)
@given(scores=scores, low=st.floats(0, 1), high=st.floats(0, 1))
def test_a_higher_threshold_never_adds_a_tile(scores: torch.Tensor, low: float, high: float) -> None:
    low, high = sorted((low, high))
    found = calibrate(scores)
    assert not (found.select(scores, high) & ~found.select(scores, low)).any()
    assert found.select(scores, 0.0).all()
    assert not found.select(scores, 1.0).any()


def test_constant_scores_take_all_or_nothing_whichever_is_nearer() -> None:
    flat = torch.full((3, 100), 0.2)
    assert obr(calibrate(flat, 0.123).select(flat)) == 0
    assert obr(calibrate(flat, 0.9).select(flat)) == 1


def test_a_simple_scene_gets_fewer_tiles_than_a_complex_one() -> None:
    worth = torch.zeros(2, 100)
    worth[0, :30], worth[1, :2] = 0.9, 0.9
    assert calibrate(worth, 0.16).select(worth).sum(dim=1).tolist() == [30, 2]


def test_calibration_survives_json_to_the_last_bit() -> None:
    import json
    from dataclasses import asdict

    worth = torch.rand(5, 100, generator=torch.Generator().manual_seed(3))
    found = calibrate(worth, 0.123)
    again = Calibration(**json.loads(json.dumps(asdict(found))))
    assert again == found
    assert torch.equal(again.select(worth), found.select(worth))


@pytest.mark.parametrize("target", [-0.1, 1.1])
def test_a_cost_outside_zero_to_one_is_refused(target: float) -> None:
    with pytest.raises(ValueError, match="lies in"):
        calibrate(torch.rand(1, 100), target)


def test_scores_that_are_not_finite_cannot_be_calibrated() -> None:
    with pytest.raises(ValueError, match="finite"):
        calibrate(torch.full((1, 100), torch.nan))


def test_mocr_with_free_lr_equals_obr() -> None:
    requests = [(1.0, 1.0)] * 12 + [(100.0, 10.0)]
    assert mocr(requests, area=100.0) == pytest.approx(0.12)


def test_mocr_can_price_lr_and_exceed_one() -> None:
    prices = {10.0: 0.1, 1.0: 1.0}
    assert mocr([(100.0, 10.0), (12.0, 1.0)], 100.0, prices) == pytest.approx(0.22)
    assert mocr([(100.0, 1.0), (100.0, 1.0)], 100.0, prices) == pytest.approx(2)
    with pytest.raises(ValueError, match=r"asks for 0\.3 m"):
        mocr([(1.0, 0.3)], 1.0, prices)


def test_mocr_is_told_against_the_finest_resolution_even_where_a_coarser_one_is_dearer() -> None:
    assert mocr([(50.0, 1.0)], 100.0, {10.0: 3.0, 1.0: 1.0}) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("request_of", "area", "prices"),
    [
        ((1.0, 1.0), 0.0, {1.0: 1.0}),
        ((1.0, 1.0), float("nan"), {1.0: 1.0}),
        ((1.0, 1.0), 1.0, {}),
        ((1.0, 1.0), 1.0, {10.0: 1.0, 1.0: 0.0}),
        ((1.0, 1.0), 1.0, {10.0: -1.0, 1.0: 1.0}),
        ((-1.0, 1.0), 1.0, {1.0: 1.0}),
        ((float("nan"), 1.0), 1.0, {1.0: 1.0}),
    ],
)
def test_costs_that_mean_nothing_are_refused(
    request_of: tuple[float, float], area: float, prices: dict[float, float]
) -> None:
    with pytest.raises(ValueError, match="0"):
        mocr([request_of], area, prices)


def test_a_score_that_is_no_number_is_told_and_not_left_out() -> None:
    scores = torch.rand(2, 100, generator=torch.Generator().manual_seed(0))
    found = calibrate(scores, 0.2)
    scores[1, 7] = torch.nan
    with pytest.raises(ValueError, match="1 of 200 are NaN"):
        found.select(scores)
