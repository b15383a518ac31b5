"""What counts as a difference: padding, masks, and numbers of sixteen bits."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_graphs import WIDTH, edited, in_module, node_of, perceptron, write

from tritonpack.core.tensors import Tolerance
from tritonpack.debugging.compare import comparison_of

GATE = Tolerance(min_cosine=0.99, mean_cosine=0.995)


def numbers(batch=2, length=5, seed=0):
    return np.random.default_rng(seed).normal(size=(batch, length, WIDTH)).astype(np.float32)


def test_padding_doesnt_count(tmp_path):
    """A mask that lets the padded positions through changes these alone until the rows are summed."""

    def graph(path, shift):
        nodes = [
            in_module(helper.make_node("Cast", ["mask"], ["real"], to=TensorProto.FLOAT), "masking"),
            in_module(helper.make_node("Sub", ["one", "real"], ["padded"]), "masking"),
            in_module(helper.make_node("Mul", ["padded", shift], ["shift"]), "masking"),
            in_module(helper.make_node("Unsqueeze", ["shift", "last"], ["shifts"]), "masking"),
            in_module(helper.make_node("Add", ["x", "shifts"], ["moved"]), "moving"),
            in_module(helper.make_node("Reshape", ["moved", "flat"], ["tokens"]), "moving"),
            in_module(helper.make_node("Transpose", ["moved"], ["sideways"], perm=[0, 2, 1]), "moving"),
            in_module(helper.make_node("ReduceSum", ["moved", "axes"], ["total"], keepdims=0), "pooling"),
        ]
        constants = [
            numpy_helper.from_array(np.float32(1), "one"),
            numpy_helper.from_array(np.float32(0), "none"),
            numpy_helper.from_array(np.array([2]), "last"),
            numpy_helper.from_array(np.array([1]), "axes"),
            numpy_helper.from_array(np.array([-1, WIDTH]), "flat"),
        ]
        inputs = {
            "x": (TensorProto.FLOAT, ["batch", "sequence", WIDTH]),
            "mask": (TensorProto.INT64, ["batch", "sequence"]),
        }
        return write(path, nodes, inputs, {"total": ["batch", WIDTH]}, constants)

    reference, candidate = graph(tmp_path / "a.onnx", "none"), graph(tmp_path / "b.onnx", "one")
    inputs = {"x": numbers(2, 5), "mask": np.array([[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]])}
    lengths = {"sequence": np.array([2, 5])}
    within = comparison_of(reference, candidate, inputs, tolerance=GATE, lengths=lengths)
    assert within.first.value == "total"
    assert within.culprit is None
    assert "it reads positions that are padded" in within.explanation()
    assert "mask" in within.advice()
    assert [layer.value for layer in within.layers if layer.total.problem] == ["total"]
    counted = comparison_of(reference, candidate, inputs, tolerance=GATE)
    assert counted.first.value == "shift"


def test_minus_infinity_is_any_low_number(tmp_path):
    def graph(path, low):
        nodes = [
            in_module(helper.make_node("Greater", ["x", "none"], ["chosen"]), "mask"),
            in_module(helper.make_node("Where", ["chosen", "x", "low"], ["masked"]), "mask"),
            in_module(helper.make_node("Softmax", ["masked"], ["end"]), "softmax"),
        ]
        constants = [numpy_helper.from_array(np.float32(v), name) for name, v in (("none", 0), ("low", low))]
        shape = ["batch", "sequence", WIDTH]
        return write(path, nodes, {"x": (TensorProto.FLOAT, shape)}, {"end": shape}, constants)

    reference = graph(tmp_path / "a.onnx", np.finfo(np.float32).min)
    for low in (-65504.0, -np.inf):
        candidate = graph(tmp_path / "b.onnx", low)
        assert comparison_of(reference, candidate, {"x": numbers()}, tolerance=GATE).agrees
    small = graph(tmp_path / "b.onnx", -3.0)
    assert comparison_of(reference, small, {"x": numbers()}, tolerance=GATE).first.value == "masked"


def test_half_precision_is_read_as_numbers(tmp_path):
    """One sum of the candidate is in FP16, between casts."""

    def halved(graph):
        add = node_of(graph, "sum1")
        add.input[:] = ["product1_half", "b1_half"]
        add.output[0] = "sum1_half"
        bias = next(tensor for tensor in graph.initializer if tensor.name == "b1")
        graph.initializer.append(numpy_helper.from_array(numpy_helper.to_array(bias).astype(np.float16), "b1_half"))
        at = list(graph.node).index(add)
        graph.node.insert(at + 1, helper.make_node("Cast", ["sum1_half"], ["sum1"], to=TensorProto.FLOAT))
        graph.node.insert(at, helper.make_node("Cast", ["product1"], ["product1_half"], to=TensorProto.FLOAT16))

    reference = perceptron(tmp_path / "reference.onnx")
    candidate = edited(reference, tmp_path / "candidate.onnx", halved)
    comparison = comparison_of(reference, candidate, {"x": numbers()}, tolerance=GATE)
    assert comparison.agrees
    assert comparison.contributors(1)[0].value == "sum1"
    assert 0 < comparison.contributors(1)[0].own.relative_error < 1e-3


def test_an_overflow_of_half_precision_is_found_as_a_gpu_has_it(tmp_path):
    shape = ["batch", "sequence", WIDTH]

    def graph(path, kind):
        nodes = [
            in_module(helper.make_node("Cast", ["x"], ["narrow"], to=kind), "scale"),
            in_module(helper.make_node("Mul", ["narrow", "large"], ["product"]), "scale"),
            in_module(helper.make_node("Div", ["product", "large"], ["quotient"]), "scale"),
            in_module(helper.make_node("Cast", ["quotient"], ["end"], to=TensorProto.FLOAT), "scale"),
        ]
        large = numpy_helper.from_array(np.array(6e4, helper.tensor_dtype_to_np_dtype(kind)), "large")
        return write(path, nodes, {"x": (TensorProto.FLOAT, shape)}, {"end": shape}, [large])

    reference, candidate = (
        graph(tmp_path / "a.onnx", TensorProto.FLOAT),
        graph(tmp_path / "b.onnx", TensorProto.FLOAT16),
    )
    comparison = comparison_of(reference, candidate, {"x": numbers()}, tolerance=GATE)
    assert comparison.culprit.value == "product"
    assert "infinity" in comparison.first.total.problem
    assert comparison.first.total == comparison.first.own
    assert not comparison.layers[0].total.problem
