"""Pages: what they hold, that they need nothing else, and that texts stay texts."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tritonpack.core.errors import MissingExtraError
from tritonpack.evaluation import Examples
from tritonpack.reports.documents import Evaluation, TargetScore
from tritonpack.reports.errors import cut, html_from_errors
from tritonpack.reports.evaluation import confusion_of, html_from_evaluation, label, quantized_part, verdict
from tritonpack.reports.page import number, signed
from tritonpack.reports.sensitivity import svg_from_layers
from tritonpack.stages.errors import errors_from_predictions
from tritonpack.stages.score import report_from_predictions

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_scorer import LabelScorer, answers

HOSTILE = '</td><script>alert("x")</script> & "quoted"'
FP32 = answers(*[("yes", 0.9), ("no", 0.8)] * 6)
CANDIDATE = answers(("no", 0.6), ("yes", 0.8), *[("yes", 0.9), ("no", 0.8)] * 5)
EXAMPLES = Examples(
    [{"text": f"{HOSTILE} {'long ' * 99}"}] * 12, ["yes", "no"] * 6, columns={"language": [HOSTILE, "en"] * 6}
)
LAYERS = [
    {"name": f"layer.{number}", "gain": 0.25, "damage": damage, "quantized": damage is None or damage < 0.1}
    for number, damage in enumerate((0.01, 0.5, None, 0.02))
]


@pytest.fixture(scope="module")
def score():
    return report_from_predictions(CANDIDATE, FP32, examples=EXAMPLES, scorer=LabelScorer())


@pytest.fixture(scope="module")
def evaluation(score):
    same = report_from_predictions(FP32, FP32, examples=EXAMPLES, scorer=LabelScorer())
    targets = (
        TargetScore("fp32", "fp32", "onnxruntime", same, 1_000_000, 1.0),
        TargetScore("<small>", "int8", "onnxruntime", score, note="its graph <i>alone</i>", search={"layers": LAYERS}),
    )
    return Evaluation("tiny", "classification", HOSTILE, targets, refused={"rtx": HOSTILE})


@pytest.fixture(scope="module")
def errors():
    return errors_from_predictions(CANDIDATE, FP32, examples=EXAMPLES, scorer=LabelScorer(), recipe="tiny")


def plots_of(page):
    return [ET.fromstring(plot) for plot in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]  # noqa: S314  our own


def check_alone(page):
    """Nothing is fetched, and no text became markup."""
    without_names = re.sub(r'xmlns(:\w+)?="[^"]*"', "", page)
    assert not re.search(r"src\s*=|href\s*=\s*\"(?!#)|url\((?!#)|@import|<link|https?:", without_names)
    assert "alert(" in page
    assert "<script>alert" not in page
    assert "<i>alone" not in page


def test_the_evaluations_page_needs_nothing_else(evaluation):
    page = html_from_evaluation(evaluation)
    check_alone(page)
    assert "&lt;small&gt; (int8)" in page
    assert "rtx</b> has no score" in page
    # Two metrics, one curve, one search.
    assert len(plots_of(page)) == 4


def test_the_evaluations_page_is_the_same_each_time(evaluation):
    assert html_from_evaluation(evaluation) == html_from_evaluation(evaluation)


def test_a_score_without_curves_confusion_and_decided_numbers_has_a_page(evaluation, score):
    none = dict.fromkeys(("value", "low", "high"))
    metrics = {"f1": {**none, "fp32": none, "difference": none}}
    bare = {**score, "curves": [], "confusion": None, "outputs": {}, "metrics": metrics}
    target = TargetScore("cpu", "int8", "onnxruntime", bare)
    assert target.mean_cosine is None
    page = html_from_evaluation(replace(evaluation, targets=(target,), served="127.0.0.1:8001"))
    assert "served by 127.0.0.1:8001" in page
    assert len(plots_of(page)) == 1


def test_a_difference_says_something_where_its_interval_leaves_0_out():
    assert verdict({"value": -1, "low": -2, "high": -0.5}) == "worse"
    assert verdict({"value": 1, "low": 0.5, "high": 2}) == "better"
    assert verdict({"value": 1, "low": 0, "high": 2}) == ""
    assert verdict({"value": 1, "low": None, "high": None}) == ""


def test_a_large_confusion_matrix_is_its_most_frequent_confusions(evaluation, score):
    labels = [f"label {number}" for number in range(20)]
    counts = [[5 if row == column else row * (column == 0) for column in range(20)] for row in range(20)]
    target = replace(evaluation.targets[0], score={**score, "confusion": {"labels": labels, "counts": counts}})
    shown = confusion_of(target)
    assert shown["pairs"][:2] == [("label 19", "label 0", 19), ("label 18", "label 0", 18)]
    assert "The most frequent confusions" in html_from_evaluation(replace(evaluation, targets=(target,)))


def test_of_very_many_curves_the_first_are_drawn(evaluation, score):
    (curve,) = score["curves"]
    curves = [{**curve, "name": f"label {number}", "x": curve["x"][:3], "y": curve["y"][:3]} for number in range(11)]
    target = replace(evaluation.targets[0], score={**score, "curves": curves})
    page = html_from_evaluation(replace(evaluation, targets=(target,)))
    assert "label 7</h2>" in page
    assert "label 8" not in page
    assert "3 more curves are in the document" in page


def test_what_a_search_quantized_is_told(evaluation):
    assert quantized_part(evaluation.targets[0].layers) == ""
    assert quantized_part(evaluation.targets[1].layers) == "3 of 4 groups of layers, 75% of the multiplications"
    assert [label(target) for target in evaluation.targets] == ["fp32", "<small> (int8)"]


def test_every_layer_has_its_bars():
    tree = ET.fromstring(svg_from_layers(LAYERS))  # noqa: S314  our own
    names = [element.text for element in tree.iter() if element.tag.endswith("text")]
    assert [name for name in names if name.startswith("layer.")] == [f"layer.{number}" for number in range(4)]
    assert {"quantized", "kept in floating point"} <= set(names)
    assert svg_from_layers(LAYERS) == svg_from_layers(LAYERS)


def test_the_page_of_errors_holds_every_sample_to_be_filtered(errors):
    page = html_from_errors(errors)
    check_alone(page)
    assert page.count('<tr data-changed="1"') == 2
    assert page.count("<details>") == 2
    assert [name for name in re.findall(r"<label>([^<]+)<", page) if name != "text"] == ["label", "language"]


def test_very_many_samples_are_cut_and_that_is_said(errors):
    page = html_from_errors(replace(errors, samples=list(errors.samples) * 700))
    assert page.count("<tr data-changed") == 1000
    assert "The first 1,000 of 1,400" in page
    assert len(page) < 3_000_000


def test_no_error_is_said(errors):
    page = html_from_errors(replace(errors, samples=[], slices=[], changed=0, worse=0))
    assert "every sample is answered alike" in page


def test_a_long_text_is_cut_between_words():
    head, rest = cut("word " * 60)
    assert head + rest == "word " * 60
    assert head.endswith("word")
    assert cut("x" * 300) == ("x" * 220, "x" * 80)
    assert cut("short") == ("short", "")


def test_numbers_as_people_read_them():
    assert (number(0.12345), number(None)) == ("0.1235", "\u2013")
    assert [signed(value) for value in (0.5, -0.5, 0.00004, -0.00004, None)] == [
        "+0.5000", "\u22120.5000", "0.0000", "0.0000", "\u2013",
    ]  # fmt: skip


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_a_package_that_isnt_there_says_how_to_get_it(evaluation, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=package) as error:
        html_from_evaluation(evaluation)
    assert error.value.hint == "pip install 'tritonpack[evaluation]'"
