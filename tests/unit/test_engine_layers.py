"""What ONNX Runtime's file has less of than the graph: each rewriting alone, with the numbers that it must keep."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest

from tritonpack.engines import ENGINES
from tritonpack.engines._layers import drop_dead, fold_rows, join_reshapes, split_norms
from tritonpack.engines._view import GraphView, UnprovableError

ENGINE = ENGINES.get("onnxruntime")
FLAT = "layers (int64[total] ids, float[total,3] x) => (float[total,3] y)"
GRID = "layers (int64[rows,width] ids, float[rows,width,3] x) => (float[rows,width,3] y)"
TABLES = (
    "float[4,3] words = {0,1,2,3,4,5,6,7,8,9,10,11}, float[2,3] types = {1,2,3,4,5,6}, "
    "int64[1,8] zeros = {0,0,0,0,0,0,0,0}"
)
NORM = "float[3] gain = {1,2,3}, float[3] shift = {0,1,0}"
FIRST_TYPE = "number = GatherElements <axis = 1> (zeros, place)"


def model_of(signature, constants, *lines):
    text = f'<ir_version: 10, opset_import: ["" : 20]>\n{signature} <{constants}>\n{{\n' + "\n".join(lines) + "\n}"
    model = onnx.parser.parse_model(text)
    onnx.checker.check_model(model, full_check=True)
    return model


def operators(model):
    return Counter(node.op_type for node in model.graph.node)


def answer(model, **inputs):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, inputs)[0]


def given(*shape):
    return {"ids": np.arange(np.prod(shape)).reshape(shape) % 4, "x": np.random.default_rng(0).normal(size=(*shape, 3))}


def inputs_of(*shape):
    return {name: array.astype(np.int64 if name == "ids" else np.float32) for name, array in given(*shape).items()}


TYPES = (
    "width = Shape <start = 1> (ids)", "zero = Constant <value_ints = [0]> ()", "one = Constant <value_ints = [1]> ()",
    "place = Slice (zeros, zero, width, one)", FIRST_TYPE, "size = Shape (ids)", "all = Expand (number, size)",
    "word = Gather (words, ids)", "kind = Gather (types, all)", "both = Add (word, kind)", "y = Add (both, x)",
)  # fmt: skip


def test_a_table_that_every_token_reads_one_row_of_becomes_that_row():
    model = model_of(GRID, TABLES, *TYPES)
    expected = answer(model, **inputs_of(2, 5))
    assert fold_rows(GraphView(model)) == 1
    drop_dead(model.graph)
    assert operators(model) == {"Gather": 1, "Add": 2}
    assert {tensor.name for tensor in model.graph.initializer} == {"words", "kind/row"}
    np.testing.assert_array_equal(answer(model, **inputs_of(2, 5)), expected)


def test_a_quantized_row_is_dequantized():
    lines = [line for line in TYPES if "kind" not in line]
    model = model_of(
        GRID,
        f"{TABLES}, uint8[2,3] small = {{128,130,132,1,2,3}}, float scale = {{0.5}}, uint8 middle = {{128}}",
        *lines[:-1],
        "looked = Gather (small, all)",
        "kind = DequantizeLinear (looked, scale, middle)",
        "both = Add (word, kind)",
        "y = Add (both, x)",
    )
    assert fold_rows(GraphView(model)) == 1
    row = next(tensor for tensor in model.graph.initializer if tensor.name == "kind/row")
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(row), [0, 1, 2])


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("zeros = {0,0,0,0,0,0,0,0}", "zeros = {0,0,0,1,0,0,0,0}"),  # two rows of the table
        ("both = Add (word, kind)", "only = Gather (words, zero)\nboth = Add (only, kind)"),  # nothing else spreads it
    ],
)
def test_rows_that_matter_stay(old, new):
    model = model_of(GRID, TABLES.replace(old, new), *(line.replace(old, new) for line in TYPES))
    assert fold_rows(GraphView(model)) == 0


def test_the_second_of_two_reshapes_is_enough():
    lines = ("halves = Constant <value_ints = [0, -1]> ()", "a = Reshape (x, halves)", "b = Reshape (a, threes)")
    constants = "int64[2] threes = {-1,3}"
    model = model_of(FLAT, constants, *lines, "y = Neg (b)")
    assert join_reshapes(GraphView(model)) == 1
    drop_dead(model.graph)
    assert operators(model) == {"Reshape": 1, "Neg": 1}
    copied = model_of(FLAT, constants.replace("-1,3", "0,3"), *lines, "y = Neg (b)")
    assert join_reshapes(GraphView(copied)) == 0  # how many rows it has is the first one's


@pytest.mark.parametrize(("signature", "split"), [(GRID, 1), (FLAT, 0)])
def test_the_runtime_leaves_sums_and_norms_apart(signature, split, tmp_path):
    lines = ("sum = Add (x, x)", "y = LayerNormalization (sum, gain, shift)")
    model = model_of(signature, NORM, *lines)
    assert split_norms(GraphView(model)) == split
    shape = (2, 5) if split else (5,)
    np.testing.assert_array_equal(
        answer(model, **inputs_of(*shape)), answer(model_of(signature, NORM, *lines), **inputs_of(*shape))
    )
    onnx.save(model, tmp_path / "model.onnx")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(tmp_path / "model.onnx", options, providers=["CPUExecutionProvider"])
    assert operators(onnx.load(tmp_path / "optimized.onnx"))["LayerNormalization"] == 1


def test_a_branch_keeps_what_it_reads():
    model = model_of(
        FLAT,
        NORM,
        "count = Shape (ids)",
        "unread = Neg (x)",
        "read = Abs (x)",
        "some = Constant <value_ints = [3]> ()",
        "more = Greater (count, some)",
        "last = ReduceMax <keepdims = 0> (count)",
        "three = Constant <value_int = 3> ()",
        "many = Greater (last, three)",
        "y = If (many) <then_branch = yes () => (float[total,3] a) { a = Neg (read) },"
        " else_branch = no () => (float[total,3] b) { b = Identity (x) }>",
    )
    expected = answer(model, **inputs_of(5))
    drop_dead(model.graph)
    assert {"unread", "more"}.isdisjoint(name for node in model.graph.node for name in node.output)
    assert "read" in GraphView(model).makers
    assert [node.op_type for node in GraphView(model).readers("read")] == ["If"]
    np.testing.assert_array_equal(answer(model, **inputs_of(5)), expected)


def test_a_part_is_computed_from_what_is_given_for_it():
    view = GraphView(model_of(FLAT, NORM, "a = Mul (x, gain)", "b = Add (a, shift)", "y = Neg (b)"))
    (found,) = view.computed(["b"], {"a": np.ones((2, 3), np.float32)})
    np.testing.assert_array_equal(found, [[1, 2, 1], [1, 2, 1]])
    with pytest.raises(UnprovableError, match="x"):
        view.computed(["b"], {})


def test_a_graph_without_anything_to_change_is_copied(tmp_path):
    onnx.save(model_of(FLAT, NORM, "y = Mul (x, gain)"), tmp_path / "graph.onnx")
    facts = ENGINE.compile(tmp_path / "graph.onnx", {}, tmp_path / "engine.onnx", tmp_path)
    assert set(facts) == {"onnxruntime", "platform"}
    assert (tmp_path / "engine.onnx").read_bytes() == (tmp_path / "graph.onnx").read_bytes()
