from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from tritonpack.core.errors import SourceError
from tritonpack.evaluation import Examples
from tritonpack.evaluation.scorers import SCORERS
from tritonpack.tasks import TASKS


def examples(expected, rows=None, pairs=None):
    count = len(expected) if expected is not None and rows is None else 0
    return Examples(rows or [{"text": ""}] * count, expected, None if pairs is None else np.array(pairs))


def values(task, data, outputs):
    scorer = SCORERS.get(task)
    scored = scorer.scores(data, outputs)
    return {name: metric(scored) for name, metric in scorer.metrics(data).items()}, scored


def words(*texts):
    return np.array([[text.encode() for text in texts]], dtype=object)


def test_every_task_has_a_scorer():
    assert SCORERS.names() == TASKS.names()


# Classification


def classes(*scored):
    """Outputs from one dictionary of label -> score a row."""
    ordered = [sorted(row.items(), key=lambda item: -item[1]) for row in scored]
    return [
        {"labels": words(*(name for name, _ in row)), "scores": np.array([[s for _, s in row]], dtype=np.float32)}
        for row in ordered
    ]


def two(*positives):
    return classes(*({"negative": 1 - p, "positive": p} for p in positives))


def test_classes_by_hand():
    data = examples(["positive", "positive", "negative", "negative"])
    found, scored = values("classification", data, two(0.9, 0.4, 0.2, 0.7))
    # positive: 1 of 2 found, 1 of 2 right; the same for negative. Three of four pairs are in order.
    assert found == pytest.approx({"accuracy": 0.5, "f1": 0.5, "precision": 0.5, "recall": 0.5, "roc_auc": 0.75})
    assert scored.losses == pytest.approx([0, 0.2, 0, 0.4], abs=1e-6)
    assert list(scored.shown) == ["positive", "negative", "negative", "positive"]
    assert list(scored.expected) == data.expected
    confusion = SCORERS.get("classification").confusion(scored)
    assert (confusion.labels, confusion.counts) == (["negative", "positive"], [[1, 1], [1, 1]])


@given(st.integers(2, 5), st.integers(10, 60), st.integers(0, 2**16))
@settings(max_examples=30, deadline=None)
def test_classes_are_what_sklearn_says(labels, rows, seed):
    rng = np.random.default_rng(seed)
    names = [f"class {number}" for number in range(labels)]
    powers = rng.dirichlet(np.ones(labels), rows).round(3).astype(np.float32)
    wanted = np.concatenate([np.arange(labels), np.arange(labels), rng.integers(0, labels, rows - 2 * labels)])
    outputs = classes(*(dict(zip(names, row.tolist(), strict=True)) for row in powers))
    found, scored = values("classification", examples([names[number] for number in wanted]), outputs)
    answered = powers.argmax(axis=1)
    precision, recall, f1, _ = precision_recall_fscore_support(wanted, answered, average="macro", zero_division=0.0)
    areas = [roc_auc_score(wanted == label, powers[:, label]) for label in range(labels)]
    assert found == pytest.approx(
        {
            "accuracy": (wanted == answered).mean(),
            "f1": f1,
            "precision": precision,
            "recall": recall,
            "roc_auc": np.mean(areas),
        }
    )
    assert ((scored.losses == 0) == (wanted == answered)).all()
    for curve, area in zip(SCORERS.get("classification").curves(scored), areas[1:], strict=False):
        assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 1, 1)
        if labels == 2:
            assert np.trapezoid(curve.y, curve.x) == pytest.approx(area)


def test_numbers_of_labels_are_matched_to_the_models_names():
    outputs = classes({"LABEL_0": 0.9, "LABEL_1": 0.1}, {"LABEL_0": 0.3, "LABEL_1": 0.7})
    found, _ = values("classification", examples([0, 1]), outputs)
    assert found["accuracy"] == 1.0
    found, _ = values("classification", examples([1, 1]), classes({"0": 0.9, "1": 0.1}, {"0": 0.3, "1": 0.7}))
    assert found["accuracy"] == 0.5
    assert math.isnan(found["roc_auc"])
    assert math.isnan(found["spearman"])


@pytest.mark.parametrize(
    ("expected", "message", "hint"),
    [
        (["negative", "positve"], "no label 'positve'; it answers: negative, positive", "Did you mean 'positive'?"),
        ([0, 1], "label 0 is a number, and the model answers names: negative, positive", "names: [...]"),
        ([0.5, 1.0], "label 0.5 is a number", "names"),
        ([True, False], "row 1: the label True is neither a name nor a number", "names"),
        ([["positive"], "positive"], "row 1: the label .* is neither a name nor a number", ""),
        ([float("nan"), 1.0], "row 1: .* isn't a finite number", ""),
    ],
)
def test_labels_that_dont_fit_are_named(expected, message, hint):
    with pytest.raises(SourceError, match=message) as error:
        values("classification", examples(expected), two(0.9, 0.1))
    assert hint in error.value.hint


