from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap, spearmanr

from tritonpack.evaluation.intervals import difference, interval
from tritonpack.evaluation.scorers import Scores
from tritonpack.evaluation.scorers._numbers import mean_of, pearson, ratio, roc_auc, share_of, spearman


def scores(**columns):
    arrays = {name: np.asarray(column, dtype=float) for name, column in columns.items()}
    count = len(next(iter(arrays.values())))
    return Scores(arrays, np.zeros(count), [""] * count, [""] * count)


def rank_correlation(scored):
    return spearman(scored.columns["x"], scored.columns["y"])


RNG = np.random.default_rng(11)
X = RNG.normal(size=200)
Y = X + RNG.normal(size=200)


def test_an_interval_is_scipys():
    found = interval(rank_correlation, scores(x=X, y=Y), resamples=300, seed=3)
    expected = bootstrap(
        (X, Y),
        lambda x, y: spearmanr(x, y).statistic,
        paired=True,
        vectorized=False,
        n_resamples=300,
        method="percentile",
        rng=np.random.default_rng(3),
    ).confidence_interval
    assert found.value == pytest.approx(spearmanr(X, Y).statistic)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.low < found.value < found.high


def test_a_mean_has_about_the_interval_of_its_normal_distribution():
    found = interval(mean_of("x"), scores(x=X), resamples=2000)
    half = 1.96 * X.std() / math.sqrt(len(X))
    assert (found.low, found.high) == pytest.approx((X.mean() - half, X.mean() + half), abs=0.02)


def test_more_confidence_is_wider_and_a_seed_repeats():
    scored = scores(x=X)
    narrow, wide = (interval(mean_of("x"), scored, confidence=share) for share in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high
    assert interval(mean_of("x"), scored) == interval(mean_of("x"), scored)
    assert interval(mean_of("x"), scored) != interval(mean_of("x"), scored, seed=8)


@given(st.floats(-1, 1), st.integers(0, 100))
@settings(max_examples=10, deadline=None)
def test_a_difference_is_of_the_same_samples(shift, seed):
    """A candidate that is off by the same everywhere is so in every resample, however much samples differ."""
    found = difference(mean_of("x"), scores(x=X), scores(x=X + shift), resamples=100, seed=seed)
    assert (found.value, found.low, found.high) == pytest.approx((shift, shift, shift), abs=1e-9)


def test_a_difference_is_the_interval_of_the_samples_differences():
    found = difference(mean_of("x"), scores(x=X), scores(x=Y), resamples=300)
    expected = interval(mean_of("x"), scores(x=Y - X), resamples=300)
    assert (found.value, found.low, found.high) == pytest.approx((expected.value, expected.low, expected.high))


def test_samples_that_cant_be_paired():
    with pytest.raises(ValueError, match="3 samples can't be paired with 2"):
        difference(mean_of("x"), scores(x=[1, 2]), scores(x=[1, 2, 3]))


def test_what_doesnt_decide_has_no_interval():
    flat = interval(mean_of("x"), scores(x=[2.0] * 20), resamples=50)
    assert (flat.value, flat.low, flat.high) == (2, 2, 2)
    undecided = interval(rank_correlation, scores(x=[2.0] * 20, y=range(20)), resamples=50)
    assert all(map(math.isnan, (undecided.value, undecided.low, undecided.high)))
    one = interval(mean_of("x"), scores(x=[2.0]), resamples=50)
    assert one.value == 2
    assert math.isnan(one.low)


def test_resamples_that_dont_decide_are_left_out():
    """Many draws of ten hold the one positive never."""
    data = scores(x=range(10), y=[0] * 9 + [1])

    def area(scored):
        return float(roc_auc(scored.columns["x"][:, None], scored.columns["y"][:, None] == 1)[0])

    found = interval(area, data, resamples=200)
    assert (found.value, found.low, found.high) == pytest.approx((1, 1, 1))


def test_numbers_that_dont_vary_have_no_correlation():
    flat, other = np.ones(5), np.arange(5.0)
    for correlation in (spearman, pearson):
        assert math.isnan(correlation(flat, other))
        assert math.isnan(correlation(other, flat))
        assert math.isnan(correlation(other[:1], other[:1]))
        assert math.isnan(correlation(np.array([1, math.nan]), other[:2]))
        assert correlation(other, other) == pytest.approx(1)
    assert pearson(1e6 + np.arange(5) * 1e-9, other) == pytest.approx(1, abs=0.2)


def test_shares_of_nothing():
    assert math.isnan(ratio(0, 0))
    assert ratio(0, 0, empty=0.0) == 0
    assert share_of("x", "y")(scores(x=[1, 2], y=[2, 4])) == 0.5
    assert math.isnan(share_of("x", "y")(scores(x=[0], y=[0])))
