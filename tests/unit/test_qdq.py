"""Where Q/DQ pairs stand, and what they hold."""

from __future__ import annotations

import platform
from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from tritonpack.core.errors import LoweringError
from tritonpack.core.observations import read_observations
from tritonpack.engines import ENGINES
from tritonpack.precisions import PRECISIONS, Calibrator, Rewriting
from tritonpack.stages.observe import observations_from_onnx

INT8 = PRECISIONS.get("int8")
K, N = 16, 8


def value(name, *dims):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)


@pytest.fixture
def graph(tmp_path):
    """``left`` and ``right`` read one value, ``again`` has the weights of ``left``, ``scores`` has no weights."""
    generator = np.random.default_rng(0)
    constants = {
        "w": generator.normal(size=(K, N)),
        "v": generator.normal(size=(K, N)),
        "g": generator.normal(size=(N, K)),
        "bias": generator.normal(size=N),
    }
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "left"),
        helper.make_node("MatMul", ["x", "v"], ["b"], "right"),
        helper.make_node("Relu", ["x"], ["positive"]),
        helper.make_node("MatMul", ["positive", "w"], ["c"], "again"),
        helper.make_node("Neg", ["x"], ["negative"]),
        helper.make_node("Gemm", ["negative", "g", "bias"], ["d"], "biased", transB=1),
        helper.make_node("Transpose", ["b"], ["turned"], perm=[1, 0]),
        helper.make_node("MatMul", ["a", "turned"], ["scores"], "scores"),
    ]
    made = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in constants.items()]
    outputs = [value(name, "n", N) for name in "cd"] + [value("scores", "n", "n")]
    model = helper.make_graph(nodes, "products", [value("x", "n", K)], outputs, made)
    path = tmp_path / "graph.onnx"
    onnx.save(helper.make_model(model, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


def given(rows=300, seed=0):
    return {"x": np.random.default_rng(seed).normal(size=(rows, K)).astype(np.float32)}


@pytest.fixture
def rewrite(graph, tmp_path):
    def run(batch=None, **how):
        batch = batch or given()
        observations_from_onnx(graph, [batch], masks=[], out=tmp_path / "seen.npz")
        how = {"observed": read_observations(tmp_path / "seen.npz"), **how}
        facts = INT8.rewrite(graph, tmp_path / "out.onnx", Rewriting(**how))
        onnx.checker.check_model(tmp_path / "out.onnx", full_check=True)
        return onnx.load(tmp_path / "out.onnx").graph, facts

    return run


def answers(path, inputs, *, plain=False):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if plain:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, inputs)


def chain(graph, product):
    """The nodes that make a product's two operands."""
    makers = {output: node for node in graph.node for output in node.output}
    (node,) = [node for node in graph.node if node.name == product]
    return makers[node.input[0]], makers[node.input[1]], makers


def test_pairs_stand_on_the_inputs_of_products_with_weights_and_nowhere_else(rewrite):
    graph, facts = rewrite()
    operators = Counter(node.op_type for node in graph.node)
    assert (operators["QuantizeLinear"], operators["DequantizeLinear"]) == (3, 4 + 3)
    assert (facts["quantized_matmuls"], facts["kept_matmuls"]) == (4, 0)
    for product in ("left", "right", "again", "biased"):
        activation, weights, makers = chain(graph, product)
        assert activation.op_type == weights.op_type == "DequantizeLinear"
        assert makers[activation.input[0]].op_type == "QuantizeLinear"
        assert weights.input[0] not in makers
    (scores,) = [node for node in graph.node if node.name == "scores"]
    assert list(scores.input) == ["a", "turned"]


def test_a_value_is_quantized_once_and_dequantized_for_each_product(rewrite):
    graph, _ = rewrite()
    left, right = chain(graph, "left")[0], chain(graph, "right")[0]
    assert left.input[0] == right.input[0]
    assert left.output[0] != right.output[0]


def test_weights_are_integers_with_a_scale_a_column_and_shared_ones_stay_shared(rewrite):
    graph, _ = rewrite()
    constants = {tensor.name: tensor for tensor in graph.initializer}
    left, again = chain(graph, "left")[1], chain(graph, "again")[1]
    assert left.output[0] == again.output[0]
    assert helper.get_node_attr_value(left, "axis") == 1
    integers, scales = (numpy_helper.to_array(constants[name]) for name in left.input[:2])
    assert (integers.dtype, integers.shape, scales.shape) == (np.int8, (K, N), (N,))
    assert (np.abs(integers).max(axis=0) == 127).all()
    assert not {"w", "v", "g"} & set(constants)
    assert constants["bias"].data_type == TensorProto.FLOAT


def test_values_keep_their_names(rewrite, graph):
    before = {output for node in onnx.load(graph).graph.node for output in node.output}
    after = {output for node in rewrite()[0].node for output in node.output}
    assert before <= after


def test_zero_points_are_zero(rewrite):
    graph, _ = rewrite()
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    zeros = {node.input[2] for node in graph.node if node.op_type == "QuantizeLinear"}
    assert [constants[name] for name in zeros] == [np.int8(0)]


def test_a_kept_group_stays_as_it_was(rewrite):
    graph, facts = rewrite(keep=frozenset({"again"}))
    assert facts["kept"] == ["again"]
    (again,) = [node for node in graph.node if node.name == "again"]
    assert list(again.input) == ["positive", "w"]
    assert "w" in {tensor.name for tensor in graph.initializer}
    assert list(facts["errors"]) == ["{left,right}", "biased"]


def hot():
    batch = given()
    batch["x"][:, 2] *= 80
    return batch


def test_smoothing_stands_in_front_of_the_quantization_where_weights_are_free(rewrite):
    graph, facts = rewrite(hot(), smoothing=0.8)
    # `left` and `again` share weights, so that only `biased` can take outliers into its own.
    assert list(facts["smoothed"]) == ["biased"]
    told = facts["smoothed"]["biased"]
    assert told["error_after"] < 0.85 * told["error_before"]
    activation, _, makers = chain(graph, "biased")
    multiplied = makers[makers[activation.input[0]].input[0]]
    assert (multiplied.op_type, multiplied.input[0]) == ("Mul", "negative")
    assert sum(node.op_type == "Mul" for node in graph.node) == 1


@pytest.mark.parametrize("smoothing", [None, 0.8])
@pytest.mark.parametrize("calibrator", [Calibrator.MINMAX, Calibrator.SEARCH])
def test_the_error_is_the_one_that_was_told(rewrite, graph, tmp_path, calibrator, smoothing):
    _, facts = rewrite(hot(), calibrator=calibrator, smoothing=smoothing)
    before, after = (answers(path, hot())[1] for path in (graph, tmp_path / "out.onnx"))
    bias = numpy_helper.to_array(next(t for t in onnx.load(graph).graph.initializer if t.name == "bias"))
    energy = np.square(before - bias).sum(axis=1)
    lost = np.square(after - before).sum(axis=1) / np.maximum(energy, 0.01 * energy.mean())
    # The samples are 256 of these 300 rows.
    assert np.sqrt(lost.mean()) == pytest.approx(facts["errors"]["biased"], rel=0.1)


def test_unsigned_activations_are_exactly_the_same_numbers(rewrite, tmp_path, monkeypatch):
    batch = given(seed=5)
    batch["x"][0] = 100  # saturates
    rewrite()
    engine = ENGINES.get("onnxruntime")
    files = {}
    for machine in ("x86_64", "aarch64"):
        monkeypatch.setattr(platform, "machine", lambda machine=machine: machine)
        files[machine] = tmp_path / f"{machine}.onnx"
        facts = engine.compile(tmp_path / "out.onnx", {}, files[machine], tmp_path)
        assert facts["activations"] == ("uint8" if machine == "x86_64" else "int8")
        assert (facts["quantized_activations"], facts["platform"]) == (3, "any")
        assert ("uint8" in engine.identity()) == (machine == "x86_64")
    expected = answers(tmp_path / "out.onnx", batch, plain=True)
    for file in files.values():
        for found, exact in zip(answers(file, batch, plain=True), expected, strict=True):
            np.testing.assert_array_equal(found, exact)


def test_a_graph_without_quantized_values_is_copied(graph, tmp_path):
    facts = ENGINES.get("onnxruntime").compile(graph, {}, tmp_path / "engine.onnx", tmp_path)
    assert "activations" not in facts
    assert (tmp_path / "engine.onnx").read_bytes() == graph.read_bytes()


def test_unsigned_activations_leave_weights_alone(rewrite, tmp_path, monkeypatch):
    signed, _ = rewrite()
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    ENGINES.get("onnxruntime").compile(tmp_path / "out.onnx", {}, tmp_path / "engine.onnx", tmp_path)
    unsigned = onnx.load(tmp_path / "engine.onnx").graph
    constants = {tensor.name: tensor for tensor in unsigned.initializer}
    assert set(constants) <= {name for node in unsigned.node for name in node.input}
    for product in ("left", "right", "again", "biased"):
        before, after = chain(signed, product)[1], chain(unsigned, product)[1]
        assert before == after
        assert constants[after.input[0]].data_type == TensorProto.INT8
        activation, _, makers = chain(unsigned, product)
        assert activation.input[2] == makers[activation.input[0]].input[2]
        assert numpy_helper.to_array(constants[activation.input[2]]) == np.uint8(128)


@pytest.mark.skipif(platform.machine() != "x86_64", reason="ONNX Runtime fuses otherwise on other processors")
def test_onnx_runtime_fuses_every_quantized_product(rewrite, tmp_path):
    rewrite()
    ENGINES.get("onnxruntime").compile(tmp_path / "out.onnx", {}, tmp_path / "engine.onnx", tmp_path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    onnxruntime.InferenceSession(tmp_path / "engine.onnx", options, providers=["CPUExecutionProvider"])
    operators = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert operators["MatMulIntegerToFloat"] == 4
    assert operators["DequantizeLinear"] == 0


def test_a_group_that_wasnt_observed_is_an_error(rewrite):
    from tritonpack.core.observations import Observations

    with pytest.raises(LoweringError, match="wasn't observed"):
        rewrite(observed=Observations(rows=0))
