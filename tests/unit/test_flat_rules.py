"""Token-wise operators one by one: what stands between two products runs on the tokens alone, and gives the same."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_attention import AXIS, HIDDEN, LENGTH, WORDS, GraphMaker, padded

from tritonpack.engines import ENGINES
from tritonpack.stages.raggedize import ragged_from_onnx, ragged_inputs

ENGINE = ENGINES.get("onnxruntime")
ROWS = [[1, 2, 3, 4, 5], [6], [7, 8, 9]]
HALF = HIDDEN // 2
FLOATS, INTS = np.float32, np.int64


def clip(make, x):
    return make.add("Clip", [x, make.constant(-0.5, FLOATS), make.constant(0.5, FLOATS)])


def where(make, x):
    positive = make.add("Greater", [x, make.constant(0, FLOATS)])
    return make.add("Where", [positive, x, make.add("Mul", [x, make.constant(0.1, FLOATS)])])


def add_leading_ones(make, x):
    return make.add("Add", [make.weights(1, 1, HIDDEN), x])


def scale_by_mask(make, x):
    real = make.add("Unsqueeze", [make.add("Cast", ["mask"], to=TensorProto.FLOAT), make.constant([2])])
    return make.add("Mul", [x, real])


def add_of_the_row(make, x):
    """A number of each row, made by mixing its tokens."""
    count = make.add("ReduceSum", [make.add("Cast", ["mask"], to=TensorProto.FLOAT), make.constant([1])], keepdims=1)
    return make.add("Div", [x, make.add("Unsqueeze", [count, make.constant([2])])])


def add_of_the_column(make, x):
    width = make.add("Gather", [make.add("Shape", ["ids"]), make.constant(1)])
    places = make.add("Range", [make.constant(0), width, make.constant(1)])
    column = make.add("Cast", [make.add("Unsqueeze", [places, make.constant([1])])], to=TensorProto.FLOAT)
    return make.add("Add", [x, column])


def expanded_places(make, x):
    """As BERT's token types: a row of numbers, expanded to all rows and looked up."""
    shape = make.add("Shape", ["ids"])
    width = make.add("Gather", [shape, make.constant(1)])
    places = make.add("Unsqueeze", [make.add("Range", [make.constant(0), width, make.constant(1)]), make.constant([0])])
    types = make.add("Mod", [make.add("Expand", [places, shape]), make.constant(2)])
    return make.add("Add", [x, make.add("Gather", [make.weights(2, HIDDEN), types])])


def places_of_two_readers(make, x):
    """Looked up for each token, and read where rows are seen, padding and all."""
    shape = make.add("Shape", ["ids"])
    width = make.add("Gather", [shape, make.constant(1)])
    places = make.add("Unsqueeze", [make.add("Range", [make.constant(0), width, make.constant(1)]), make.constant([0])])
    spread = make.add("Expand", [places, shape])
    looked_up = make.add("Add", [x, make.add("Gather", [make.weights(LENGTH, HIDDEN), spread])])
    last = make.add("ReduceMax", [spread, make.constant([1])], keepdims=1)
    column = make.add("Unsqueeze", [make.add("Cast", [last], to=TensorProto.FLOAT), make.constant([2])])
    return make.add("Add", [looked_up, column])


def counted_places(make, x):
    """As RoBERTa's positions: counted over the row, so made where all its tokens are seen."""
    counted = make.add("CumSum", ["mask", make.constant(1)])
    return make.add("Add", [x, make.add("Gather", [make.weights(LENGTH + 1, HIDDEN), counted])])


def root_mean_square(make, x):
    squared = make.add("Pow", [x, make.constant(2, FLOATS)])
    mean = make.add("ReduceMean", [squared, make.constant([-1])], keepdims=1)
    return make.add("Mul", [x, make.add("Reciprocal", [make.add("Sqrt", [mean])])])


def reduced_behind(make, x):
    total = make.add("ReduceMax", [x, make.constant([2])], keepdims=0)
    return make.add("Mul", [x, make.add("Unsqueeze", [total, make.constant([-1])])])


