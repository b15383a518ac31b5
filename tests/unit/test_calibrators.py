"""From histograms to ranges, on distributions whose answer is known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from tritonpack.core.observations import BINS, Activation
from tritonpack.precisions import Calibrator
from tritonpack.precisions._calibrators import candidates, quantized, scale_of, threshold_of
from tritonpack.precisions._ranges import range_of

COUNT = 300_000


def activation(values, rows=None):
    """What would be observed of numbers, one channel."""
    magnitudes = np.abs(values)
    greatest = float(magnitudes.max())
    histogram, _ = np.histogram(magnitudes, bins=BINS, range=(0, greatest or 1))
    return Activation(histogram, greatest, np.array([greatest], np.float32), values[: rows or 256, None])


def normal(count=COUNT):
    return np.random.default_rng(0).normal(size=count).astype(np.float32)


def spoiled(outlier=100.0):
    values = normal()
    values[7] = outlier
    return values


def error(values, threshold):
    return float(np.mean((values - quantized(values, threshold)) ** 2))


def test_minmax_is_the_greatest():
    assert threshold_of(activation(normal()), Calibrator.MINMAX) == np.abs(normal()).max()


def test_the_percentile_of_a_uniform_distribution():
    values = np.linspace(-3, 3, COUNT, dtype=np.float32)
    assert threshold_of(activation(values), Calibrator.PERCENTILE) == pytest.approx(3 * 0.9999, rel=1e-4)


def test_the_percentile_of_a_normal_distribution():
    # 99.99% of a normal distribution lie within 3.89 deviations.
    assert threshold_of(activation(normal()), Calibrator.PERCENTILE) == pytest.approx(3.89, abs=0.05)


def test_the_least_squared_error_of_a_normal_distribution():
    values = normal()
    found = threshold_of(activation(values), Calibrator.MSE)
    thresholds = np.linspace(2.0, 5.0, 61)
    best = min(error(values, threshold) for threshold in thresholds)
    assert error(values, found) == pytest.approx(best, rel=0.02)


@pytest.mark.parametrize("outlier", [20, 100, 300])
def test_with_an_outlier_the_least_squared_error_is_far_less_than_that_of_minmax(outlier):
    values = spoiled(outlier)[: 100_000 if outlier == 20 else COUNT]
    seen = activation(values)
    found, greatest = threshold_of(seen, Calibrator.MSE), threshold_of(seen, Calibrator.MINMAX)
    assert found < greatest
    best = min(error(values, threshold) for threshold in np.geomspace(2, greatest, 200))
    assert error(values, found) == pytest.approx(best, rel=0.1)


def test_a_uniform_distribution_keeps_its_whole_range():
    values = np.random.default_rng(1).uniform(-2, 2, COUNT).astype(np.float32)
    for calibrator in (Calibrator.MSE, Calibrator.ENTROPY):
        assert threshold_of(activation(values), calibrator) == pytest.approx(2, rel=0.02)


def test_entropy_cuts_a_heavy_tail():
    values = np.random.default_rng(2).standard_t(df=3, size=COUNT).astype(np.float32)
    seen = activation(values)
    found = threshold_of(seen, Calibrator.ENTROPY)
    assert np.quantile(np.abs(values), 0.99) < found < 0.7 * seen.greatest


def test_entropy_is_that_of_the_divergence_written_out():
    """The sums over levels, against one candidate after the other, bin by bin."""
    values = np.random.default_rng(3).laplace(size=5_000).astype(np.float32)
    seen = activation(values)
    counts = seen.histogram.astype(np.float64)
    counts[0] = counts[1]
    divergences = {}
    for bins in range(128, BINS + 1):
        reference = counts[:bins].copy()
        reference[-1] += counts[bins:].sum()
        candidate = np.zeros(bins)
        edges = bins * np.arange(129) // 128
        for begin, end in pairwise(edges):
            filled = reference[begin:end] > 0
            candidate[begin:end][filled] = max(counts[begin:end].sum(), 1e-6) / max(filled.sum(), 1)
        p, q = reference / reference.sum(), candidate / counts[:bins].sum()
        divergences[bins] = np.sum(p[p > 0] * np.log(p[p > 0] / q[p > 0]))
    best = min(divergences, key=divergences.get)
    assert threshold_of(seen, Calibrator.ENTROPY) == pytest.approx(best * seen.greatest / BINS)


@pytest.mark.parametrize("calibrator", candidates(Calibrator.SEARCH))
def test_any_calibrator_takes_what_is_always_zero_or_one_value(calibrator):
    assert threshold_of(activation(np.zeros(10, np.float32)), calibrator) == 1.0
    assert threshold_of(activation(np.full(1000, 0.5, np.float32)), calibrator) == pytest.approx(0.5, rel=1e-3)


def test_a_search_takes_the_calibrator_with_the_least_error():
    values = spoiled()
    weights = [np.ones((1, 4), np.float32)]
    errors = {c: range_of(activation(values), weights, c, None).error for c in candidates(Calibrator.SEARCH)}
    found = range_of(activation(values), weights, Calibrator.SEARCH, None)
    assert found.error == min(errors.values())
    assert found.calibrator == min(errors, key=errors.get)
    assert found.error < errors[Calibrator.MINMAX]


def test_integers_are_symmetric_and_saturate():
    scale = scale_of(1.27)
    assert scale == np.float32(0.01)
    found = quantized(np.array([0.004, 0.006, -0.006, 5, -5]), 1.27)
    np.testing.assert_allclose(found, [0, 0.01, -0.01, 1.27, -1.28], rtol=1e-6)
