from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import ndcg_score, roc_auc_score

from tritonpack.core.errors import SourceError
from tritonpack.evaluation import Examples
from tritonpack.evaluation.scorers.embedding import SCORER


def pairs_of(pairs, ratings, rows):
    return Examples([{"text": str(row)} for row in range(rows)], ratings, np.array(pairs))


def outputs_of(vectors):
    return [{"embedding": np.array([vector], dtype=np.float32)} for vector in vectors]


def values(data, vectors):
    scored = SCORER.scores(data, outputs_of(vectors))
    return {name: metric(scored) for name, metric in SCORER.metrics(data).items()}, scored


def angle(degrees):
    return [math.cos(math.radians(degrees)), math.sin(math.radians(degrees))]


def test_rated_pairs_by_hand():
    """Right rows at 0, 30 and 90 degrees of the left one; the ratings turn two of them round."""
    data = pairs_of([[0, 1], [0, 2], [0, 3]], [1, 2, 0], 4)
    found, scored = values(data, [angle(0), angle(10), angle(30), angle(90)])
    assert found["spearman"] == pytest.approx(0.5)
    cosines = np.cos(np.radians([10, 30, 90]))
    assert found["pearson"] == pytest.approx(pearsonr(cosines, data.expected).statistic, abs=1e-6)
    assert list(found) == ["spearman", "pearson", "mrr", "ndcg_10", "recall_1"]
    # The first found is relevant, though not the best.
    assert (found["mrr"], found["recall_1"]) == (1, 1)
    assert found["ndcg_10"] == pytest.approx((1 + 2 / math.log2(3)) / (2 + 1 / math.log2(3)))
    assert scored.losses == pytest.approx([1 / 3, 1 / 3, 0])
    assert list(scored.shown) == ["cosine 0.98", "cosine 0.87", "cosine 0.00"]
    assert list(scored.expected) == ["rated 1", "rated 2", "rated 0"]


def test_likeness_in_fractions_makes_nothing_relevant():
    data = pairs_of([[0, 1], [0, 2], [0, 3]], [0.5, 1.0, 0.0], 4)
    assert list(SCORER.metrics(data)) == ["spearman", "pearson"]
    assert set(SCORER.scores(data, outputs_of(np.eye(4))).columns) == {"cosine", "rating"}


@given(st.integers(5, 12), st.integers(0, 2**16))
@settings(max_examples=25, deadline=None)
def test_rated_pairs_are_what_scipy_and_sklearn_say(rows, seed):
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(2 * rows, 8)).astype(np.float32)
    left, right = (axis.reshape(-1) for axis in np.meshgrid(np.arange(rows), np.arange(rows, 2 * rows)))
    ratings = rng.integers(0, 4, rows * rows).astype(float)
    ratings[:2] = 0, 3
    found, _ = values(pairs_of(np.stack([left, right], axis=1), ratings.tolist(), 2 * rows), vectors)
    units = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float64)
    nearness = units[:rows] @ units[rows:].T
    gains = np.zeros((rows, rows))
    gains[left, right - rows] = ratings
    assert found["spearman"] == pytest.approx(spearmanr(nearness[left, right - rows], ratings).statistic, abs=1e-5)
    kept = gains.any(axis=1)
    assert found["ndcg_10"] == pytest.approx(ndcg_score(gains[kept], nearness[kept], k=10), abs=1e-5)
    order = np.take_along_axis(gains[kept], (-nearness[kept]).argsort(axis=1), axis=1) > 0
    assert found["mrr"] == pytest.approx((1 / (1 + order.argmax(axis=1))).mean(), abs=1e-5)
    assert found["recall_1"] == pytest.approx(order[:, 0].mean(), abs=1e-5)


def test_pairs_that_are_the_same_or_not_have_a_roc_curve():
    rng = np.random.default_rng(5)
    vectors, ratings = rng.normal(size=(40, 4)), rng.integers(0, 2, 20).tolist()
    data = pairs_of([[n, 20 + n] for n in range(20)], ratings, 40)
    found, scored = values(data, vectors)
    assert next(iter(found)) == "roc_auc"
    assert found["roc_auc"] == pytest.approx(roc_auc_score(ratings, scored.columns["cosine"]))
    (curve,) = SCORER.curves(scored)
    assert np.trapezoid(curve.y, curve.x) == pytest.approx(found["roc_auc"])
    assert SCORER.confusion(scored) is None


def test_paraphrases_are_to_be_found():
    """All rated 1: nothing to correlate, and the documents of the others are wrong ones."""
    vectors = [*np.eye(3), *np.eye(3)[[0, 1, 1]]]
    data = pairs_of([[0, 3], [1, 4], [2, 5]], [1, 1, 1], 6)
    found, scored = values(data, vectors)
    # Row 1's own document has an equal beside it, which counts as found first; row 2's is as far as the others.
    assert found == pytest.approx({"mrr": (1 + 1 / 2 + 1 / 3) / 3, "recall_1": 1 / 3, "ndcg_10": found["ndcg_10"]})
    assert scored.losses == pytest.approx([0, 0, 1])
    assert SCORER.curves(scored) == []


def test_a_query_isnt_its_own_document():
    data = pairs_of([[0, 1], [1, 2], [0, 2]], [1.0, 1.0, 0.0], 3)
    found, _ = values(data, [angle(0), angle(10), angle(60)])
    assert found["recall_1"] == 1


def test_vectors_are_held_against_fp32s():
    data = Examples([{"text": ""}] * 2, SCORER.answers(outputs_of([angle(0), angle(90)])))
    found, scored = values(data, [angle(60), [0, 5]])
    assert found == pytest.approx({"cosine": 0.75})
    assert scored.losses == pytest.approx([0.5, 0], abs=1e-6)
    assert list(scored.shown) == ["cosine 0.50", "cosine 1.00"]


def test_broken_vectors_are_worst_and_warn_of_nothing():
    data = pairs_of([[0, 1], [0, 2], [0, 3], [1, 3]], [1.0, 0.0, 1.0, 0.0], 4)
    found, scored = values(data, [angle(0), [math.nan, 1], [math.inf, 0], angle(0)])
    assert all(math.isnan(found[name]) for name in ("roc_auc", "spearman", "pearson"))
    assert np.isfinite(scored.losses).all()
    assert SCORER.curves(scored) == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pairs_of([[0, 1]] * 2, ["a", 1], 2), "ratings, which are numbers; there is 'a'"),
        (pairs_of([[0, 1]] * 2, [math.nan, 1], 2), "ratings, which are numbers; there is nan"),
        (pairs_of([[0, 1]] * 2, None, 2), "ratings, which are numbers; there is None"),
        (pairs_of([[0, 1]] * 2, [0, 0], 2), "all 2 pairs are rated 0"),
        (pairs_of([[0, 1]] * 2, [1, 1], 2), "all 2 pairs are rated 1, and there is nothing to find"),
        (Examples([{"text": ""}], ["positive"]), "can't be held against labels such as 'positive'"),
        (Examples([{"text": ""}], [[(0, 3, "X")]]), "can't be held against labels such as"),
    ],
)
def test_labels_that_are_no_ratings_are_named(data, message):
    with pytest.raises(SourceError, match=message) as error:
        SCORER.metrics(data)
    assert error.value.hint
