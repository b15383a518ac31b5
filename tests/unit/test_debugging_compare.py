"""Where two graphs first part, on graphs made node by node."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_graphs import WIDTH, constant_changed, edited, in_module, node_of, perceptron, write

from tritonpack.core.errors import CompileError, ConfigurationError
from tritonpack.core.tensors import Tolerance
from tritonpack.debugging import _pair
from tritonpack.debugging._difference import Difference
from tritonpack.debugging.compare import Comparison, Layer, comparison_of

GATE = Tolerance(min_cosine=0.99, mean_cosine=0.995)


@pytest.fixture
def reference(tmp_path):
    return perceptron(tmp_path / "reference.onnx")


@pytest.fixture
def compared(reference, tmp_path):
    """Compare the perceptron with an edited copy."""

    def compare(edit, inputs=None, **options):
        candidate = edited(reference, tmp_path / "candidate.onnx", edit)
        return comparison_of(reference, candidate, inputs or {"x": numbers()}, **{"tolerance": GATE, **options})

    return compare


def numbers(batch=2, length=5, seed=0):
    return np.random.default_rng(seed).normal(size=(batch, length, WIDTH)).astype(np.float32)


def scaled(name, factor=1.5):
    return lambda graph: constant_changed(graph, name, lambda array: array * factor)


def nothing(graph):
    del graph


def turned(graph):
    constant_changed(graph, "w2", lambda array: array.T)


def subtracted(graph):
    node_of(graph, "sum1").op_type = "Sub"


def one_nan(graph):
    constant_changed(graph, "b2", lambda array: np.where(np.arange(WIDTH) == 3, np.nan, array))


def overflowing(graph):
    constant_changed(graph, "w2", lambda array: array * np.float32(3e38))


def summed_the_other_way(graph):
    constant_changed(graph, "axes", lambda array: array)
    axes = next(tensor for tensor in graph.initializer if tensor.name == "axes")
    axes.CopyFrom(numpy_helper.from_array(np.array([2]), "axes"))


@pytest.mark.parametrize(
    ("edit", "value", "module"),
    [
        (scaled("w1"), "product1", "layers.1"),
        (scaled("w1", -1.0), "product1", "layers.1"),
        (subtracted, "sum1", "layers.1"),
        (turned, "product2", "layers.2"),
        (one_nan, "sum2", "layers.2"),
        (overflowing, "product2", "layers.2"),
        (scaled("w0"), "product0", "layers.0"),  # the first node
        (summed_the_other_way, "total", "pooling"),  # the last node, of the second output
        (scaled("w3"), "product3", "layers.3"),
    ],
)
def test_a_planted_fault_is_named(compared, edit, value, module):
    comparison = compared(edit)
    assert comparison.first.value == value
    assert comparison.culprit.value == value
    assert comparison.culprit.module == module
    assert [layer.value for layer in comparison.faulty] == [value]
    assert comparison.contributors(1)[0].value == value
    assert value in comparison.explanation()
    assert module in comparison.explanation()
    assert module in comparison.advice()
    assert not comparison.agrees


def test_what_isnt_a_number_says_which(compared):
    assert "NaN" in compared(one_nan).first.total.problem
    infinite = compared(overflowing)
    assert "infinity" in infinite.first.total.problem
    assert "bf16" in infinite.advice()


def test_the_same_graph_agrees(compared):
    comparison = compared(nothing)
    assert comparison.agrees
    assert comparison.first is comparison.culprit is None
    assert comparison.contributors() == []
    assert comparison.advice() == ""
    assert comparison.unmatched == ()
    assert comparison.explanation() == "All 13 values that both graphs name are within tolerance."
    assert set(comparison.outputs) == {"end", "total"}


def test_layers_come_in_the_graphs_order_and_know_their_nodes(compared):
    layers = compared(nothing).layers
    assert [layer.value for layer in layers[:4]] == ["product0", "sum0", "tanh0", "product1"]
    assert [layer.operator for layer in layers[:3]] == ["MatMul", "Add", "Tanh"]
    assert layers[2].module == "layers.0.activation"
    assert layers[2].node == "node_tanh0"


def test_an_error_that_grows_is_blamed_on_no_layer(tmp_path):
    reference = perceptron(tmp_path / "reference.onnx", layers=12)
    rng = np.random.default_rng(0)

    def noisy(graph):
        for layer in range(12):
            constant_changed(graph, f"w{layer}", lambda array: array * rng.normal(1, 0.05, array.shape))

    candidate = edited(reference, tmp_path / "candidate.onnx", noisy)
    comparison = comparison_of(reference, candidate, {"x": numbers()}, tolerance=Tolerance(mean_cosine=0.995))
    assert comparison.first.value not in {"product0", "sum0", "tanh0"}
    assert comparison.faulty == []
    assert comparison.culprit is None
    assert "grew over many" in comparison.explanation()
    assert len(comparison.contributors()) == 5
    own = [layer.own.relative_error for layer in comparison.layers if layer.operator == "MatMul"]
    assert max(own) < 3 * min(own)


def test_a_layer_that_adds_nearly_everything_is_to_blame_though_within_tolerance():
    def comparison(*errors):
        layers = [Layer(f"v{n}", f"n{n}", "MatMul", f"m{n}", off(error), off(error)) for n, error in enumerate(errors)]
        layers.append(Layer("end", "n", "Softmax", "m", off(0.5, "too far"), off(0.0)))
        return Comparison(tuple(layers), {}, (), frozenset(layer.value for layer in layers), GATE)

    def off(error, problem=""):
        return Difference(error, error, error, 1.0, 1.0, problem)

    assert comparison(0.01, 0.2, 0.011, 0.009).culprit.value == "v1"
    assert comparison(0.01, 0.02, 0.011, 0.009).culprit is None
    assert comparison(0.01, 0.2, 0.2, 0.009).culprit is None
    assert comparison(0.02).culprit.value == "v0"
    assert "comes from v1, which MatMul in m1 computes: 0.2 of" in comparison(0.01, 0.2, 0.011, 0.009).explanation()


def test_every_layer_of_two_faults_is_told(compared):
    def both(graph):
        scaled("w1")(graph)
        scaled("w3")(graph)

    comparison = compared(both)
    assert [layer.value for layer in comparison.faulty] == ["product1", "product3"]
    assert "1 other layer is out of tolerance by itself: product3 in layers.3" in comparison.explanation()


def test_a_lost_epsilon_is_found(tmp_path):
    def normed(path, epsilon):
        nodes = [
            in_module(helper.make_node("Mul", ["x", "small"], ["shrunk"]), "shrink"),
            in_module(helper.make_node("LayerNormalization", ["shrunk", "one"], ["normed"], epsilon=epsilon), "norm"),
            in_module(helper.make_node("Tanh", ["normed"], ["end"]), "activation"),
        ]
        constants = [
            numpy_helper.from_array(np.float32(1e-3), "small"),
            numpy_helper.from_array(np.ones(WIDTH, np.float32), "one"),
        ]
        shape = ["batch", "sequence", WIDTH]
        return write(path, nodes, {"x": (TensorProto.FLOAT, shape)}, {"end": shape}, constants)

    reference, candidate = normed(tmp_path / "a.onnx", 1e-5), normed(tmp_path / "b.onnx", 1e-12)
    comparison = comparison_of(reference, candidate, {"x": numbers()}, tolerance=GATE)
    assert comparison.culprit.value == "normed"
    assert comparison.culprit.module == "norm"


def test_a_wrong_transpose_is_found_though_what_follows_cant_run(tmp_path):
    def graph(path, perm):
        nodes = [
            in_module(helper.make_node("Transpose", ["x"], ["turned"], perm=perm), "attention"),
            in_module(helper.make_node("MatMul", ["x", "turned"], ["scores"]), "attention"),
            in_module(helper.make_node("Softmax", ["scores"], ["end"]), "attention"),
        ]
        shape = ["batch", "sequence", WIDTH]
        return write(path, nodes, {"x": (TensorProto.FLOAT, shape)}, {"end": ["batch", "sequence", "keys"]}, [])

    reference, candidate = graph(tmp_path / "a.onnx", [0, 2, 1]), graph(tmp_path / "b.onnx", [0, 1, 2])
    comparison = comparison_of(reference, candidate, {"x": numbers()}, tolerance=GATE)
    assert comparison.culprit.value == "turned"
    assert "its shape is (2, 5, 16) instead of (2, 16, 5)" in comparison.explanation()
    failed, after = comparison.layers[1:]
    assert "can't be computed" in failed.total.problem
    assert after.total.problem == "a value before it can't be computed"
    assert failed.own.problem == after.own.problem == ""
    assert "can't be computed" in comparison.outputs["end"].problem


def test_values_that_a_candidate_doesnt_have_are_part_of_the_next(compared):
    def fused(graph):
        node_of(graph, "sum1").input[0] = "renamed"
        node_of(graph, "product1").output[0] = "renamed"
        scaled("w1")(graph)

    comparison = compared(fused)
    assert comparison.unmatched == ("product1",)
    assert comparison.culprit.value == "sum1"


def test_many_values_take_several_runs(compared, monkeypatch):
    whole = compared(scaled("w1"))
    monkeypatch.setattr(_pair, "GROUP_BYTES", 0)
    monkeypatch.setattr(_pair, "GROUP_LEAST", 3)
    seen = []
    parts = compared(scaled("w1"), progress=lambda *step: seen.append(step))
    assert [layer.value for layer in parts.layers] == [layer.value for layer in whole.layers]
    assert parts.first.value == whole.first.value
    assert {step[0] for step in seen} == {"reference", "candidate", "each layer alone"}
    assert seen[-1] == ("each layer alone", 13, 13)


def test_subgraphs_read_what_is_around_them(tmp_path):
    def graph(path, factor):
        def branch(operator):
            node = helper.make_node(operator, ["product", "two"], ["inner"])
            return helper.make_graph([node], operator, [], [helper.make_tensor_value_info("inner", 1, None)])

        nodes = [
            in_module(helper.make_node("Mul", ["x", "factor"], ["product"]), "first"),
            helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
            helper.make_node("Greater", ["sum", "two"], ["flag"]),
            in_module(
                helper.make_node("If", ["flag"], ["end"], then_branch=branch("Add"), else_branch=branch("Sub")),
                "choice",
            ),
        ]
        constants = [numpy_helper.from_array(np.float32(v), name) for name, v in (("two", 2), ("factor", factor))]
        shape = ["batch", "sequence", WIDTH]
        return write(path, nodes, {"x": (TensorProto.FLOAT, shape)}, {"end": shape}, constants)

    reference, candidate = graph(tmp_path / "a.onnx", 1.0), graph(tmp_path / "b.onnx", 1.5)
    comparison = comparison_of(reference, candidate, {"x": numbers()}, tolerance=GATE)
    assert [layer.value for layer in comparison.faulty] == ["product"]


def test_names_may_hold_wildcards(reference, tmp_path):
    def starred(graph):
        for node in graph.node:
            node.input[:] = [name.replace("tanh1", "tanh[1]*") for name in node.input]
            node.output[:] = [name.replace("tanh1", "tanh[1]*") for name in node.output]

    starry = edited(reference, tmp_path / "starry.onnx", starred)
    comparison = comparison_of(starry, starry, {"x": numbers()}, tolerance=GATE)
    assert comparison.agrees
    assert "tanh[1]*" in {layer.value for layer in comparison.layers}


def test_the_document_is_json(compared):
    document = json.loads(json.dumps(compared(overflowing).to_json(), allow_nan=False))
    assert document["first"]["value"] == document["culprit"]["value"] == "product2"
    assert document["first"]["total"]["max_abs_error"] is None
    assert len(document["layers"]) == 13
    assert set(document["layers"][0]) == {"value", "node", "operator", "module", "total", "introduced"}
    assert document["tolerance"] == GATE.to_json()


def test_bad_input(compared, reference, tmp_path):
    with pytest.raises(ConfigurationError, match=r"reference.onnx reads x, which the input doesn't hold \(y\)"):
        compared(nothing, {"y": numbers()})
    shape = ["batch", "sequence", WIDTH]
    other = write(
        tmp_path / "other.onnx",
        [helper.make_node("Tanh", ["x"], ["y"])],
        {"x": (TensorProto.FLOAT, shape)},
        {"y": shape},
        [],
    )
    with pytest.raises(ConfigurationError, match=r"no value of reference.onnx has a name in other.onnx"):
        comparison_of(reference, other, {"x": numbers()}, tolerance=GATE)
    model = onnx.load(other)
    model.graph.node[0].op_type = "Unheard"
    onnx.save(model, tmp_path / "unheard.onnx")
    with pytest.raises(CompileError, match="Unheard"):
        comparison_of(tmp_path / "unheard.onnx", other, {"x": numbers()}, tolerance=GATE)
    (tmp_path / "text.onnx").write_text("no graph", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"text.onnx isn't an ONNX file"):
        comparison_of(reference, tmp_path / "text.onnx", {"x": numbers()}, tolerance=GATE)
