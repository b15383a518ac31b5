"""A head in front of the graph that pads inside the graph, so that rows of any length batch together.

Triton joins requests of different length only as one flat tensor (``allow_ragged_batch``). The head
takes, for inputs of ``(rows, length)``, what Triton's batcher knows:

    <input>      (total,)   the rows of every request, one after another
    row_length   (rows, 1)  int32, BATCH_ITEM_SHAPE: the length of each row
    longest_row  (n,)       float32, BATCH_MAX_ELEMENT_COUNT_AS_SHAPE: only its shape counts

and gives the graph padded ``(rows, width)`` inputs: ids padded with the pad id, masks with 0. A
request of several rows counts all its elements towards ``n``, so the width is bounded by the
model's longest row; it comes from a shape and not from values, which TensorRT needs.

Source: https://github.com/triton-inference-server/server/blob/v2.51.0/docs/user_guide/ragged_batching.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import LoweringError
from tritonpack.core.tensors import ShapeRange, Tensors
from tritonpack.stages.export import tensor_specs

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tritonpack.core.action import Facts

VERSION = 1

ROW_LENGTH = "row_length"
LONGEST_ROW = "longest_row"
_PREFIX = "ragged/"


def ragged_from_onnx(onnx_file: Path, *, pads: Mapping[str, int], length: int, dynamic: bool, out: Path) -> Facts:
    """Put the padding head in front of a graph.

    Args:
        onnx_file: a graph whose inputs all have the shape ``(batch, sequence)``.
        pads: by input name, the value to pad with.
        length: longest row of the model in tokens.
        dynamic: whether the graph takes any row length; if not, every row is padded to ``length``.
        out: the file to write.

    Raises:
        LoweringError: an input isn't of that shape, or the graph with its head isn't valid ONNX.
    """
    import onnx

    model = onnx.load(onnx_file)
    specs = tensor_specs(model.graph.input)
    for spec in specs:
        if len(spec.shape) != 2 or spec.name not in pads:  # noqa: PLR2004  (rows, length)
            raise LoweringError(
                f"input '{spec.name}' has shape {spec.shape}: only (batch, sequence) inputs can be batched ragged",
                input=spec.name,
            )
    head = _Head(length=length, dynamic=dynamic)
    index, is_token = head.positions()
    for spec in specs:
        head.pad(spec.name, index, is_token, np.array(pads[spec.name], dtype=spec.dtype))
    _rename_inputs(model.graph, {spec.name: head.padded(spec.name) for spec in specs})
    for value in model.graph.input:
        del value.type.tensor_type.shape.dim[1:]
        value.type.tensor_type.shape.dim[0].dim_param = "total"
    model.graph.input.extend(
        [
            onnx.helper.make_tensor_value_info(ROW_LENGTH, onnx.TensorProto.INT32, ["rows", 1]),
            onnx.helper.make_tensor_value_info(LONGEST_ROW, onnx.TensorProto.FLOAT, ["longest"]),
        ]
    )
    body = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*head.nodes, *body])
    model.graph.initializer.extend(head.constants)
    # Shapes that were inferred for the padded graph still hold; the checker proves it.
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise LoweringError(f"the graph with its ragged head isn't valid ONNX: {error}") from error
    out.write_bytes(model.SerializeToString(deterministic=True))
    return {"inputs": [spec.to_json() for spec in tensor_specs(model.graph.input)]}


def ragged_inputs(padded: Tensors, lengths: list[int]) -> Tensors:
    """What Triton would hand to the ragged graph for these rows, each a request of its own.

    Args:
        padded: inputs of shape ``(rows, length)``.
        lengths: how many leading elements of each row are sent; the rest is padding and stays away.
    """
    flat = {
        name: np.concatenate([row[:length] for row, length in zip(array, lengths, strict=True)])
        for name, array in padded.items()
    }
    flat[ROW_LENGTH] = np.array(lengths, dtype=np.int32)[:, None]
    flat[LONGEST_ROW] = np.zeros(max(lengths), dtype=np.float32)
    return flat


def ragged_profile(
    names: list[str], *, max_batch: int, best_batch: int, best_length: int, length: int
) -> dict[str, ShapeRange]:
    """The shapes that an engine for the ragged graph is compiled for.

    A single request may hold ``max_batch`` rows, so the flat tensors and ``longest_row`` reach
    ``max_batch * length`` elements.
    """
    most = max_batch * length
    best_length = min(best_length, length)
    best_batch = min(best_batch, max_batch)
    ranges = {name: ShapeRange((1,), (best_batch * best_length,), (most,)) for name in names}
    ranges[ROW_LENGTH] = ShapeRange((1, 1), (best_batch, 1), (max_batch, 1))
    ranges[LONGEST_ROW] = ShapeRange((1,), (best_length,), (most,))
    return ranges


class _Head:
    """Collects the head's nodes; every value's name starts with ``ragged/``."""

    def __init__(self, *, length: int, dynamic: bool) -> None:
        self.length = length
        self.dynamic = dynamic
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def positions(self) -> tuple[str, str]:
        """For each cell of ``(rows, width)``: its index in the flat tensors, and whether it is a token."""
        lengths = self._add("Cast", [ROW_LENGTH], to=7)
        zero, one = self._constant("zero", 0), self._constant("one", 1)
        ends = self._add("CumSum", [lengths, zero])
        starts = self._add("Sub", [ends, lengths])
        longest = self._constant("length", self.length)
        width = longest
        if self.dynamic:
            count = self._add("Squeeze", [self._add("Shape", [LONGEST_ROW]), self._constant("axis", [0])])
            width = self._add("Min", [count, longest])
        column = self._add("Range", [zero, width, one])
        is_token = self._add("Less", [column, lengths])
        index = self._add("Add", [starts, column])
        return self._add("Where", [is_token, index, zero]), is_token

    def pad(self, name: str, index: str, is_token: str, value: Any) -> None:
        """Cut one flat input into padded rows."""
        import onnx

        cells = self._add("Gather", [name, index])
        fill = f"{_PREFIX}pad_{name}"
        self.constants.append(onnx.numpy_helper.from_array(value, fill))
        self.nodes.append(onnx.helper.make_node("Where", [is_token, cells, fill], [self.padded(name)]))

    @staticmethod
    def padded(name: str) -> str:
        """The name of an input's padded rows."""
        return f"{_PREFIX}padded_{name}"

    def _constant(self, name: str, value: int | list[int]) -> str:
        import onnx

        full = _PREFIX + name
        self.constants.append(onnx.numpy_helper.from_array(np.array(value, dtype=np.int64), full))
        return full

    def _add(self, operator: str, inputs: list[str], **attributes: int) -> str:
        import onnx

        output = f"{_PREFIX}{len(self.nodes)}_{operator.lower()}"
        self.nodes.append(onnx.helper.make_node(operator, inputs, [output], **attributes))
        return output


def _rename_inputs(graph: Any, names: Mapping[str, str]) -> None:
    for node in graph.node:
        for position, name in enumerate(node.input):
            if name in names:
                node.input[position] = names[name]


def row_lengths(mask: Any) -> list[int]:
    """The leading part of each row of a mask ``(rows, length)`` that reaches to its last token, at least 1."""
    columns = np.arange(1, mask.shape[1] + 1)
    return [int(length) for length in np.maximum((mask * columns).max(axis=1), 1)]
