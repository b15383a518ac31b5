"""What several scorers compute: correlations, ROC-AUC, means of columns. NaN where the samples don't decide it."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tritonpack.evaluation.scorers import Metric, Scores

_LEAST = 2


def spearman(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Rank correlation of ``(n,)`` with ``(n,)``."""
    from scipy.stats import spearmanr

    return float(spearmanr(one, other).statistic) if _varies(one) and _varies(other) else math.nan


def pearson(one: NDArray[Any], other: NDArray[Any]) -> float:
    """Linear correlation of ``(n,)`` with ``(n,)``."""
    from scipy.stats import NearConstantInputWarning, pearsonr

    if not (_varies(one) and _varies(other)):
        return math.nan
    with warnings.catch_warnings():
        # What varies in its last bits alone still has the correlation that it has.
        warnings.simplefilter("ignore", NearConstantInputWarning)
        return float(pearsonr(one, other).statistic)


def roc_auc(scores: NDArray[Any], positive: NDArray[Any]) -> NDArray[np.float64]:
    """ROC-AUC of each column at once: the share of pairs of a positive and a negative in the right order.

    It is what ``sklearn.metrics.roc_auc_score`` gives for each column alone, out of ranks (Mann-Whitney's U).

    Args:
        scores: ``(n, labels)``.
        positive: ``(n, labels) bool``.

    Returns:
        ``(labels,)``, NaN where a label has no positive or no negative.
    """
    from scipy.stats import rankdata

    yes = positive.sum(axis=0)
    pairs = yes * (len(positive) - yes)
    wins = (rankdata(scores, axis=0) * positive).sum(axis=0) - yes * (yes + 1) / 2
    areas: NDArray[np.float64] = np.where(pairs > 0, wins / np.maximum(pairs, 1), np.nan)
    return areas


def precision_recall_f1(expected: NDArray[Any], answered: NDArray[Any]) -> NDArray[np.float64]:
    """Of every label that is expected or answered; 0 where there is nothing to divide by.

    It is what ``sklearn.metrics.precision_recall_fscore_support`` gives, out of counts: intervals take it thousands
    of times, and scikit-learn's own takes a millisecond.

    Args:
        expected: ``(n,) int64``, numbers of labels.
        answered: the same.

    Returns:
        ``(3, labels)``.
    """
    labels = 1 + max(expected.max(), answered.max())
    right = np.bincount(expected[expected == answered], minlength=labels)
    wanted, found = (np.bincount(numbers, minlength=labels) for numbers in (expected, answered))
    seen = wanted + found > 0
    right, wanted, found = right[seen], wanted[seen], found[seen]
    return np.stack([right / np.maximum(found, 1), right / np.maximum(wanted, 1), 2 * right / (wanted + found)])


def ratio(part: float, whole: float, *, empty: float = math.nan) -> float:
    """``part / whole``, or ``empty`` where there is nothing to divide by."""
    return float(part / whole) if whole else empty


def mean_of(name: str) -> Metric:
    """A metric: the mean of a column."""

    def mean(scores: Scores) -> float:
        return float(scores.columns[name].mean())

    return mean


def share_of(part: str, whole: str) -> Metric:
    """A metric: the sum of one column over the sum of another."""

    def share(scores: Scores) -> float:
        return ratio(scores.columns[part].sum(), scores.columns[whole].sum())

    return share


def _varies(values: NDArray[Any]) -> bool:
    return len(values) >= _LEAST and bool(np.isfinite(values).all()) and bool((values != values[0]).any())
