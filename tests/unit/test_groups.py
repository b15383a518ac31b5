"""Groups of products: by the value that they read, named by the modules that they lie in."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from tritonpack.precisions._groups import groups_of, products_by_value


def graph(*products):
    """Products ``(value, weights, module path)``; each reads a graph input and has weights ``(4, 2)``."""
    nodes, weights = [], dict.fromkeys(name for _, name, _ in products)
    for number, (value, name, path) in enumerate(products):
        node = helper.make_node("MatMul", [value, name], [f"y{number}"], f"product_{number}")
        if path:
            parts = path.split(".")
            scopes = ["", *(".".join(parts[: i + 1]) for i in range(len(parts))), "linear"]
            node.metadata_props.add(key="pkg.torch.onnx.name_scopes", value=repr(scopes))
        nodes.append(node)
    inputs = [helper.make_tensor_value_info(v, TensorProto.FLOAT, ["n", 4]) for v in {p[0]: None for p in products}]
    outputs = [helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, ["n", 2]) for i in range(len(products))]
    made = [numpy_helper.from_array(np.zeros((4, 2), np.float32), name) for name in weights]
    return helper.make_graph(nodes, "products", inputs, outputs, made)


def names(*products):
    return [group.name for group in groups_of(graph(*products)).values()]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["m.layer.0.self.query", "m.layer.0.self.key"], "layer.0.self.{query,key}"),
        (["m.layer.0.self.query", "m.layer.0.gate"], "layer.0.{self.query,gate}"),
        (["m.layer.0", "m.layer.0"], "layer.0"),
        (["m.layer", "m.layer.inner"], "{layer,layer.inner}"),
        (["m", "m"], "m"),
    ],
)
def test_products_that_read_one_value_are_a_group(paths, expected):
    assert names(*(("x", f"w{i}", path) for i, path in enumerate(paths))) == [expected]


def test_what_all_modules_lie_in_isnt_part_of_a_name():
    assert names(("x", "a", "model.bert.dense"), ("y", "b", "model.head")) == ["bert.dense", "head"]
    assert names(("x", "a", "bert.dense"), ("y", "b", "head")) == ["bert.dense", "head"]


def test_a_module_that_is_called_again_gets_a_number():
    calls = [(value, "shared", "m.layer.dense") for value in "xyz"]
    assert names(*calls) == ["layer.dense", "layer.dense#2", "layer.dense#3"]


def test_without_module_paths_products_have_their_own_names():
    assert names(("x", "a", ""), ("y", "b", "")) == ["product_0", "product_1"]


def test_multiplications_are_those_of_all_products_for_one_row():
    (group,) = groups_of(graph(("x", "a", ""), ("x", "b", ""))).values()
    assert (group.multiplications, group.nodes) == (16, ("product_0", "product_1"))


def test_products_of_two_activations_and_of_other_ranks_are_none():
    made = graph(("x", "a", ""))
    made.initializer.append(numpy_helper.from_array(np.zeros((3, 4, 2), np.float32), "stack"))
    made.node.append(helper.make_node("MatMul", ["x", "stack"], ["z"], "stacked"))
    made.node.append(helper.make_node("MatMul", ["x", "y0"], ["s"], "scores"))
    assert list(products_by_value(made)) == ["x"]
    assert [node.name for node in products_by_value(made)["x"]] == ["product_0"]
