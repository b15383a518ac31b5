"""Which samples a candidate answers otherwise or worse, and in which slices."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from tritonpack.core.errors import ConfigurationError
from tritonpack.evaluation import Examples
from tritonpack.stages.errors import errors_from_predictions

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_scorer import LabelScorer, answers

ROWS = [{"text": "word " * (1 + number)} for number in range(8)]
FP32 = answers(*[("yes", 0.9), ("no", 0.8)] * 4)
CANDIDATE = answers(*[("yes", 0.9), ("no", 0.8)] * 2, ("no", 0.55), ("no", 0.7), ("no", 0.95), ("yes", 0.6))
EXAMPLES = Examples(ROWS, ["yes", "no"] * 3 + ["no", "yes"], columns={"language": ["en", "de"] * 4})


def report(candidate=CANDIDATE, baseline=FP32, examples=EXAMPLES, **how):
    return errors_from_predictions(candidate, baseline, examples=examples, scorer=LabelScorer(), **how)


def part(found, name, value):
    (one,) = [one for one in found.slices if (one.name, one.value) == (name, value)]
    return one


def test_samples_are_ranked_by_the_growth_of_their_loss():
    found = report(recipe="tiny", names=("fp32", "int8"))
    assert (found.recipe, found.baseline, found.candidate, found.metric) == ("tiny", "fp32", "int8", "accuracy")
    assert (found.total, found.changed, found.worse) == (8, 3, 2)
    # 4 turned wrong, 5 is only less sure; 7 and 6 turned right.
    assert [sample.index for sample in found.samples] == [4, 5, 7, 6]
    assert [sample.changed for sample in found.samples] == [True, False, True, True]
    first = found.samples[0]
    assert (first.inputs, first.expected, first.baseline, first.candidate) == (
        {"text": "word " * 5}, "yes", "yes", "no",
    )  # fmt: skip
    assert first.growth == pytest.approx(0.45)
    assert first.slices == {"length": "25 to 30 characters", "label": "yes", "language": "en"}


def test_slices_have_both_metrics():
    found = report()
    assert {one.name for one in found.slices} == {"length", "label", "language"}
    english = part(found, "language", "en")
    assert (english.samples, english.changed, english.baseline, english.candidate) == (4, 2, 0.75, 0.75)
    yes = part(found, "label", "yes")
    assert (yes.samples, yes.baseline, yes.candidate, yes.difference) == (4, 0.75, 0.75, 0.0)
    lengths = [one for one in found.slices if one.name == "length"]
    assert [one.value for one in lengths][::3] == ["5 to 10 characters", "35 to 40 characters"]
    assert [one.samples for one in lengths] == [2] * 4


def test_another_metric_and_parts_that_dont_decide_it():
    found = report(metric="certainty")
    assert found.metric == "certainty"
    assert part(found, "length", "5 to 10 characters").candidate is None
    assert part(found, "length", "5 to 10 characters").difference is None
    with pytest.raises(ConfigurationError, match="the data set has no metric 'f2'; it has: accuracy, certainty"):
        report(metric="f2")


def test_tokens_take_the_place_of_characters_where_they_are_known():
    found = report(lengths=[3, 3, 3, 3, 3, 3, 3, 9])
    assert [one.value for one in found.slices if one.name == "length"] == ["3 tokens", "9 tokens"]


def test_of_a_pair_both_texts_are_shown_and_their_lengths_added():
    examples = Examples(ROWS[:3], ["yes", "no"], pairs=np.array([[0, 1], [2, 1]]))
    found = report(answers(("no", 0.9), ("no", 0.9)), answers(("yes", 0.9), ("no", 0.9)), examples)
    assert found.samples[0].inputs == {"text, first": "word ", "text, second": "word word "}
    assert [one.value for one in found.slices if one.name == "length"] == ["15 characters", "25 characters"]


def test_without_labels_fp32_is_right():
    found = report(examples=Examples(ROWS, None))
    assert found.against == "agreement with FP32"
    assert part(found, "label", "yes").baseline == 1.0
    assert {sample.expected == sample.baseline for sample in found.samples} == {True}


@pytest.mark.parametrize(
    ("column", "parts"),
    [
        ([str(number) for number in range(40)], []),
        (["same"] * 40, []),
        (list(range(40)), ["0 to 9", "10 to 19", "20 to 29", "30 to 39"]),
        ([0.5 * (number % 3) for number in range(40)], ["0.0", "0.5", "1.0"]),
        ([number % 4 == 0 for number in range(40)], ["False", "True"]),
        ([f"a{min(number, 20)}" for number in range(40)], ["a20", *(f"a{number}" for number in range(10)), "other"]),
        ([number % 5 for number in range(39)] + [None], ["0", "1", "2", "3", "4", "None"]),
    ],
)
def test_a_column_is_cut_as_it_can_be_read(column, parts):
    examples = Examples([{"text": "a"}] * 40, ["yes"] * 40, columns={"x": column})
    found = report(answers(*[("yes", 0.9)] * 40), answers(*[("yes", 0.9)] * 40), examples)
    assert [one.value for one in found.slices if one.name == "x"] == parts
    assert sum(one.samples for one in found.slices if one.name == "x") in {0, 40}
    assert (found.changed, found.worse, found.samples) == (0, 0, [])


def test_inputs_that_are_no_texts_are_named_by_their_size():
    examples = Examples([{"waveform": np.zeros(16000, np.float32)}] * 2, ["yes", "yes"])
    found = report(answers(("yes", 0.9), ("no", 0.9)), answers(("yes", 0.9), ("yes", 0.9)), examples)
    assert found.samples[0].inputs == {"waveform": "16,000 numbers"}
    assert found.slices == []


def test_the_report_is_a_json_document():
    document = json.loads(json.dumps(report().to_json(), allow_nan=False))
    assert document["samples"][0]["growth"] == pytest.approx(0.45)
    assert document["slices"][0]["difference"] == pytest.approx(0)
    assert document["changed"] == 3