def test_names_and_numbers_dont_mix():
    with pytest.raises(SourceError, match="names in some rows and numbers in others"):
        SCORERS.get("classification").metrics(examples(["positive", 1]))


def test_cut_answers_have_no_roc_auc_and_may_lack_labels():
    outputs = classes({"a": 0.9}, {"b": 0.6}, {"a": 0.5})
    found, scored = values("classification", examples(["a", "b", "c"]), outputs)
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert math.isnan(found["roc_auc"])
    assert scored.losses == pytest.approx([0, 0, 0.5])
    assert SCORERS.get("classification").curves(scored) == []
    with pytest.raises(SourceError, match="no label 'x'; it answers: a, b"):
        values("classification", examples(["x", "y", "x"]), outputs)
    # A broken candidate that always answers the same is an answer, not a mistake in the data.
    found, _ = values("classification", examples(["x", "y"]), classes({"a": 0.9}, {"a": 0.8}))
    assert found["accuracy"] == 0


def test_one_score_is_a_number():
    outputs = classes(*({"LABEL_0": value} for value in (1.0, 2.0, 4.0, 3.0)))
    found, scored = values("classification", examples([1.5, 2.0, 3.0, 4.0]), outputs)
    assert list(found) == ["spearman", "pearson", "neg_mean_absolute_error"]
    assert found["spearman"] == pytest.approx(0.8)
    assert found["pearson"] == pytest.approx(np.corrcoef([1, 2, 4, 3], [1.5, 2, 3, 4])[0, 1])
    assert found["neg_mean_absolute_error"] == pytest.approx(-0.625)
    assert scored.losses == pytest.approx([0.5, 0, 1, 1])
    assert SCORERS.get("classification").confusion(scored) is None
    found, _ = values("classification", examples([1, 2, 3, 4]), outputs)
    assert found["spearman"] == pytest.approx(0.8)
    assert math.isnan(found["accuracy"])


def test_of_many_labels_the_commonest_have_curves():
    names = [f"n{number:02}" for number in range(12)]
    rng = np.random.default_rng(3)
    outputs = classes(*(dict(zip(names, rng.random(12).tolist(), strict=True)) for _ in range(30)))
    _, scored = values("classification", examples([names[number % 11] for number in range(30)]), outputs)
    curves = SCORERS.get("classification").curves(scored)
    assert len(curves) == 10
    assert curves[0].name == "n00"


# Entities


def entities(*spans, extra=0):
    fill = [-1] * extra
    return {
        "labels": words(*(label for *_, label in spans), *[""] * extra),
        "starts": np.array([[start for start, _, _ in spans] + fill], dtype=np.int32),
        "ends": np.array([[end for _, end, _ in spans] + fill], dtype=np.int32),
        "counts": np.array([[len(spans)]], dtype=np.int32),
    }


def test_spans_by_hand():
    rows = [{"text": "Ann met Bob"}, {"text": "nobody"}, {"text": "Eve"}]
    expected = [[(0, 3, "NAME"), [8, 11, "NAME"]], [], [{"start": 0, "end": 3, "label": "NAME"}]]
    outputs = [entities((0, 3, "NAME"), (4, 7, "CITY"), extra=2), entities(extra=1), entities((0, 3, "NAME"))]
    found, scored = values("token_classification", examples(expected, rows), outputs)
    assert found == pytest.approx(
        {"span_f1": 2 / 3, "span_precision": 2 / 3, "span_recall": 2 / 3, "exact_match": 2 / 3}
    )
    assert scored.losses.tolist() == [2, 0, 0]
    assert list(scored.shown) == ["Ann (NAME), met (CITY)", "nothing", "Eve (NAME)"]
    assert list(scored.expected) == ["Ann (NAME), Bob (NAME)", "nothing", "Eve (NAME)"]


def test_spans_where_one_side_has_none():
    found, _ = values("token_classification", examples([[(0, 1, "X")]]), [entities(extra=1)])
    assert found == {"span_f1": 0, "span_precision": 0, "span_recall": 0, "exact_match": 0}
    found, _ = values("token_classification", examples([[]]), [entities(extra=1)])
    assert found.pop("exact_match") == 1
    assert all(math.isnan(value) for value in found.values())


@pytest.mark.parametrize(
    ("label", "message"),
    [
        ("NAME", "row 1: the label 'NAME' isn't a list of entities"),
        ({"start": 0}, "isn't a list of entities"),
        (3, "isn't a list of entities"),
        ([{"start": 0, "end": 1}], "isn't an entity"),
        ([[0, 1]], "isn't an entity"),
        ([[0, "x", "NAME"]], "isn't an entity"),
        ([[3, 3, "NAME"]], "ends before it starts"),
        ([[-1, 3, "NAME"]], "ends before it starts"),
    ],
)
def test_labels_that_are_no_spans_are_named(label, message):
    with pytest.raises(SourceError, match=message):
        SCORERS.get("token_classification").metrics(examples([label]))