def split_and_joined(make, x):
    one, two = make.add("Split", [x], outputs=2, axis=2, num_outputs=2)
    return make.add("Concat", [two, make.add("Tanh", [one])], axis=-1)


def sliced(make, x):
    low, high = make.constant([0]), make.constant([HALF])
    one = make.add("Slice", [x, low, high, make.constant([2])])
    two = make.add("Slice", [x, high, make.constant([HIDDEN]), make.constant([-1])])
    return make.add("Concat", [two, one], axis=2)


def picked(make, x):
    return make.add("Gather", [x, make.constant(list(range(HIDDEN))[::-1])], axis=2)


def heads(make, x):
    apart = make.add("Reshape", [x, make.constant([0, 0, 2, HALF])])
    turned = make.add("Transpose", [make.add("Relu", [apart])], perm=[0, 1, 3, 2])
    return make.add("Reshape", [turned, make.constant([0, 0, HIDDEN])])


def merged(make, x):
    shape = make.add("Shape", [x])
    whole = make.add("Reshape", [x, make.constant([-1, HIDDEN])])
    return make.add("Reshape", [make.add("Gemm", [whole, make.weights(HIDDEN, HIDDEN)], transB=1), shape])


def columns(make, x):
    turned = make.add("Transpose", [x], perm=[1, 0, 2])
    product = make.add("Einsum", [turned, make.weights(HIDDEN, 2, HALF)], equation="ibh,hnd->ibnd")
    back = make.add("Einsum", [product, make.weights(HIDDEN, 2, HALF)], equation="ibnd,hnd->ibh")
    return make.add("Transpose", [back], perm=[1, 0, 2])


def quantized(make, x):
    scale, zero = make.constant(0.05, FLOATS), make.constant(0, np.int8)
    return make.add("DequantizeLinear", [make.add("QuantizeLinear", [x, scale, zero]), scale, zero])


def quantized_by_channel(make, x):
    scale = make.constant(np.linspace(0.02, 0.09, HIDDEN), FLOATS)
    zero = make.constant([0] * HIDDEN, np.int8)
    return make.add("DequantizeLinear", [make.add("QuantizeLinear", [x, scale, zero], axis=2), scale, zero], axis=2)


def normalized(make, x):
    """Each token's vector to length 1, its length expanded as PyTorch does."""
    length = make.add("ReduceL2", [x, make.constant([-1])], keepdims=1)
    return make.add("Div", [x, make.add("Expand", [length, make.add("Shape", [x])])])


OPERATORS = {
    "clip": clip,
    "where": where,
    "gelu": lambda make, x: make.add("Gelu", [x]),
    "leading ones": add_leading_ones,
    "mask": scale_by_mask,
    "row": add_of_the_row,
    "column": add_of_the_column,
    "expanded places": expanded_places,
    "counted places": counted_places,
    "places of two readers": places_of_two_readers,
    "layer norm": lambda make, x: make.add("LayerNormalization", [x, make.weights(HIDDEN)], axis=2),
    "softmax": lambda make, x: make.add("Softmax", [x], axis=2),
    "root mean square": root_mean_square,
    "reduced": reduced_behind,
    "split": split_and_joined,
    "slice": sliced,
    "picked": picked,
    "heads": heads,
    "merged": merged,
    "columns": columns,
    "quantized": quantized,
    "quantized by channel": quantized_by_channel,
    "normalized": normalized,
}
MORE_PRODUCTS = {"merged": 1, "columns": 2}
MIXING = {
    "sum over the row": lambda make, x: make.add("Add", [x, make.add("ReduceSum", [x, make.constant([1])])]),
    "softmax over the row": lambda make, x: make.add("Softmax", [x], axis=1),
    "reversed row": lambda make, x: make.add(
        "Slice", [x, make.constant([-1]), make.constant([-99]), make.constant([1]), make.constant([-1])]
    ),
    "swapped axes": lambda make, x: make.add(
        "Reshape", [make.add("Transpose", [x], perm=[0, 2, 1]), make.add("Shape", [x])]
    ),
}  # fmt: skip


