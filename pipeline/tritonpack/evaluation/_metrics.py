"""Metrics of agreement between scores and ratings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def spearman(scores: NDArray[Any], ratings: NDArray[Any]) -> float:
    """Rank correlation, -1 to 1."""
    from scipy.stats import spearmanr

    return float(spearmanr(scores, ratings).statistic)


def pearson(scores: NDArray[Any], ratings: NDArray[Any]) -> float:
    """Linear correlation, -1 to 1."""
    from scipy.stats import pearsonr

    return float(pearsonr(scores, ratings).statistic)


METRICS: dict[str, Callable[[NDArray[Any], NDArray[Any]], float]] = {"pearson": pearson, "spearman": spearman}
