"""What `evaluate` and `errors` print and write, of results that are made up here."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import tritonpack.assess
import tritonpack.endpoint
import tritonpack.recipe
from tritonpack.cli import cli
from tritonpack.cli.errors import errors
from tritonpack.cli.evaluate import evaluate
from tritonpack.core.errors import StoreError, UnsupportedError
from tritonpack.evaluation import Examples
from tritonpack.reports.documents import Evaluation, TargetScore
from tritonpack.stages.errors import errors_from_predictions

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_scorer import LabelScorer, answers

ADDRESS = "127.0.0.1:8001"


def figure(value, low, high):
    return {"value": value, "low": low, "high": high}


def score(value, change, same):
    return {
        "samples": 1200,
        "against": "labels",
        "origin": "",
        "metrics": {
            "accuracy": {
                **figure(value, value - 0.01, value + 0.01),
                "fp32": figure(0.9, 0.89, 0.91),
                "difference": figure(change, change - 0.002, change + 0.002),
            },
            "roc_auc": {
                **figure(None, None, None),
                "fp32": figure(None, None, None),
                "difference": figure(None, None, None),
            },
        },
        "same_answers": same,
        "outputs": {"scores": {"mean_cosine": 0.99712, "min_cosine": 0.9, "max_abs_error": 0.1}},
        "curves": [],
        "confusion": None,
    }


LAYERS = [
    {"name": "layer.0", "nodes": 3, "gain": 0.75, "damage": 0.01, "quantized": True},
    {"name": "layer.1", "nodes": 1, "gain": 0.25, "damage": None, "quantized": False},
]
TARGETS = (
    TargetScore("cpu", "fp32", "onnxruntime", score(0.9, 0.0, 1200), 90_400_000, 1.0),
    TargetScore("[small]", "int8", "onnxruntime", score(0.88, -0.02, 1150), 23_000_000, search={"layers": LAYERS}),
)
FOUND = Evaluation("tiny", "classification", "labelled tiny.jsonl", TARGETS, refused={"rtx": "it isn't installed"})
ERRORS = errors_from_predictions(
    answers(("no", 0.9), ("no", 0.7)),
    answers(("yes", 0.9), ("no", 0.8)),
    examples=Examples([{"text": "the [cat]\n sat"}, {"text": "the dog " * 20}], ["yes", "no"]),
    scorer=LabelScorer(),
    recipe="tiny",
    names=("fp32", "int8"),
)


@pytest.fixture
def call(monkeypatch):
    """Run a command; the pipeline behind it answers with what was made up, and notes what it was asked."""
    asked = []

    def noted(result):
        def answer(*arguments, **_options):
            asked.append(arguments[1:])
            return result

        return answer

    @contextmanager
    def connected(url):
        yield url

    monkeypatch.setattr(tritonpack.recipe, "load_recipe", lambda *_: SimpleNamespace(name="tiny", default_target="cpu"))
    monkeypatch.setattr(tritonpack.endpoint, "connected", connected)
    monkeypatch.setattr(tritonpack.endpoint, "served_limits", lambda client, model: asked.append((client, model)))

    def run(command, *options, evaluation=FOUND):
        monkeypatch.setattr(tritonpack.assess, "evaluate", noted(evaluation))
        monkeypatch.setattr(tritonpack.assess, "evaluate_served", noted(evaluation))
        monkeypatch.setattr(tritonpack.assess, "errors", noted(ERRORS))
        result = CliRunner().invoke(cli, [command.name, "tiny.yaml", *map(str, options)])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return SimpleNamespace(code=result.exit_code, out=result.stdout, error=result.stderr, asked=asked)

    return run


def test_a_row_a_metric_and_what_must_be_known(call):
    lines = [" ".join(line.split()) for line in call(evaluate).out.splitlines()]
    assert lines == [
        "tiny: 1,200 samples of labelled tiny.jsonl, against labels",
        "target precision metric value 95% to FP32 95% same cosine MB speed",
        "cpu fp32 accuracy 0.9000 0.8900 to 0.9100 0 -0.0020 to +0.0020 1,200/1,200 0.99712 90.4 1.00x",
        "roc_auc - -",
        "[small] int8 accuracy 0.8800 0.8700 to 0.8900 -0.0200 -0.0220 to -0.0180 1,150/1,200 0.99712 23.0",
        "roc_auc - -",
        "[small]: quantized 1 of 2 groups of layers, 75% of the multiplications",
        "rtx has no score: it isn't installed",
    ]


def test_targets_and_precisions_are_passed_on(call):
    result = call(evaluate, "--target", "cpu", "--target", "small", "--precision", "fp16")
    assert result.asked == [(("cpu", "small"), ("fp16",))]


def test_a_served_model_is_asked_where_it_is(call):
    result = call(evaluate, "--served", ADDRESS)
    assert result.asked == [(ADDRESS, "tiny"), (ADDRESS, ADDRESS)]
    wrong = call(evaluate, "--served", ADDRESS, "--target", "cpu")
    assert wrong.code == 2
    assert "leave --target and --precision out" in wrong.error


def test_json_is_the_whole_document(call, tmp_path):
    document = json.loads(call(evaluate, "--json", "--html", tmp_path / "new" / "page.html").out)
    assert [target["target"] for target in document["targets"]] == ["cpu", "[small]"]
    assert document["targets"][1]["score"]["metrics"]["accuracy"]["difference"]["value"] == -0.02
    assert document["targets"][0]["mean_cosine"] == 0.99712
    assert document["refused"] == {"rtx": "it isn't installed"}
    assert Path(document["html"]).read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_nothing_that_can_be_measured_is_an_error(call):
    with pytest.raises(UnsupportedError, match="nothing of tiny could be measured here: rtx: it isn't installed"):
        call(evaluate, evaluation=Evaluation("tiny", "classification", "", (), refused=FOUND.refused))


def test_errors_shows_slices_and_the_worst_samples(call):
    lines = [" ".join(line.split()) for line in call(errors).out.splitlines()]
    assert lines[:3] == [
        "tiny: int8 against fp32, accuracy by slice",
        "slice part samples changed fp32 int8 difference",
        "length 14 characters 1 1 1.0000 0.0000 -1.0000",
    ]
    assert "0 the [cat] sat yes yes no +0.8000" in lines
    assert any(line.startswith("1 the dog the dog") and line.endswith("… no no no +0.1000") for line in lines)
    assert lines[-1] == "1 of 2 answers changed, 2 have a greater loss; held against labels"


def test_fewer_samples_are_shown_and_all_are_in_the_document(call, tmp_path):
    short = call(errors, "--most", 1, "--target", "small", "--html", tmp_path / "page.html")
    assert short.asked == [("small",)]
    assert "1 of 2 samples that are answered otherwise or worse" in short.out
    assert "the dog" not in short.out
    assert short.out.endswith(f"report  {tmp_path / 'page.html'}\n")
    assert len(json.loads(call(errors, "--json", "--most", 0).out)["samples"]) == 2


@pytest.mark.parametrize("command", [evaluate, errors])
def test_a_page_that_cannot_be_written_is_one_error(call, tmp_path, command):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"the report can.t be written to .*/file/page\.html") as error:
        call(command, "--html", tmp_path / "file" / "page.html")
    assert error.value.hint == "name another file with --html"
