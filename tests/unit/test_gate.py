"""The accuracy gate."""

from __future__ import annotations

import json
import math

import pytest

from tritonpack.core.errors import RecipeError, VerificationError
from tritonpack.stages.gate import MetricBudget, check_accuracy, chosen_metric


def figures(value, baseline):
    return {"value": value, "low": value, "high": value, "fp32": {"value": baseline}}


REPORT = {"metrics": {"accuracy": figures(0.91, 0.93), "macro F1": figures(0.8, 0.79)}, "samples": 200}


def checked(tmp_path, report=REPORT, metric=None, max_drop=0.02):
    (tmp_path / "report").write_text(json.dumps(report))
    return check_accuracy(
        tmp_path / "report", metric=metric, max_drop=max_drop, name="onnxruntime int8", out=tmp_path / "out"
    )


def test_a_drop_within_the_budget_is_verified(tmp_path):
    facts = checked(tmp_path, max_drop=0.03)
    assert facts == {
        "status": "verified",
        "metric": "accuracy",
        "baseline": 0.93,
        "candidate_value": 0.91,
        "interval": [0.91, 0.91],
        "max_drop": 0.03,
        "samples": 200,
    }
    assert json.loads((tmp_path / "out").read_text()) == facts


def test_another_metric_may_be_held(tmp_path):
    assert checked(tmp_path, metric="macro F1", max_drop=0)["candidate_value"] == 0.8


def test_a_greater_drop_is_refused_with_both_values(tmp_path):
    with pytest.raises(VerificationError) as error:
        checked(tmp_path, max_drop=0.01)
    assert error.value.message == (
        "onnxruntime int8: accuracy falls from 0.9300 (FP32) to 0.9100, more than the 0.01 allowed"
    )
    assert "gates.accuracy.max_drop" in error.value.hint
    assert error.value.context == {"metric": "accuracy", "candidate": "onnxruntime int8"}
    assert error.value.exit_code == 4
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("value", "baseline"), [(None, 0.9), (0.9, None), (None, None)])
def test_a_metric_that_the_samples_dont_decide_is_no_pass(tmp_path, value, baseline):
    report = {"metrics": {"spearman": figures(value, baseline)}, "samples": 12}
    with pytest.raises(VerificationError, match="nothing that the samples decide"):
        checked(tmp_path, report, max_drop=1)


def test_the_usual_metric_is_the_first():
    assert chosen_metric(None, {"b": 1, "a": 2}) == ("b", 1)
    assert chosen_metric("a", {"b": 1, "a": 2}) == ("a", 2)


def test_a_metric_that_doesnt_fit_names_those_that_do(tmp_path):
    with pytest.raises(RecipeError) as error:
        checked(tmp_path, metric="acuracy")
    assert error.value.message == (
        "gates.accuracy.metric: 'acuracy' doesn't fit this task and data; there are: accuracy, macro F1"
    )
    assert error.value.hint == "Did you mean 'accuracy'?"
    assert error.value.context["field"] == "gates.accuracy.metric"


@pytest.mark.parametrize(
    ("value", "inside"), [(0.9, True), (0.8, True), (0.795, True), (0.78, False), (math.nan, False)]
)
def test_a_budget_says_how_far_a_metric_fell(value, inside):
    budget = MetricBudget("spearman", 0.8, 0.01, measure=None)
    assert budget.violation(value) == ("" if inside else f"spearman falls from 0.8000 to {value:.4f}, more than 0.01")
