"""How large a graph's values, sums and logits become on real data, measured inside the graph.

A few scalars leave the graph a run, whatever its size: no tensor is kept.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from tritonpack.core.tensors import Tensors

_L2 = 2
_ELEMENTS = 2048
"""Elements of one input that a run takes: a whole batch of long rows would hold every value of the graph at once."""
_MATTERS = 20.0
"""Logits further below their row's greatest add less than FP16 can tell to the softmax."""
_MASKED = -1e30
"""The greatest logit of a row that is masked as a whole, so that none in it matters."""
_REDUCE_AXES_ARE_INPUTS = 18
_MAGNITUDES = frozenset({"ReduceSum", "ReduceMean", "ReduceL1", "ReduceLogSum"})
_SQUARES = frozenset({"ReduceL2", "ReduceSumSquare"})
_SOFTMAXES = frozenset({"Softmax", "LogSoftmax"})


def magnitudes_from_onnx(
    onnx: Path, batches: Sequence[Tensors]
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Run the graph once over the batches.

    Args:
        onnx: a graph in FP32, as it was exported.
        batches: its inputs by name; each has the rows on its first axis.

    Returns:
        ``magnitudes, sums, logits`` as `tritonpack.core.observations.Observations` describes them.

    Raises:
        SourceError: there is no batch.
    """
    import onnx as onnx_package
    import onnxruntime

    if not batches:
        raise SourceError("no data to observe the graph on", hint="Name calibration data in the recipe.")
    model = onnx_package.shape_inference.infer_shapes(onnx_package.load(onnx))
    watched = _Watched(model)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL  # as the graph says
    options.log_severity_level = 3
    options.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED  # as written: each value is freed early
    options.enable_cpu_mem_arena = False
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    del model
    names = list(watched.scalars)
    greatest = np.zeros(len(names))
    for batch in batches:
        for part in _parts(batch):
            numbers = np.array(session.run(names, part), dtype=np.float64)
            numbers[np.isneginf(numbers)] = 0.0  # the greatest of no element
            greatest = np.maximum(greatest, np.where(np.isfinite(numbers), numbers, math.inf))
    found: dict[str, dict[str, float]] = {"magnitudes": {}, "sums": {}, "logits": {}}
    for name, number in zip(names, greatest.tolist(), strict=True):
        kind, value = watched.scalars[name]
        found[kind][value] = max(number, found[kind].get(value, 0.0))
    return found["magnitudes"], found["sums"], found["logits"]


def _parts(batch: Tensors) -> Iterator[Tensors]:
    """Rows of a batch, as many at once as `_ELEMENTS` allows, one at least."""
    rows = min(len(array) for array in batch.values())
    widest = max(array.size // max(len(array), 1) for array in batch.values())
    step = max(1, _ELEMENTS // max(widest, 1))
    for begin in range(0, rows, step):
        yield {name: array[begin : begin + step] for name, array in batch.items()}


class _Watched:
    """A graph to which, in place, a scalar output is added for whatever is to be known.

    Args:
        model: with every value's type inferred.

    Attributes:
        scalars: the added outputs, each with what it measures: ``("sums", "mean_3")``.
    """

    def __init__(self, model: Any) -> None:
        import onnx

        self.scalars: dict[str, tuple[str, str]] = {}
        self._graph = model.graph
        self._opset = next(entry.version for entry in model.opset_import if entry.domain in {"", "ai.onnx"})
        self._made = 0
        self._nodes: list[Any] = []
        known = (*self._graph.input, *self._graph.value_info, *self._graph.output)
        self._ranks = {
            value.name: len(value.type.tensor_type.shape.dim)
            for value in known
            if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT
        }
        for value in self._graph.input:
            self._watch_value(value.name)
        for node in self._graph.node:
            self._nodes.append(node)
            for name in node.output:
                self._watch_value(name)
            if node.output[0] in self._ranks and node.input and node.input[0] in self._ranks:
                self._watch_node(node)
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in self._nodes]
        del self._graph.node[:]
        self._graph.node.extend(copies)

    def _watch_value(self, name: str) -> None:
        if name in self._ranks:
            self._watch("magnitudes", name, self._add("Abs", name), of=name)

    def _watch_node(self, node: Any) -> None:
        if node.op_type in _SOFTMAXES:
            self._watch_logits(node)
        elif node.op_type in _MAGNITUDES | _SQUARES:
            self._watch_reduction(node)
        elif node.op_type in _NORMS:
            _NORMS[node.op_type](self, node)

    def watch_spread(self, node: Any, value: str, axes: list[int]) -> None:
        """A node that subtracts the mean over the axes and adds up the squares of the rest."""
        self._watch_sum(node, self._add("Abs", value), axes)
        centred = self._add("Sub", value, self._reduce("ReduceMean", value, axes))
        self._watch_sum(node, self._add("Mul", centred, centred), axes)

    def watch_squares(self, node: Any, value: str, axes: list[int]) -> None:
        """A node that adds up squares."""
        self._watch_sum(node, self._add("Mul", value, value), axes)

    def watch_magnitudes(self, node: Any, value: str, axes: list[int]) -> None:
        """A node that adds up numbers as they are; at worst they have one sign on the way."""
        self._watch_sum(node, self._add("Abs", value), axes)

    def flattened(self, node: Any, shape: list[int]) -> str:
        """The node's first input in another shape."""
        return self._add("Reshape", node.input[0], self._constant(np.array(shape, np.int64)))

    def inner_axes(self, node: Any) -> list[int]:
        """The axes from the node's ``axis`` to the last, counted from the end."""
        axis = _attribute(node, "axis", -1)
        return list(range(axis if axis < 0 else axis - self._ranks[node.input[0]], 0))

    def _watch_sum(self, node: Any, value: str, axes: list[int]) -> None:
        total = self._add("ReduceSum", value, self._constant(np.array(axes, np.int64)))
        self._watch("sums", node.output[0], total, of=node.input[0])

    def _watch_reduction(self, node: Any) -> None:
        value = node.input[0]
        terms = self._add("Mul", value, value) if node.op_type in _SQUARES else self._add("Abs", value)
        axes = list(node.input[1:])
        if listed := _attribute(node, "axes", []):
            axes = [self._constant(np.array(listed, np.int64))]
        same = _attribute(node, "noop_with_empty_axes", 0)
        total = self._add("ReduceSum", terms, *axes, noop_with_empty_axes=same)
        self._watch("sums", node.output[0], total, of=value)

    def _watch_logits(self, node: Any) -> None:
        value, axis = node.input[0], _attribute(node, "axis", -1)
        top = self._reduce("ReduceMax", value, [axis])
        near = self._add("GreaterOrEqual", value, self._add("Sub", top, self._number(_MATTERS)))
        row = self._add("Greater", top, self._number(_MASKED))
        chosen = self._add("Where", self._add("And", near, row), self._add("Abs", value), self._number(0.0))
        self._output("logits", node.output[0], self._add("ReduceMax", chosen, keepdims=0))

    def _watch(self, kind: str, name: str, values: str, *, of: str) -> None:
        """The greatest of ``values``, none negative; not finite if one of ``values`` or of ``of`` isn't."""
        greatest = self._add("ReduceMax", values, keepdims=0)
        zero = self._add("ReduceSum", self._add("Mul", of, self._number(0.0)), keepdims=0)  # a maximum may skip NaN
        self._output(kind, name, self._add("Add", greatest, zero))

    def _output(self, kind: str, name: str, scalar: str) -> None:
        import onnx

        self.scalars[scalar] = (kind, name)
        self._graph.output.append(onnx.helper.make_tensor_value_info(scalar, onnx.TensorProto.FLOAT, []))

    def _reduce(self, operator: str, value: str, axes: list[int]) -> str:
        if self._opset < _REDUCE_AXES_ARE_INPUTS:
            return self._add(operator, value, axes=axes)
        return self._add(operator, value, self._constant(np.array(axes, np.int64)))

    def _add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        import onnx

        name = self._name()
        self._nodes.append(onnx.helper.make_node(operator, inputs, [name], name=name, **attributes))
        return name

    def _number(self, value: float) -> str:
        return self._constant(np.array(value, np.float32))

    def _constant(self, array: Any) -> str:
        import onnx

        name = self._name()
        self._graph.initializer.append(onnx.numpy_helper.from_array(array, name))
        return name

    def _name(self) -> str:
        self._made += 1
        return f"watched/{self._made}"


def _attribute(node: Any, name: str, default: Any) -> Any:
    import onnx

    return next((onnx.helper.get_attribute_value(a) for a in node.attribute if a.name == name), default)


def _watch_power(watched: _Watched, node: Any) -> None:
    squares = _attribute(node, "p", _L2) == _L2
    watch = watched.watch_squares if squares else watched.watch_magnitudes
    watch(node, node.input[0], [_attribute(node, "axis", -1)])


_NORMS: dict[str, Callable[[_Watched, Any], None]] = {
    "LayerNormalization": lambda watched, node: watched.watch_spread(node, node.input[0], watched.inner_axes(node)),
    "RMSNormalization": lambda watched, node: watched.watch_squares(node, node.input[0], watched.inner_axes(node)),
    "InstanceNormalization": lambda watched, node: watched.watch_spread(
        node, watched.flattened(node, [0, 0, -1]), [-1]
    ),
    "GroupNormalization": lambda watched, node: watched.watch_spread(
        node, watched.flattened(node, [0, _attribute(node, "num_groups", 1), -1]), [-1]
    ),
    "MeanVarianceNormalization": lambda watched, node: watched.watch_spread(
        node, node.input[0], _attribute(node, "axes", [0, 2, 3])
    ),
    "LpNormalization": _watch_power,
    "GlobalAveragePool": lambda watched, node: watched.watch_magnitudes(
        node, watched.flattened(node, [0, 0, -1]), [-1]
    ),
}
"""Nodes that add many numbers up without saying so, with what adds them up."""
