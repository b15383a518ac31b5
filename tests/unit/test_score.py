"""Metrics with intervals, paired differences, and how close the numbers are."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tritonpack.evaluation import Examples
from tritonpack.stages.predict import write_predictions
from tritonpack.stages.score import closeness_of_outputs, report_from_predictions

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_scorer import LabelScorer, answers

FP32 = answers(("yes", 0.9), ("no", 0.8), ("yes", 0.7), ("no", 0.6))
CANDIDATE = answers(("yes", 0.8), ("no", 0.8), ("no", 0.6), ("no", 0.6))
EXAMPLES = Examples([{"text": str(number)} for number in range(4)], ["yes", "no", "yes", "yes"], origin="made up")


def report(candidate=CANDIDATE, baseline=FP32, examples=EXAMPLES, **how):
    return report_from_predictions(candidate, baseline, examples=examples, scorer=LabelScorer(), **how)


@pytest.fixture(scope="module")
def facts():
    return report()


def test_a_metric_comes_with_its_interval_fp32s_and_the_paired_difference(facts):
    assert (facts["samples"], facts["against"], facts["origin"]) == (4, "labels", "made up")
    accuracy = facts["metrics"]["accuracy"]
    assert (accuracy["value"], accuracy["fp32"]["value"], accuracy["difference"]["value"]) == (0.5, 0.75, -0.25)
    for figure in (accuracy, accuracy["fp32"], accuracy["difference"]):
        assert figure["low"] <= figure["value"] <= figure["high"]
    assert accuracy["difference"]["high"] <= 0
    assert facts["same_answers"] == 3
    assert facts["confusion"] == {"labels": ["no", "yes"], "counts": [[1, 0], [2, 1]]}


def test_what_nobody_labelled_is_agreement_with_fp32():
    facts = report(examples=Examples(EXAMPLES.rows, None))
    assert facts["against"] == "agreement with FP32"
    accuracy = facts["metrics"]["accuracy"]
    assert (accuracy["value"], accuracy["fp32"]["value"]) == (0.75, 1.0)
    assert accuracy["fp32"]["low"] == accuracy["fp32"]["high"] == 1.0


def test_files_give_what_their_content_gives(tmp_path, facts):
    write_predictions(FP32, tmp_path / "fp32")
    write_predictions(CANDIDATE, tmp_path / "candidate")
    assert report(tmp_path / "candidate", tmp_path / "fp32", out=tmp_path / "out") == facts
    assert json.loads((tmp_path / "out").read_text()) == facts


def test_a_number_that_the_samples_dont_decide_is_none():
    two = Examples(EXAMPLES.rows[:2], EXAMPLES.expected[:2])
    facts = report(CANDIDATE[:2], FP32[:2], two)
    assert facts["metrics"]["certainty"]["value"] is None
    assert facts["metrics"]["certainty"]["difference"] == {"value": None, "low": None, "high": None}
    json.dumps(facts, allow_nan=False)


def test_a_long_curve_is_thinned_and_keeps_its_ends(facts):
    (curve,) = facts["curves"]
    assert (curve["name"], curve["x_title"], curve["y_title"]) == ("ROC", "False positives", "True positives")
    assert len(curve["x"]) == len(curve["y"]) == 200
    assert (curve["x"][0], curve["x"][-1]) == (0.0, 1.0)


def test_scores_are_compared_label_by_label():
    """Best first they would be [0.7, 0.3] against [0.6, 0.4], which hides that the answer turned."""
    closeness = closeness_of_outputs(CANDIDATE, FP32)["scores"]
    assert closeness["max_abs_error"] == pytest.approx(0.3, abs=1e-6)
    assert closeness["min_cosine"] == pytest.approx((0.3 * 0.6 + 0.7 * 0.4) / np.hypot(0.3, 0.7) / np.hypot(0.4, 0.6))
    assert closeness_of_outputs(FP32, FP32)["scores"]["mean_cosine"] == pytest.approx(1)


def vector(*numbers):
    return np.array([numbers], dtype=np.float32)


def test_vectors_are_compared_row_by_row():
    found = closeness_of_outputs(
        [{"v": vector(3, 4, 0)}, {"v": vector(0, 1, 0)}], [{"v": vector(3, 4, 0)}, {"v": vector(1, 0, 0)}]
    )
    assert found["v"] == {"mean_cosine": 0.5, "min_cosine": 0.0, "max_abs_error": 1.0}


def test_a_number_a_row_is_one_vector():
    found = closeness_of_outputs([{"v": vector(4)}, {"v": vector(-3)}], [{"v": vector(3)}, {"v": vector(4)}])
    assert found["v"]["min_cosine"] == pytest.approx(0)


def test_numbers_of_another_count_or_beside_other_texts_arent_compared():
    texts = [{"t": np.array([[name, b"b"]], dtype=object), "v": vector(1, 2)} for name in (b"a", b"c")]
    assert "v" not in closeness_of_outputs(texts[:1], texts[1:])
    assert "v" not in closeness_of_outputs([{"v": vector(1, 2)}], [{"v": vector(1, 2, 3)}])
    assert "v" not in closeness_of_outputs(*[[{"v": vector(1)}, {"v": vector(1, 2)}]] * 2)


def test_numbers_that_are_none_have_no_cosine():
    found = closeness_of_outputs([{"v": vector(np.nan, 1)}], [{"v": vector(1, 1)}])
    assert found["v"] == {"mean_cosine": -1.0, "min_cosine": -1.0, "max_abs_error": None}
