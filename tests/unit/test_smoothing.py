"""Outliers that move into weights: where it pays, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest

from tritonpack.core.observations import BINS, Activation
from tritonpack.precisions import Calibrator
from tritonpack.precisions._ranges import range_of
from tritonpack.precisions._smoothing import divisors, smoothed, strengths

WIDTH = 64


def seen(rows):
    magnitudes = np.abs(rows)
    greatest = float(magnitudes.max())
    histogram, _ = np.histogram(magnitudes, bins=BINS, range=(0, greatest))
    return Activation(histogram, greatest, magnitudes.max(axis=0), rows)


def plain():
    return np.random.default_rng(0).normal(size=(256, WIDTH)).astype(np.float32)


def hot():
    rows = plain()
    rows[:, [3, 17, 40]] *= 60
    return rows


@pytest.fixture
def weights():
    return [np.random.default_rng(1).normal(size=(WIDTH, 32)).astype(np.float32)]


def test_a_product_with_hot_channels_is_smoothed_and_far_better(weights):
    found = range_of(seen(hot()), weights, Calibrator.MINMAX, 0.8)
    assert found.divisors is not None
    assert found.error < 0.5 * found.plain_error
    assert set(np.argsort(found.divisors)[-3:]) == {3, 17, 40}


def test_a_plain_product_is_left_alone(weights):
    found = range_of(seen(plain()), weights, Calibrator.MINMAX, 0.8)
    assert found.divisors is None
    assert (found.strength, found.error) == (0, found.plain_error)


@pytest.mark.parametrize("strength", [None, 0, 0.0])
def test_without_a_strength_nothing_is_smoothed(weights, strength):
    assert range_of(seen(hot()), weights, Calibrator.MINMAX, strength).divisors is None


def test_no_strength_above_the_greatest_is_tried():
    assert strengths(0.5) == [0.3, 0.5]
    assert strengths(0.55) == [0.3, 0.5, 0.55]
    assert strengths(None) == strengths(0) == []


def test_the_product_stays_the_same(weights):
    by = divisors(seen(hot()), weights, 0.5)
    np.testing.assert_allclose((hot() / by) @ (weights[0] * by[:, None]), hot() @ weights[0], rtol=1e-3, atol=1e-2)


def test_divisors_are_those_of_the_paper_up_to_a_factor(weights):
    by = divisors(seen(hot()), weights, 0.7)
    expected = np.abs(hot()).max(axis=0) ** 0.7 / np.abs(weights[0]).max(axis=1) ** 0.3
    np.testing.assert_allclose(by / by[0], expected / expected[0], rtol=1e-5)
    assert np.exp(np.log(by).mean()) == pytest.approx(1, rel=1e-5)


def test_a_channel_that_is_always_zero_is_left_alone(weights):
    rows = hot()
    rows[:, 5] = 0
    weights[0][6] = 0
    by = divisors(seen(rows), weights, 0.5)
    assert by[5] == by[6] == 1
    assert np.isfinite(by).all()


def test_what_is_smoothed_is_observed_anew():
    by = np.linspace(1, 4, WIDTH, dtype=np.float32)
    found = smoothed(seen(hot()), by)
    assert found.greatest == pytest.approx(np.abs(hot() / by).max())
    assert found.histogram.sum() == hot().size
    np.testing.assert_allclose(found.channels, np.abs(hot()).max(axis=0) / by)


def test_many_products_share_divisors(weights):
    more = [*weights, 3 * weights[0][:, :8]]
    found = range_of(seen(hot()), more, Calibrator.SEARCH, 0.8)
    assert found.divisors.shape == (WIDTH,)
    assert found.error < 0.5 * found.plain_error
