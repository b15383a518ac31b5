"""Small graphs made node by node, and faults to plant into graphs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WIDTH = 16


def perceptron(path: Path, layers: int = 4, seed: int = 0) -> Path:
    """Write ``tanh(x W + b)``, ``layers`` times, its nodes in modules ``layers.0`` and so on.

    The graph takes ``x: (batch, sequence, WIDTH) float32`` and gives ``end`` of the same shape and ``total``, each
    row's sum over the sequence.
    """
    rng = np.random.default_rng(seed)
    value, nodes, constants = "x", [], []
    for layer in range(layers):
        weights = rng.normal(0, 1.2 / WIDTH**0.5, (WIDTH, WIDTH)).astype(np.float32)
        bias = rng.normal(0, 0.3, WIDTH).astype(np.float32)
        constants += [numpy_helper.from_array(weights, f"w{layer}"), numpy_helper.from_array(bias, f"b{layer}")]
        after = "end" if layer == layers - 1 else f"tanh{layer}"
        nodes += [
            in_module(helper.make_node("MatMul", [value, f"w{layer}"], [f"product{layer}"]), f"layers.{layer}"),
            in_module(helper.make_node("Add", [f"product{layer}", f"b{layer}"], [f"sum{layer}"]), f"layers.{layer}"),
            in_module(helper.make_node("Tanh", [f"sum{layer}"], [after]), f"layers.{layer}.activation"),
        ]
        value = after
    nodes.append(in_module(helper.make_node("ReduceSum", ["end", "axes"], ["total"], keepdims=0), "pooling"))
    constants.append(numpy_helper.from_array(np.array([1]), "axes"))
    outputs = {"end": ["batch", "sequence", WIDTH], "total": ["batch", WIDTH]}
    return write(path, nodes, {"x": (TensorProto.FLOAT, ["batch", "sequence", WIDTH])}, outputs, constants)


def write(path: Path, nodes: list[Any], inputs: dict[str, Any], outputs: dict[str, Any], constants: list[Any]) -> Path:
    """Write a graph; each node takes the name of its first output."""
    for node in nodes:
        node.name = f"node_{node.output[0]}"
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        constants,
    )
    onnx.save(helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)]), path)
    return path


def in_module(node: Any, module: str) -> Any:
    """The node with the exporter's note on where it lies."""
    helper.set_model_props(node, {"pkg.torch.onnx.name_scopes": str(["", module, node.output[0]])})
    return node


def edited(source: Path, out: Path, edit: Callable[[Any], None]) -> Path:
    """Write a copy of a graph after ``edit(graph)`` has changed it in place."""
    model = onnx.load(source)
    edit(model.graph)
    onnx.save(model, out)
    return out


def constant_changed(graph: Any, name: str, change: Callable[[Any], Any]) -> None:
    """Put what ``change`` makes of a constant in its place."""
    tensor = next(tensor for tensor in graph.initializer if tensor.name == name)
    array = np.asarray(change(numpy_helper.to_array(tensor).copy()), np.float32)
    tensor.CopyFrom(numpy_helper.from_array(array, name))


def node_of(graph: Any, value: str) -> Any:
    """The node that computes a value."""
    return next(node for node in graph.node if value in node.output)
