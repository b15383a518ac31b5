"""Vectors: against people's ratings of pairs, or against FP32's own vectors.

With rated pairs a sample is a pair. Correlations hold each pair's cosine against its rating. Retrieval asks every left
row for the right rows that are rated above 0, where ratings are grades (whole numbers: 0 isn't relevant); a query's
figures stand beside its first such pair, so that a draw of pairs is a draw of queries too.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import SourceError
from tritonpack.core.tensors import row_cosines
from tritonpack.evaluation.scorers import Curve, Metric, Scores
from tritonpack.evaluation.scorers._numbers import mean_of, pearson, roc_auc, share_of, spearman
from tritonpack.evaluation.scorers._plain import Plain
from tritonpack.evaluation.scorers._retrieval import documents_of, retrieval_from_pairs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tritonpack.core.tensors import Tensors
    from tritonpack.evaluation import Examples

_OUTPUT = "embedding"
_RETRIEVAL = ("mrr", "ndcg_10", "recall_1")
_LEAST = 2


class EmbeddingScorer(Plain):
    """Scores ``embedding (1, d)``."""

    version = 1
    takes_pairs = True

    def metrics(self, examples: Examples) -> Mapping[str, Metric]:
        """Correlations where ratings differ, ROC-AUC where they are 0 and 1, retrieval where they are grades.

        Raises:
            SourceError: the labels are neither ratings of pairs nor vectors, or the ratings decide nothing.
        """
        if examples.pairs is None:
            _check_vectors(examples)
            return {"cosine": mean_of("cosine")}
        ratings = _ratings(examples)
        found: dict[str, Metric] = {}
        values = set(ratings.tolist())
        if values == {0.0, 1.0}:
            found["roc_auc"] = _pair_auc
        if len(values) > 1:
            found |= {"spearman": _spearman, "pearson": _pearson}
        if _has_queries(examples, ratings):
            found |= {name: share_of(name, "queries") for name in _RETRIEVAL}
        if not found:
            raise SourceError(
                f"all {len(ratings)} pairs are rated {ratings[0]:g}, and there is nothing to find among them",
                hint="Rate pairs differently, or above 0 with several right rows to choose from.",
            )
        return found

    def answers(self, outputs: Sequence[Tensors]) -> list[Any]:
        """The vectors, ``(d,)`` each."""
        return list(_vectors(outputs))

    def scores(self, examples: Examples, outputs: Sequence[Tensors]) -> Scores:
        """Cosines of pairs beside ratings, or of each vector and FP32's.

        Raises:
            SourceError: the labels are neither ratings of pairs nor vectors.
        """
        vectors = _vectors(outputs)
        if examples.pairs is None:
            return _beside_vectors(examples, vectors)
        ratings, pairs = _ratings(examples), examples.pairs
        cosines = _cosines(vectors[pairs[:, 0]], vectors[pairs[:, 1]])
        columns = {"cosine": cosines, "rating": ratings}
        if _has_queries(examples, ratings):
            columns |= _query_columns(vectors, pairs, ratings)
        shown, expected = _shown(cosines), [f"rated {rating:g}" for rating in ratings]
        return Scores(columns, _pair_losses(cosines, ratings), shown, expected)

    def curves(self, scores: Scores) -> list[Curve]:
        """The ROC curve of pairs rated 0 and 1."""
        from sklearn.metrics import roc_curve

        ratings = scores.columns.get("rating")
        if ratings is None or set(ratings.tolist()) != {0.0, 1.0} or not np.isfinite(scores.columns["cosine"]).all():
            return []
        wrong, right, _ = roc_curve(ratings, scores.columns["cosine"])
        return [Curve("pairs rated 1", "false positive rate", "true positive rate", wrong.tolist(), right.tolist())]


SCORER = EmbeddingScorer()


def _spearman(scores: Scores) -> float:
    return spearman(scores.columns["cosine"], scores.columns["rating"])


def _pearson(scores: Scores) -> float:
    return pearson(scores.columns["cosine"], scores.columns["rating"])


def _pair_auc(scores: Scores) -> float:
    cosines = scores.columns["cosine"]
    if not np.isfinite(cosines).all():
        return math.nan
    return float(roc_auc(cosines[:, None], scores.columns["rating"][:, None] == 1)[0])


def _vectors(outputs: Sequence[Tensors]) -> NDArray[np.float64]:
    return np.concatenate([output[_OUTPUT] for output in outputs]).astype(np.float64)


def _cosines(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    """Of each row; NaN where a vector isn't of finite numbers."""
    with np.errstate(invalid="ignore", over="ignore"):
        return row_cosines(left, right)


def _ratings(examples: Examples) -> NDArray[np.float64]:
    try:
        ratings = np.array(examples.expected, dtype=np.float64)
    except (TypeError, ValueError):
        ratings = np.array(math.nan)
    if ratings.ndim != 1 or not np.isfinite(ratings).all():
        wrong = None if examples.expected is None else next(filter(_is_no_number, examples.expected), None)
        raise SourceError(
            f"pairs of an embedding model are held against ratings, which are numbers; there is {wrong!r}",
            hint="Give each pair a number, greater for more alike; or leave the pairs out, to compare with FP32.",
        )
    return ratings


def _is_no_number(label: Any) -> bool:
    return not isinstance(label, (int, float, np.number)) or not math.isfinite(label)


def _check_vectors(examples: Examples) -> None:
    """None stands for FP32's vectors, which aren't there yet."""
    wrong = [label for label in examples.expected or () if not isinstance(label, np.ndarray) or label.ndim != 1]
    if wrong:
        raise SourceError(
            f"an embedding model's vectors can't be held against labels such as {wrong[0]!r}",
            hint="Use rated pairs (kind lee or rated_pairs), or label: null, to compare with FP32's own vectors.",
        )


def _beside_vectors(examples: Examples, vectors: NDArray[np.float64]) -> Scores:
    _check_vectors(examples)
    cosines = _cosines(vectors, np.array(examples.expected, dtype=np.float64))
    expected = ["FP32's vector"] * len(vectors)
    return Scores({"cosine": cosines}, np.nan_to_num(1 - cosines, nan=2.0), _shown(cosines), expected)


def _shown(cosines: NDArray[np.float64]) -> list[str]:
    return [f"cosine {cosine:.2f}" for cosine in cosines]


def _pair_losses(cosines: NDArray[np.float64], ratings: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far a pair's place by cosine is from its place by rating, as a share of all pairs.

    Where all ratings are the same: one minus the cosine.
    """
    from scipy.stats import rankdata

    finite = np.where(np.isfinite(cosines), cosines, -2.0)
    if (ratings == ratings[0]).all():
        return 1 - finite
    losses: NDArray[np.float64] = np.abs(rankdata(finite) - rankdata(ratings)) / len(ratings)
    return losses


def _has_queries(examples: Examples, ratings: NDArray[np.float64]) -> bool:
    """Whether ratings are grades, of which one is relevant; of likeness in fractions all pairs have some."""
    grades = bool((ratings == ratings.round()).all() and (ratings > 0).any())
    return grades and documents_of(np.asarray(examples.pairs)) >= _LEAST


def _query_columns(
    vectors: NDArray[np.float64], pairs: NDArray[Any], ratings: NDArray[np.float64]
) -> dict[str, NDArray[Any]]:
    found = retrieval_from_pairs(vectors, pairs, ratings)
    columns = {name: np.zeros(len(pairs)) for name in ("queries", *_RETRIEVAL)}
    columns["queries"][found.pairs] = 1
    for name in _RETRIEVAL:
        columns[name][found.pairs] = getattr(found, name)
    return columns
