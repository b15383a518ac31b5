"""How sure a metric is: bootstrap intervals over the samples, and over the paired difference of two answers.

Intervals are percentile intervals of ``scipy.stats.bootstrap``. They hold what another draw of samples would change.
They take samples for independent: pairs of the same few texts are less so, and their intervals somewhat narrow.
Resamples that don't decide the metric (e.g. ROC-AUC without a positive) are left out.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tritonpack.evaluation.scorers import Scores

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tritonpack.evaluation.scorers import Metric

_PLACES_AT_ONCE = 4_000_000
"""Bounds the memory of the resampled places, 8 bytes each."""
_LEAST = 2
"""Samples that can be resampled."""


@dataclass(frozen=True)
class Interval:
    """A number, and where it lies at the given confidence; NaN where the samples don't decide it."""

    value: float
    low: float
    high: float


def interval(
    metric: Metric, scores: Scores, *, resamples: int = 1000, seed: int = 7, confidence: float = 0.95
) -> Interval:
    """The metric of all samples, and its bootstrap interval.

    Args:
        metric: what is measured.
        scores: the samples.
        resamples: how often as many samples are drawn, with repetition.
        seed: of the draws.
        confidence: share of the resamples inside the interval.
    """
    return _interval(
        lambda places: metric(_drawn(scores, places)), len(scores.losses), resamples, seed=seed, confidence=confidence
    )


def difference(
    metric: Metric,
    baseline: Scores,
    candidate: Scores,
    *,
    resamples: int = 1000,
    seed: int = 7,
    confidence: float = 0.95,
) -> Interval:
    """By how much the candidate's metric is greater than the baseline's, of the same samples in each resample.

    Args:
        metric: what is measured.
        baseline: e.g. FP32's samples.
        candidate: the other's, in the same order.
        resamples: how often as many samples are drawn, with repetition.
        seed: of the draws.
        confidence: share of the resamples inside the interval.

    Raises:
        ValueError: they aren't the same number of samples.
    """
    count = len(baseline.losses)
    if len(candidate.losses) != count:
        raise ValueError(f"{len(candidate.losses)} samples can't be paired with {count}")

    def statistic(places: NDArray[np.intp]) -> float:
        return metric(_drawn(candidate, places)) - metric(_drawn(baseline, places))

    return _interval(statistic, count, resamples, seed=seed, confidence=confidence)


def _drawn(scores: Scores, places: NDArray[np.intp]) -> Scores:
    """As `Scores.taken`, without the texts, which no metric reads."""
    columns = {name: column[places] for name, column in scores.columns.items()}
    return Scores(columns, scores.losses[places], (), (), scores.shared)


def _interval(
    statistic: Callable[[NDArray[np.intp]], float], count: int, resamples: int, *, seed: int, confidence: float
) -> Interval:
    places = np.arange(count)
    value = float(statistic(places))
    if not math.isfinite(value) or count < _LEAST:
        return Interval(value, math.nan, math.nan)
    drawn = _resampled(statistic, places, resamples, seed)
    decided = drawn[np.isfinite(drawn)]
    if not len(decided):
        return Interval(value, math.nan, math.nan)
    # The bounds that bootstrap() itself gives where every resample decides the metric.
    low, high = np.percentile(decided, [50 * (1 - confidence), 50 * (1 + confidence)])
    return Interval(value, float(low), float(high))


def _resampled(
    statistic: Callable[[NDArray[np.intp]], float], places: NDArray[np.intp], resamples: int, seed: int
) -> NDArray[np.float64]:
    """The statistic of each resample, ``(resamples,)``."""
    from scipy.stats import DegenerateDataWarning, bootstrap

    with warnings.catch_warnings():
        # It can't give bounds where a resample doesn't decide the metric; ours leave such resamples out.
        warnings.simplefilter("ignore", DegenerateDataWarning)
        found: NDArray[np.float64] = bootstrap(
            (places,),
            statistic,
            n_resamples=resamples,
            batch=max(1, _PLACES_AT_ONCE // len(places)),
            vectorized=False,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).bootstrap_distribution
    return found
