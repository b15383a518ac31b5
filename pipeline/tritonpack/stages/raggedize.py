"""A head in front of the graph that pads inside the graph, so that rows of any length batch together.

Triton joins requests of different length only as one flat tensor (``allow_ragged_batch``). For every axis
along which rows differ in length (`RaggedAxis`), the head takes what Triton's batcher knows:

    <input>           (total,)   the rows of every request, one after another
    <axis>_length     (rows, 1)  int32, BATCH_ITEM_SHAPE: the length of each row
    longest_<axis>    (n,)       float32, BATCH_MAX_ELEMENT_COUNT_AS_SHAPE: only its shape counts

and gives the graph padded ``(rows, width)`` inputs: ids padded with the pad id, masks with 0. A
request of several rows counts all its elements towards ``n``, so the width is bounded by the
model's longest row; it comes from a shape and not from values, which TensorRT needs. Inputs of one
shape for every row pass the head by.

Source: https://github.com/triton-inference-server/server/blob/v2.51.0/docs/user_guide/ragged_batching.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import LoweringError
from tritonpack.core.tensors import ShapeRange, Tensors, TensorSpec
from tritonpack.stages.export import tensor_specs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tritonpack.core.action import Facts
    from tritonpack.core.model import RaggedAxis

VERSION = 2

_PREFIX = "ragged/"


def ragged_from_onnx(onnx_file: Path, *, axes: Sequence[RaggedAxis], out: Path) -> Facts:
    """Put the padding head in front of a graph.

    Args:
        onnx_file: a graph whose inputs along each axis have the shape ``(batch, axis)``.
        axes: the axes along which rows differ in length.
        out: the file to write.

    Raises:
        LoweringError: an input isn't of that shape, one that no axis pads is of any length, or the graph with its
            head isn't valid ONNX.
    """
    import onnx

    model = onnx.load(onnx_file)
    specs = {spec.name: spec for spec in tensor_specs(model.graph.input)}
    nodes, constants = [], []
    padded: dict[str, str] = {}
    for axis in axes:
        head = _Head(axis)
        index, is_token = head.positions()
        for name, fill in axis.pads.items():
            spec = _row_spec(specs, name)
            padded[name] = head.pad(name, index, is_token, np.array(fill, dtype=spec.dtype))
        nodes += head.nodes
        constants += head.constants
    _check_others(specs, padded)
    _rename_inputs(model.graph, padded)
    for value in model.graph.input:
        if value.name in padded:
            del value.type.tensor_type.shape.dim[1:]
            value.type.tensor_type.shape.dim[0].dim_param = f"total_{_axis_of(value.name, axes)}"
    for axis in axes:
        length = onnx.helper.make_tensor_value_info(axis.length_input, onnx.TensorProto.INT32, ["rows", 1])
        longest = onnx.helper.make_tensor_value_info(axis.longest_input, onnx.TensorProto.FLOAT, [f"most_{axis.name}"])
        model.graph.input.extend([length, longest])
    body = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *body])
    model.graph.initializer.extend(constants)
    # Shapes that were inferred for the padded graph still hold; the checker proves it.
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise LoweringError(f"the graph with its ragged head isn't valid ONNX: {error}") from error
    out.write_bytes(model.SerializeToString(deterministic=True))
    return {"inputs": [spec.to_json() for spec in tensor_specs(model.graph.input)]}


def ragged_inputs(padded: Tensors, axes: Sequence[RaggedAxis], lengths: Tensors) -> Tensors:
    """What Triton would hand to the ragged graph for these rows, each a request of its own.

    Args:
        padded: the graph's inputs, padded.
        axes: the ragged axes.
        lengths: by axis, ``(rows,)``: how many leading elements of each row are sent; the rest is
            padding and stays away.
    """
    feeds = dict(padded)
    for axis in axes:
        counts = lengths[axis.name]
        for name in axis.pads:
            feeds[name] = np.concatenate([row[:count] for row, count in zip(padded[name], counts, strict=True)])
        feeds[axis.length_input] = np.asarray(counts, dtype=np.int32)[:, None]
        feeds[axis.longest_input] = np.zeros(int(max(counts)), dtype=np.float32)
    return feeds


def ragged_profile(
    inputs: Sequence[TensorSpec], axes: Sequence[RaggedAxis], *, max_batch: int, best_batch: int, best_length: int
) -> dict[str, ShapeRange]:
    """The shapes that an engine for the ragged graph is compiled for.

    A single request may hold ``max_batch`` rows, so the flat tensors and the longest row's shape reach
    ``max_batch`` times the axis's longest row in elements.
    """
    best_batch = min(best_batch, max_batch)
    ragged = {name for axis in axes for name in axis.pads}
    ranges = {}
    for spec in inputs:
        if spec.name not in ragged:
            row = tuple(int(size) for size in spec.shape[1:])
            ranges[spec.name] = ShapeRange((1, *row), (best_batch, *row), (max_batch, *row))
    for axis in axes:
        most, best = max_batch * axis.longest, min(best_length, axis.longest)
        least, best = axis.least, max(best, axis.least)
        ranges |= {name: ShapeRange((least,), (best_batch * best,), (most,)) for name in axis.pads}
        ranges[axis.length_input] = ShapeRange((1, 1), (best_batch, 1), (max_batch, 1))
        ranges[axis.longest_input] = ShapeRange((least,), (best,), (most,))
    return ranges


def _row_spec(specs: Mapping[str, TensorSpec], name: str) -> TensorSpec:
    spec = specs.get(name)
    if spec is None or len(spec.shape) != 2:  # noqa: PLR2004  (rows, length)
        found = "isn't an input of the graph" if spec is None else f"has shape {spec.shape}"
        raise LoweringError(f"'{name}' {found}: only (batch, length) inputs can be batched ragged", input=name)
    return spec


def _check_others(specs: Mapping[str, TensorSpec], padded: Mapping[str, str]) -> None:
    for spec in specs.values():
        if spec.name not in padded and any(isinstance(axis, str) for axis in spec.shape[1:]):
            raise LoweringError(f"'{spec.name}' has shape {spec.shape}, but no axis pads it", input=spec.name)


def _axis_of(name: str, axes: Sequence[RaggedAxis]) -> str:
    return next(axis.name for axis in axes if name in axis.pads)


class _Head:
    """Collects the head's nodes for one axis; every value's name starts with ``ragged/<axis>/``."""

    def __init__(self, axis: RaggedAxis) -> None:
        self.axis = axis
        self.prefix = f"{_PREFIX}{axis.name}/"
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def positions(self) -> tuple[str, str]:
        """For each cell of ``(rows, width)``: its index in the flat tensors, and whether it is a token."""
        lengths = self._add("Cast", [self.axis.length_input], to=7)
        zero, one = self._constant("zero", 0), self._constant("one", 1)
        ends = self._add("CumSum", [lengths, zero])
        starts = self._add("Sub", [ends, lengths])
        longest = self._constant("longest", self.axis.longest)
        width = longest
        if self.axis.dynamic:
            shape = self._add("Shape", [self.axis.longest_input])
            count = self._add("Squeeze", [shape, self._constant("first", [0])])
            width = self._add("Min", [count, longest])
        column = self._add("Range", [zero, width, one])
        is_token = self._add("Less", [column, lengths])
        index = self._add("Add", [starts, column])
        return self._add("Where", [is_token, index, zero]), is_token

    def pad(self, name: str, index: str, is_token: str, value: Any) -> str:
        """Cut one flat input into padded rows; the name of the rows."""
        import onnx

        cells = self._add("Gather", [name, index])
        fill, padded = f"{self.prefix}pad_{name}", f"{self.prefix}padded_{name}"
        self.constants.append(onnx.numpy_helper.from_array(value, fill))
        self.nodes.append(onnx.helper.make_node("Where", [is_token, cells, fill], [padded]))
        return padded

    def _constant(self, name: str, value: int | list[int]) -> str:
        import onnx

        full = self.prefix + name
        self.constants.append(onnx.numpy_helper.from_array(np.array(value, dtype=np.int64), full))
        return full

    def _add(self, operator: str, inputs: list[str], **attributes: int) -> str:
        import onnx

        output = f"{self.prefix}{len(self.nodes)}_{operator.lower()}"
        self.nodes.append(onnx.helper.make_node(operator, inputs, [output], **attributes))
        return output


def _rename_inputs(graph: Any, names: Mapping[str, str]) -> None:
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name in names:
                node.input[position] = names[name]
