"""What `debug` prints; the graphs behind it are in test_debugging_*.py."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from tritonpack.cli import cli
from tritonpack.core.errors import ConfigurationError
from tritonpack.core.tensors import Tolerance
from tritonpack.debugging._difference import Difference
from tritonpack.debugging.compare import Comparison, Layer
from tritonpack.debugging.diagnose import Diagnosis
from tritonpack.debugging.reduce import Reduction


def layer(value, module, total, own):
    return Layer(value, f"node_{value}", "MatMul", module, total, own)


def off(error, problem=""):
    return Difference(error, error, error, 1 - error, 1 - error / 2, problem)


LAYERS = (
    layer("first", "embeddings", off(0.0), off(0.0)),
    layer("second", "layers[0].dense", off(0.01), off(0.01)),
    layer("third", "layers[1].dense", off(0.4, "it is far away"), off(0.39, "it is far away")),
    layer("fourth", "", Difference.failed("it holds NaN where the reference doesn't"), off(0.0)),
)


def comparison(layers=LAYERS, unmatched=()):
    return Comparison(
        layers, {"end": layers[-1].total}, unmatched, frozenset({"first", "second", "third"}), Tolerance()
    )


@pytest.fixture
def run(monkeypatch):
    """Run the command on a result; gives its output and what it was asked for."""

    def call(*arguments, result=None):
        asked = {}

        def fake(recipe, **options):
            options["progress"]("candidate", 1, 4)
            asked.update(options, recipe=recipe)
            return result or Diagnosis("int8", comparison(), None)

        monkeypatch.setitem(sys.modules, "tritonpack.assess", SimpleNamespace(debug=fake))
        recipe = SimpleNamespace(load_recipe=lambda _path: SimpleNamespace(name="tiny"))
        monkeypatch.setitem(sys.modules, "tritonpack.recipe", recipe)
        ended = CliRunner().invoke(cli, ["debug", "tiny.yaml", *arguments], catch_exceptions=False)
        return " ".join(ended.output.split()), asked

    return call


def test_it_prints_what_matters_and_where_they_part(run):
    output, _ = run("--precision", "int8")
    assert "tiny: int8 beside FP32" in output
    assert "The graphs first part at third, which MatMul in layers[1].dense computes: it is far away." in output
    assert "next Keep layers[1].dense in floating point" in output
    assert "layers[1].dense MatMul third 0.80000 0.60000 0.4 0.4 0.39 faulty, first" in output
    assert "embeddings MatMul" not in output
    assert "node_fourth" not in output


def test_all_prints_every_value(run):
    output, _ = run("--all")
    assert "embeddings MatMul first 1.00000 1.00000 0 0 0 within" in output
    assert "node_fourth MatMul fourth - - - - 0 out of tolerance" in output


def test_options_reach_the_search(run):
    _, asked = run("--target", "cpu", "--text", "one", "--text", "two", "--min-cosine", "0.9", "--tolerance", "0.1",
                   "--reduce", "small.onnx")  # fmt: skip
    assert asked["target"] == "cpu"
    assert asked["precision"] is asked["candidate"] is None
    assert asked["texts"] == ("one", "two")
    assert asked["bounds"] == Tolerance(max_abs_error=0.1, min_cosine=0.9)
    assert asked["reduce"] == Path("small.onnx")


def test_a_reduction_is_told(run):
    reduction = Reduction(Path("small.onnx"), Path("small.npz"), "third", ("layers.1",), 4, off(0.3, "far"))
    output, _ = run(result=Diagnosis("int8", comparison(unmatched=("a", "b")), reduction))
    assert "reduced small.onnx: 4 nodes that compute third and fail alone; inputs and expected output in" in output
    assert "2 values of FP32 have no name in the other graph." in output


def test_agreement_is_one_sentence(run):
    output, _ = run(result=Diagnosis("fp16", comparison(LAYERS[:2]), None))
    assert "All 2 values that both graphs name are within tolerance" in output
    assert "next" not in output


def test_json_is_one_document(run):
    output, _ = run("--json")
    document = json.loads(output)
    assert (document["recipe"], document["candidate"], document["agrees"]) == ("tiny", "int8", False)
    assert document["culprit"]["module"] == "layers[1].dense"
    assert document["layers"][3]["total"]["max_abs_error"] is None
    assert not math.isnan(document["layers"][0]["total"]["min_cosine"])


def test_one_graph_at_a_time(run):
    with pytest.raises(ConfigurationError, match="--target, --precision and --candidate"):
        run("--target", "cpu", "--precision", "int8")
