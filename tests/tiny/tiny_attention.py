"""A transformer's graph, made node by node: one layer of attention and what stands around it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tritonpack.core.model import RaggedAxis

if TYPE_CHECKING:
    from pathlib import Path

WORDS, HIDDEN, LENGTH = 50, 8, 16
PAD = 3
AXIS = RaggedAxis("sequence", "mask", {"ids": PAD, "mask": 0}, LENGTH)
PRODUCTS = 5
"""Matrix products that work on each token by itself."""


class GraphMaker:
    """Collects nodes and weights.

    Args:
        seed: of the weights.
    """

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def add(self, operator: str, inputs: list[str], output: str = "", outputs: int = 1, **attributes: Any) -> Any:
        """A node; its output, or all of them if it has several."""
        names = [output or f"{operator.lower()}{len(self.nodes)}"]
        names += [f"{names[0]}_{number}" for number in range(1, outputs)]
        self.nodes.append(helper.make_node(operator, inputs, names, name=f"node_{names[0]}", **attributes))
        return names[0] if outputs == 1 else names

    def constant(self, numbers: Any, dtype: Any = np.int64) -> str:
        """A constant's name."""
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(numbers, dtype), name))
        return name

    def weights(self, *shape: int) -> str:
        """Random weights."""
        return self.constant(self.rng.normal(0, 0.6, shape), np.float32)

    def linear(self, value: str, size: int = HIDDEN, into: int = HIDDEN) -> str:
        """``value W + b``."""
        return self.add("Add", [self.add("MatMul", [value, self.weights(size, into)]), self.weights(into)])

    def write(self, path: Path, inputs: dict[str, Any], outputs: dict[str, Any]) -> Path:
        """Save the graph; outputs are FP32."""
        graph = helper.make_graph(
            self.nodes,
            "tiny",
            [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
            [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, path)
        return path


def encoder(path: Path, *, masks: bool = True, columns: bool = False, merged: bool = False) -> Path:
    """Write an encoder: words and positions, attention, a feed-forward layer, the mean over each row.

    Args:
        path: the file.
        masks: whether padding is masked.
        columns: whether the graph computes on ``(width, rows, ...)``, as XLNet does.
        merged: whether the feed-forward layer sees all cells on one axis, as GPT-2's does.
    """
    make = GraphMaker()
    order = [1, 0] if columns else [0, 1]
    ids = make.add("Transpose", ["ids"], perm=order) if columns else "ids"
    shape = make.add("Shape", ["ids"])
    width = make.add("Gather", [shape, make.constant(1)])
    positions = make.add("Range", [make.constant(0), width, make.constant(1)])
    places = make.add("Gather", [make.weights(LENGTH, HIDDEN), positions])
    spread = make.add("Unsqueeze", [places, make.constant([1 if columns else 0])])
    words = make.add("Gather", [make.weights(WORDS, HIDDEN), ids])
    hidden = make.add("LayerNormalization", [make.add("Add", [words, spread]), make.weights(HIDDEN)], axis=-1)
    hidden = make.add("Add", [_attention(make, hidden, order, masks=masks), hidden])
    if merged:
        whole = make.add("Shape", [hidden])
        hidden = make.add("Reshape", [hidden, make.constant([-1, HIDDEN])])
        hidden = make.add("Gemm", [hidden, make.weights(HIDDEN, HIDDEN), make.weights(HIDDEN)])
        hidden = make.add("Reshape", [make.add("Tanh", [hidden]), whole])
    else:
        hidden = make.add("Tanh", [make.linear(hidden)])
    hidden = make.add("Transpose", [hidden], perm=[*order, 2])
    make.add("Identity", [hidden], "tokens")
    _mean(make, hidden, masks=masks)
    inputs = dict.fromkeys(AXIS.pads, (TensorProto.INT64, ["batch", "sequence"]))
    outputs = {"tokens": ["batch", "sequence", HIDDEN], "mean": ["batch", HIDDEN]}
    return make.write(path, inputs, outputs)


def _attention(make: GraphMaker, hidden: str, order: list[int], *, masks: bool) -> str:
    query, key, value = (make.add("Transpose", [make.linear(hidden)], perm=[*order, 2]) for _ in range(3))
    logits = make.add("MatMul", [query, make.add("Transpose", [key], perm=[0, 2, 1])])
    if masks:
        kept = make.add("Unsqueeze", [make.add("Cast", ["mask"], to=TensorProto.BOOL), make.constant([1])])
        logits = make.add("Where", [kept, logits, make.constant(-1e9, np.float32)])
    mixed = make.add("MatMul", [make.add("Softmax", [logits], axis=-1), value])
    return make.linear(make.add("Transpose", [mixed], perm=[*order, 2]))


def _mean(make: GraphMaker, hidden: str, *, masks: bool) -> None:
    real = make.add("Cast", ["mask"], to=TensorProto.FLOAT)
    column = make.add("Unsqueeze", [real, make.constant([2])])
    along = make.constant([1])
    summed = make.add("ReduceSum", [make.add("Mul", [hidden, column]) if masks else hidden, along], keepdims=0)
    make.add("Div", [summed, make.add("ReduceSum", [real, along], keepdims=1)], "mean")


def padded(rows: list[list[int]]) -> dict[str, Any]:
    """The encoder's inputs for rows of ids."""
    width = max(map(len, rows))
    ids = np.array([[*row, *[PAD] * (width - len(row))] for row in rows], np.int64)
    return {"ids": ids, "mask": np.array([[1] * len(row) + [0] * (width - len(row)) for row in rows], np.int64)}