def test_other_names_at_the_right_places_are_a_mistake_in_the_data():
    outputs, expected = [entities((0, 3, "NAME"))] * 10, [[(0, 3, "PER")]] * 10
    with pytest.raises(SourceError, match=r"the data's labels \(PER\) aren't the model's \(NAME\)"):
        values("token_classification", examples(expected), outputs)
    found, _ = values("token_classification", examples(expected[:3]), outputs[:3])
    assert found["span_f1"] == 0


# Answers


@pytest.mark.parametrize(
    ("answer", "label", "exact", "f1"),
    [
        ("The red house", "red house!", 1, 1),
        ("red house on a hill", ["the house", "red house"], 0, 2 * 2 / 6),
        ("", [], 1, 1),
        ("", "x", 0, 0),
        ("x", {"text": [], "answer_start": []}, 0, 0),
        ("b a b", {"text": ["b b"], "answer_start": [0]}, 1, 1),
        ("b b c", "b c c", 0, 2 / 3),
    ],
)
def test_answers_by_hand(answer, label, exact, f1):
    outputs = [{"answers": words(answer, "worse")}]
    found, scored = values("question_answering", examples([label]), outputs)
    assert found == pytest.approx({"exact_match": exact, "token_f1": f1})
    assert scored.losses == pytest.approx([1 - f1])


@pytest.mark.parametrize("label", [3, [3], {"answer": "x"}, [(3, "x")]])
def test_labels_that_are_no_answers_are_named(label):
    with pytest.raises(SourceError, match=r"row 1: the label .* neither an answer nor a list"):
        SCORERS.get("question_answering").metrics(examples([label]))


# Words


def masks(*places, extra=0):
    tokens = [[word.encode() for word in row] for row in places] + [[b""] * len(places[0])] * extra
    return {"tokens": np.array([tokens], dtype=object), "counts": np.array([[len(places)]], dtype=np.int32)}


def test_masked_words_by_hand():
    outputs = [masks(["cat", "dog"], extra=1), masks(["a", "b"], ["x", "y"])]
    found, scored = values("fill_mask", examples(["dog", ["a", "z"]]), outputs)
    assert found == pytest.approx({"accuracy": 1 / 3, "mrr": 1.5 / 3})
    assert scored.losses == pytest.approx([0.5, 0.5])
    assert list(scored.shown) == ["cat", "a | x"]


def test_next_tokens_match_with_or_without_their_space():
    outputs = [{"tokens": words(" Paris", " London")}, {"tokens": words(" ", "\n")}]
    found, _ = values("next_token", examples(["Paris", "\n"]), outputs)
    assert found == pytest.approx({"accuracy": 0.5, "mrr": 0.75})


def test_a_row_has_a_word_for_each_mask():
    with pytest.raises(SourceError, match="row 1: 2 words are expected, and the text has 1 places"):
        values("fill_mask", examples([["a", "b"]]), [masks(["a", "b"])])
    with pytest.raises(SourceError, match="row 1: the label 3 is neither a word"):
        SCORERS.get("fill_mask").metrics(examples([3]))


# What every scorer does

ANSWERS = {
    "classification": two(0.9, 0.2, 0.7, 0.4),
    "embedding": [{"embedding": row[None].astype(np.float32)} for row in np.eye(4) + 0.1],
    "token_classification": [entities((0, n, "X")) for n in (1, 2, 3, 4)],
    "question_answering": [{"answers": words(f"answer {n}")} for n in range(4)],
    "fill_mask": [masks([f"w{n}", "other"]) for n in range(4)],
    "next_token": [{"tokens": words(f" w{n}", "other")} for n in range(4)],
}


@pytest.mark.parametrize("task", TASKS.names())
def test_a_models_own_answers_are_right(task):
    """What unlabelled data is held against."""
    scorer, outputs = SCORERS.get(task), ANSWERS[task]
    rows = [{"text": "some words"}] * 4
    data = Examples(rows, scorer.answers(outputs))
    assert set(scorer.metrics(Examples(rows, None))) == set(scorer.metrics(data))
    found, scored = values(task, data, outputs)
    assert all(value == pytest.approx(1) for value in found.values())
    assert scored.losses == pytest.approx(np.zeros(4))
    assert len(scored.shown) == len(scored.expected) == 4


@pytest.mark.parametrize("task", TASKS.names())
def test_any_choice_of_samples_can_be_scored(task):
    scorer, outputs = SCORERS.get(task), ANSWERS[task]
    expected = scorer.answers(outputs)
    data = Examples([{"text": "some words"}] * 4, expected[1:] + expected[:1])
    scored = scorer.scores(data, outputs)
    places = np.array([2, 0, 0, 3])
    again = scorer.scores(
        Examples(data.rows, [data.expected[place] for place in places]), [outputs[place] for place in places]
    )
    for metric in scorer.metrics(data).values():
        assert metric(scored.taken(places)) == pytest.approx(metric(again), nan_ok=True)
    assert list(scored.taken(places).shown) == list(again.shown)
