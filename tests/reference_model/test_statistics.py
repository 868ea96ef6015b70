"""Intervals over scenes against laying every resample out, and over seeds against SciPy's Student t."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reference_model.metrics.base_novel import base_and_novel
from reference_model.metrics.bootstrap import (
    bootstrap,
    over_classes,
    paired_bootstrap,
    resampled,
    resampled_average_precision,
)
from reference_model.metrics.retrieval import (
    NoEvaluableClassError,
    accuracy,
    average_precision,
    macro_average_precision,
    mean_average_precision,
    ranked_relevance,
)
from reference_model.metrics.seeds import compare, t_interval, t_quantile
from reference_model.reproduction.measure import Gallery, outcome


def gallery(seed: int, scenes: int = 60, classes: int = 5) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    rng = np.random.default_rng(seed)
    relevant = rng.random((scenes, classes)) < rng.random(classes)
    return rng.normal(size=relevant.shape) + relevant, relevant


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), scenes=st.integers(1, 30), k=st.integers(1, 40))
def test_a_counted_resample_is_one_that_was_laid_out_and_ranked_again(seed: int, scenes: int, k: int) -> None:
    scores, relevant = gallery(seed, scenes)
    counts = resampled(scenes, 5, seed)
    found = resampled_average_precision(scores, relevant, k, counts)
    for row, drawn in zip(found, counts, strict=True):
        copies = np.repeat(np.arange(scenes), drawn)
        laid_out = average_precision(ranked_relevance(scores[copies], relevant[copies]), k)
        np.testing.assert_allclose(row, laid_out, atol=1e-12)


def test_a_long_gallery_is_only_looked_at_as_far_as_k_reaches() -> None:
    scores, relevant = gallery(1, scenes=4000, classes=3)
    counts = resampled(4000, 20, seed=2)
    drawn = np.repeat(np.arange(4000), counts[7])
    found = resampled_average_precision(scores, relevant, 20, counts)[7]
    laid_out = average_precision(ranked_relevance(scores[drawn], relevant[drawn]), 20)
    np.testing.assert_allclose(found, laid_out, atol=1e-12)


def test_the_estimate_is_that_of_the_scenes_themselves_and_lies_in_its_interval() -> None:
    scores, relevant = gallery(3)
    found = bootstrap(scores, relevant, 20)
    assert found.estimate == pytest.approx(mean_average_precision(scores, relevant, 20).mean, abs=1e-12)
    assert found.low < found.estimate < found.high
    assert bootstrap(scores, relevant, 20) == found


def test_pairing_tells_apart_what_two_single_intervals_do_not() -> None:
    scores, relevant = gallery(4, scenes=300)
    better = scores + 0.3 * relevant
    apart = paired_bootstrap(better, scores, relevant, 100)
    assert apart.excludes_zero
    assert apart.low > 0
    assert bootstrap(better, relevant, 100).low < bootstrap(scores, relevant, 100).high
    same = paired_bootstrap(scores, scores, relevant, 100)
    assert (same.low, same.estimate, same.high) == (0, 0, 0)
    assert not same.excludes_zero


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Scores are drawn from a known law; its mAP on a very large gallery is the truth."""
    scores, relevant = gallery(5, scenes=40_000, classes=1)
    truth = macro_average_precision(scores, relevant).mean
    parts = [slice(start, start + 200) for start in range(0, 40_000, 200)]
    inside = [
        found.low <= truth <= found.high
        for found in (bootstrap(scores[part], relevant[part], 200, resamples=200) for part in parts)
    ]
    assert 0.88 < np.mean(inside) < 0.99


def test_an_interval_over_classes_leaves_out_those_without_a_difference() -> None:
    found = over_classes(np.array([0.1, 0.2, np.nan, 0.3]))
    assert found.estimate == pytest.approx(0.2)
    assert 0.1 <= found.low < found.high <= 0.3
    with pytest.raises(ValueError, match="none has one"):
        over_classes(np.array([np.nan]))


def test_a_bootstrap_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="0 scenes"):
        resampled(0)
    with pytest.raises(NoEvaluableClassError):
        paired_bootstrap(np.zeros((2, 1)), np.zeros((2, 1)), np.zeros((2, 1), dtype=bool), 5)


def test_ap_over_the_full_list_is_that_of_scikit_learn() -> None:
    oracle = pytest.importorskip("sklearn.metrics", reason="pip install scikit-learn")
    for seed in range(20):
        scores, relevant = gallery(seed)
        relevant[0] = True
        expected = oracle.average_precision_score(relevant, scores, average=None)
        found = macro_average_precision(scores, relevant)
        np.testing.assert_allclose(found.per_class, expected, atol=1e-12)
        assert found.mean == pytest.approx(expected.mean())


