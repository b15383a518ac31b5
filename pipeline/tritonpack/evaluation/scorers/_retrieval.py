"""How well vectors find what belongs to them: reciprocal rank, nDCG and recall of each query."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_DEPTH = 10


@dataclass(frozen=True)
class Retrieval:
    """One entry a query that has a relevant document.

    Args:
        pairs: ``(q,)`` the first relevant pair of each query.
        mrr: ``(q,)`` one over the rank of the best relevant document.
        ndcg_10: ``(q,)`` normalised discounted cumulative gain of the first ten, gains being the ratings.
        recall_1: ``(q,)`` whether the first document is relevant.
    """

    pairs: NDArray[np.intp]
    mrr: NDArray[np.float64]
    ndcg_10: NDArray[np.float64]
    recall_1: NDArray[np.float64]


def retrieval_from_pairs(vectors: NDArray[Any], pairs: NDArray[Any], ratings: NDArray[Any]) -> Retrieval:
    """Ask every left row for the right rows that are rated above 0, among all right rows but itself.

    Of documents that are as near as each other, those that aren't relevant come first: a model that can't tell
    them apart hasn't found anything.

    Args:
        vectors: ``(rows, d)``.
        pairs: ``(n, 2)``, rows: the query and the document.
        ratings: ``(n,)``; above 0 is relevant.
    """
    # A vector that isn't of finite numbers finds nothing.
    sound = np.where(np.isfinite(vectors).all(axis=1, keepdims=True), vectors, 0.0)
    units = sound / np.maximum(np.linalg.norm(sound, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    documents, column = np.unique(pairs[:, 1], return_inverse=True)
    of_documents = units[documents]
    relevant = np.flatnonzero(ratings > 0)
    queries, first = np.unique(pairs[relevant, 0], return_index=True)
    found = []
    for query in queries:
        of_query = relevant[pairs[relevant, 0] == query]
        gains = np.zeros(len(documents))
        np.maximum.at(gains, column[of_query], ratings[of_query])
        others = documents != query
        nearness = of_documents @ units[query]
        found.append(_figures(nearness[others], gains[others]))
    columns = np.array(found).reshape(-1, 3).T
    return Retrieval(relevant[first], *columns)


def documents_of(pairs: NDArray[Any]) -> int:
    """How many right rows there are to choose from."""
    return len(np.unique(pairs[:, 1]))


def _figures(nearness: NDArray[Any], gains: NDArray[Any]) -> tuple[float, float, float]:
    """Reciprocal rank, nDCG and recall of one query."""
    from sklearn.metrics import ndcg_score

    if not gains.any():
        return 0.0, 0.0, 0.0
    rank = 1 + int((nearness[gains == 0] >= nearness[gains > 0].max()).sum())
    ndcg = ndcg_score(gains[None], nearness[None], k=_DEPTH) if len(gains) > 1 else 1.0
    return 1 / rank, float(ndcg), float(rank == 1)
