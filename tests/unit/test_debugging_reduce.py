"""The smallest part that fails, on graphs made node by node."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_graphs import WIDTH, constant_changed, edited, perceptron

from tritonpack.core.errors import ConfigurationError, VerificationError
from tritonpack.core.tensors import Tolerance
from tritonpack.debugging import reduce
from tritonpack.debugging.compare import comparison_of
from tritonpack.debugging.diagnose import diagnosis_of
from tritonpack.debugging.reduce import check_reduction, reduction_of

GATE = Tolerance(min_cosine=0.99, mean_cosine=0.995)
LAYERS = 10


@pytest.fixture
def reference(tmp_path):
    return perceptron(tmp_path / "reference.onnx", LAYERS)


@pytest.fixture
def inputs():
    return {"x": np.random.default_rng(0).normal(size=(2, 5, WIDTH)).astype(np.float32)}


def scaled(name, factor=1.5):
    return lambda graph: constant_changed(graph, name, lambda array: array * factor)


def noisy(graph):
    rng = np.random.default_rng(0)
    for layer in range(LAYERS):
        constant_changed(graph, f"w{layer}", lambda array: array * rng.normal(1, 0.05, array.shape))


@pytest.mark.parametrize("layer", [0, 4, LAYERS - 1])
def test_one_faulty_node_is_all_that_is_left(reference, inputs, tmp_path, layer):
    candidate = edited(reference, tmp_path / "candidate.onnx", scaled(f"w{layer}"))
    comparison = comparison_of(reference, candidate, inputs, tolerance=GATE)
    reduction = reduction_of(reference, candidate, inputs, comparison, tmp_path / "small.onnx")
    assert (reduction.value, reduction.nodes) == (f"product{layer}", 1)
    assert reduction.modules == (f"layers.{layer}",)
    assert [node.name for node in onnx.load(reduction.file).graph.node] == [f"node_product{layer}"]
    assert json.loads(json.dumps(reduction.to_json()))["nodes"] == 1


def test_the_file_fails_alone_in_the_runtime_itself(reference, inputs, tmp_path):
    candidate = edited(reference, tmp_path / "candidate.onnx", scaled("w4"))
    comparison = comparison_of(reference, candidate, inputs, tolerance=GATE)
    reduction_of(reference, candidate, inputs, comparison, tmp_path / "small.onnx")
    onnx.checker.check_model(tmp_path / "small.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "small.onnx", providers=["CPUExecutionProvider"])
    with np.load(tmp_path / "small.npz") as arrays:
        assert arrays.files == ["input/tanh3.reference", "expected/product4"]
        (answer,) = session.run(None, {"tanh3.reference": arrays["input/tanh3.reference"]})
        np.testing.assert_allclose(answer, 1.5 * arrays["expected/product4"], rtol=1e-5)
    assert check_reduction(tmp_path / "small.onnx", GATE).problem


def test_an_error_that_grew_keeps_no_more_than_it_needs(reference, inputs, tmp_path):
    candidate = edited(reference, tmp_path / "candidate.onnx", noisy)
    gate = Tolerance(mean_cosine=0.995)
    comparison = comparison_of(reference, candidate, inputs, tolerance=gate)
    assert comparison.faulty == []
    reduction = reduction_of(reference, candidate, inputs, comparison, tmp_path / "small.onnx")
    assert reduction.value == comparison.first.value
    before = [layer.value for layer in comparison.layers].index(comparison.first.value)
    assert 1 < reduction.nodes <= before + 1
    assert check_reduction(reduction.file, gate).problem


def test_padding_travels_with_the_file(reference, inputs, tmp_path):
    candidate = edited(reference, tmp_path / "candidate.onnx", scaled("w4"))
    lengths = {"sequence": np.array([2, 5])}
    comparison = comparison_of(reference, candidate, inputs, tolerance=GATE, lengths=lengths)
    reduction_of(reference, candidate, inputs, comparison, tmp_path / "small.onnx", lengths=lengths)
    with np.load(tmp_path / "small.npz") as arrays:
        assert arrays["kept/product4"].reshape(2, 5).sum(axis=1).tolist() == [2, 5]


def test_nothing_to_reduce(reference, inputs, tmp_path):
    comparison = comparison_of(reference, reference, inputs, tolerance=GATE)
    with pytest.raises(ConfigurationError, match="no value out of tolerance") as error:
        reduction_of(reference, reference, inputs, comparison, tmp_path / "small.onnx")
    assert "--min-cosine" in error.value.hint


def test_a_part_that_doesnt_fail_alone_is_said_so(reference, inputs, tmp_path, monkeypatch):
    candidate = edited(reference, tmp_path / "candidate.onnx", scaled("w4"))
    comparison = comparison_of(reference, candidate, inputs, tolerance=GATE)
    monkeypatch.setattr(reduce, "check_reduction", lambda _file, _tolerance: comparison.layers[0].own)
    with pytest.raises(VerificationError, match="out of tolerance in the graph but not alone"):
        reduction_of(reference, candidate, inputs, comparison, tmp_path / "small.onnx")


def test_a_diagnosis_reduces_what_fails_and_nothing_else(reference, inputs, tmp_path):
    candidate = edited(reference, tmp_path / "candidate.onnx", scaled("w4"))
    found = diagnosis_of(reference, candidate, inputs, name="int8", tolerance=GATE, reduce=tmp_path / "small.onnx")
    assert found.reduction.value == found.comparison.first.value == "product4"
    document = json.loads(json.dumps(found.to_json()))
    assert document["candidate"] == "int8"
    assert document["reduction"]["value"] == "product4"
    same = diagnosis_of(reference, reference, inputs, name="fp32", tolerance=GATE, reduce=tmp_path / "none.onnx")
    assert same.reduction is None
    assert same.to_json()["reduction"] is None
    assert not (tmp_path / "none.onnx").exists()