def write(path, between):
    """Words, a product, what is tried, another product; nothing looks at padding but what is tried."""
    make = GraphMaker()
    words = make.add("Gather", [make.weights(WORDS, HIDDEN), "ids"])
    before = make.add("MatMul", [words, make.weights(HIDDEN, HIDDEN)])
    after = make.add("MatMul", [between(make, before), make.weights(HIDDEN, HIDDEN)])
    make.add("Tanh", [after], "end")
    inputs = dict.fromkeys(AXIS.pads, (TensorProto.INT64, ["batch", "sequence"]))
    return make.write(path, inputs, {"end": ["batch", "sequence", HIDDEN]})


def answers(source, out):
    feeds = ragged_inputs(padded(ROWS), [AXIS], {"sequence": [len(row) for row in ROWS]})
    expected, actual = ENGINE.open(source).run(padded(ROWS))["end"], ENGINE.open(out).run(feeds)["end"]
    return [(expected[number, : len(row)], actual[number, : len(row)]) for number, row in enumerate(ROWS)]


@pytest.mark.parametrize("name", OPERATORS)
def test_a_token_wise_operator_runs_on_the_tokens(tmp_path, name):
    source, out = write(tmp_path / "a.onnx", OPERATORS[name]), tmp_path / "b.onnx"
    facts = ragged_from_onnx(source, axes=[AXIS], out=out)
    assert (facts["flat"], facts["products"]) == (True, 2 + MORE_PRODUCTS.get(name, 0))
    for expected, actual in answers(source, out):
        np.testing.assert_allclose(actual, expected, atol=1e-5)
    # A grid is made of what leaves the graph, and of nothing before it.
    gathers = [node for node in onnx.load(out).graph.node if node.op_type == "Gather" and node.input[0][:5] == "flat/"]
    assert [node.output[0] for node in gathers if node.output[0][:5] != "flat/"] == ["end"]


@pytest.mark.parametrize("name", MIXING)
def test_an_operator_that_mixes_tokens_sees_the_grid(tmp_path, name):
    """It sees what stands at padding too: so these stay padded, since padding changes what they give."""
    source, out = write(tmp_path / "a.onnx", MIXING[name]), tmp_path / "b.onnx"
    facts = ragged_from_onnx(source, axes=[AXIS], out=out)
    assert facts["flat"] is False
    assert "output 'end'" in facts["why"]
    for expected, actual in answers(source, out):
        np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_two_axes_are_flat_each_for_itself(tmp_path):
    left = replace(AXIS, name="left", mask="left_mask", pads={"left_ids": 0, "left_mask": 0})
    right = replace(AXIS, name="right", mask="right_mask", pads={"right_ids": 0, "right_mask": 0})
    make = GraphMaker()
    means = []
    for axis in (left, right):
        words = make.add("Gather", [make.weights(WORDS, HIDDEN), f"{axis.name}_ids"])
        hidden = make.add("Tanh", [make.linear(words)])
        real = make.add("Unsqueeze", [make.add("Cast", [axis.mask], to=TensorProto.FLOAT), make.constant([2])])
        means.append(make.add("ReduceSum", [make.add("Mul", [hidden, real]), make.constant([1])], keepdims=0))
    make.add("Mul", means, "end")
    inputs = {name: (TensorProto.INT64, ["batch", axis.name]) for axis in (left, right) for name in axis.pads}
    source, out = make.write(tmp_path / "a.onnx", inputs, {"end": ["batch", HIDDEN]}), tmp_path / "b.onnx"
    facts = ragged_from_onnx(source, axes=[left, right], out=out)
    assert (facts["flat"], facts["products"]) == (True, 2)
    sides = {"left": [[1, 2, 3], [4]], "right": [[5], [6, 7, 8, 9]]}
    batch = {f"{axis}_{name}": array for axis, rows in sides.items() for name, array in padded(rows).items()}
    lengths = {axis: [len(row) for row in rows] for axis, rows in sides.items()}
    answer = ENGINE.open(out).run(ragged_inputs(batch, [left, right], lengths))
    np.testing.assert_allclose(answer["end"], ENGINE.open(source).run(batch)["end"], atol=1e-5)