def test_the_weighted_mean_over_classes_is_that_of_scikit_learn() -> None:
    oracle = pytest.importorskip("sklearn.metrics", reason="pip install scikit-learn")
    scores, relevant = gallery(7)
    novel = np.array([False, True, False, False, True])
    names = tuple("abcde")
    measured = outcome(
        Gallery(relevant=relevant, novel=novel, class_names=names, seed=0),
        [torch.from_numpy(scores)],
        [torch.zeros(len(scores), 100, dtype=torch.bool)],
    ).metrics
    for group, members in {"base": ~novel, "novel": novel, "all": novel | True}.items():
        expected = oracle.average_precision_score(
            relevant[:, members], scores[:, members], average="weighted"
        )
        found = measured[f"{group}/weighted-mAP"]
        assert found.value == pytest.approx(expected)
        assert found.low is not None
        assert found.high is not None
        assert found.low < found.value < found.high


def test_accuracy_counts_the_best_class() -> None:
    scores = np.array([[0.1, 0.9], [0.8, 0.2], [0.5, 0.5]])
    assert accuracy(scores, np.array([1, 1, 0])) == pytest.approx(2 / 3)
    for wrong in (np.array([1]), np.zeros((3, 2), dtype=int)):
        with pytest.raises(ValueError, match="one class an image"):
            accuracy(scores, wrong)


def test_base_and_novel_rank_the_same_gallery_by_their_own_classes() -> None:
    scores, relevant = gallery(6)
    novel = np.array([False, True, False, False, True])
    found = base_and_novel(scores, relevant, novel, (5, 20))
    for name, mask in (("base", ~novel), ("novel", novel)):
        alone = mean_average_precision(scores[:, mask], relevant[:, mask], 20).mean
        assert found[name][20] == pytest.approx(alone)


def test_a_group_without_a_positive_is_left_out_and_none_at_all_is_an_error() -> None:
    scores, relevant = gallery(7)
    novel = np.array([True, False, False, False, False])
    relevant[:, 0] = False
    assert set(base_and_novel(scores, relevant, novel, (5,))) == {"base"}
    with pytest.raises(NoEvaluableClassError, match="none of 5 classes"):
        base_and_novel(scores, np.zeros_like(relevant), novel, (5,))
    with pytest.raises(ValueError, match="one entry a class"):
        base_and_novel(scores, relevant, novel[:3], (5,))


@pytest.mark.parametrize(("freedom", "value"), [(1, 12.706), (2, 4.303), (4, 2.776), (9, 2.262), (30, 2.042)])
def test_quantiles_of_student_are_those_of_the_tables(freedom: int, value: float) -> None:
    assert t_quantile(0.975, freedom) == pytest.approx(value, abs=5e-4)


def test_quantiles_of_student_are_those_of_scipy() -> None:
    oracle = pytest.importorskip("scipy.stats", reason="pip install scipy")
    for freedom in range(1, 41):
        for share in (0.5, 0.6, 0.9, 0.975, 0.999):
            assert t_quantile(share, freedom) == pytest.approx(float(oracle.t.ppf(share, freedom)), rel=1e-9)


def test_a_claim_is_confirmed_only_where_the_seeds_agree() -> None:
    baseline = [0.40, 0.42, 0.38, 0.41, 0.39]
    better = [value + gain for value, gain in zip(baseline, (0.05, 0.06, 0.04, 0.05, 0.05), strict=True)]
    assert compare(better, baseline).verdict == "confirmed"
    assert compare(baseline, better).verdict == "reversed"
    either_way = [
        value + gain for value, gain in zip(baseline, (0.03, -0.05, 0.06, -0.04, 0.05), strict=True)
    ]
    assert compare(either_way, baseline).verdict == "not separable"


def test_one_seed_proves_nothing() -> None:
    found = compare([0.9], [0.1])
    assert found.verdict == "not separable"
    assert found.seeds == 1
    assert math.isinf(found.interval.high)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=10))
def test_the_interval_is_about_the_mean_and_the_other_claim_mirrors_it(values: list[float]) -> None:
    zeros = [0.0] * len(values)
    found, mirrored = compare(values, zeros), compare(zeros, values)
    assert found.interval.low <= found.interval.estimate <= found.interval.high
    assert found.interval.low == pytest.approx(-mirrored.interval.high)
    assert (found.verdict == "confirmed") == (mirrored.verdict == "reversed")


def test_figures_that_are_no_pairs_or_no_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="2 and 1 of them"):
        compare([0.1, 0.2], [0.1])
    with pytest.raises(ValueError, match="finite"):
        t_interval([0.1, math.nan])
    with pytest.raises(ValueError, match="at least 1"):
        t_quantile(0.975, 0)
