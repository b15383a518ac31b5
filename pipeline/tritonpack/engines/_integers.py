"""A graph with Q/DQ pairs in the form that ONNX Runtime fuses into fast integer products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.graphs import drop_unread

if TYPE_CHECKING:
    from pathlib import Path

_ZERO_POINT = 2
_OFFSET = 128
_MATRIX = 2


def fusible_from_onnx(onnx: Path, out: Path, *, unsigned: bool) -> int:
    """Write the graph so that its quantized products fuse; all numbers stay the very same.

    Biases of products of two matrices are subtracted with their sign turned: ONNX Runtime would make a Gemm of the
    product and the sum first, which it has no integer form of.

    Args:
        onnx: the graph.
        out: the file to write.
        unsigned: give each INT8 QuantizeLinear, and the DequantizeLinear nodes that read it, a zero point 128
            higher in UINT8. Weights have no QuantizeLinear, and stay as they are.

    Returns:
        How many activations are quantized; nothing is written for none, or for a file that isn't a graph.
    """
    import onnx as onnx_package
    from google.protobuf.message import DecodeError

    try:
        model = onnx_package.load(onnx)
    except DecodeError:
        return 0
    quantizing = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    if not quantizing:
        return 0
    ranks = _ranks(model)
    rewriter = _Rewriter(model.graph)
    for node in quantizing:
        if unsigned:
            rewriter.shift(node)
    for node in list(model.graph.node):
        if node.op_type == "MatMul" and ranks.get(node.output[0]) == _MATRIX:
            rewriter.subtract_bias(node)
    drop_unread(model.graph)  # the runtime would warn of each
    out.write_bytes(model.SerializeToString(deterministic=True))
    return len(quantizing)


def _ranks(model: Any) -> dict[str, int]:
    """How many axes each value has, where that is known."""
    import onnx

    types = {value.name: value.type.tensor_type for value in onnx.shape_inference.infer_shapes(model).graph.value_info}
    types |= {output.name: output.type.tensor_type for output in model.graph.output}
    return {name: len(found.shape.dim) for name, found in types.items() if found.HasField("shape")}


class _Rewriter:
    """Changes nodes of one graph in place; they share the constants that it adds."""

    def __init__(self, graph: Any) -> None:
        self._initializers = graph.initializer
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._makers = {name: node for node in graph.node for name in node.output}
        self._outputs = {output.name for output in graph.output}
        self._readers: dict[str, list[Any]] = {}
        for node in graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)

    def shift(self, quantize: Any) -> None:
        """Let a value be quantized without a sign, if all that read it can follow."""
        pair = [quantize, *self._readers.get(quantize.output[0], [])]
        if quantize.output[0] in self._outputs or not all(map(self._is_signed, pair)):
            return
        for node in pair:
            signed = node.input[_ZERO_POINT]
            higher = self._array(signed).astype(np.int16) + _OFFSET
            node.input[_ZERO_POINT] = self._constant(f"{signed}_unsigned", higher.astype(np.uint8))

    def subtract_bias(self, product: Any) -> None:
        """Where the sum of a quantized product and a constant vector is all that reads it, make it a difference."""
        readers = self._readers.get(product.output[0], [])
        if product.output[0] in self._outputs or not all(map(self._is_dequantized, product.input)):
            return
        if len(readers) != 1 or readers[0].op_type != "Add":
            return
        (add,) = readers
        bias = next(name for name in reversed(add.input) if name != product.output[0])
        if bias in self._constants and len(self._constants[bias].dims) == 1:
            add.op_type = "Sub"
            add.input[:] = [product.output[0], self._constant(f"{bias}_negated", -self._array(bias))]

    def _is_signed(self, node: Any) -> bool:
        """Whether a node quantizes or dequantizes with a constant zero point in INT8."""
        import onnx

        if node.op_type not in {"QuantizeLinear", "DequantizeLinear"} or len(node.input) <= _ZERO_POINT:
            return False
        zero = self._constants.get(node.input[_ZERO_POINT])
        return zero is not None and zero.data_type == onnx.TensorProto.INT8

    def _is_dequantized(self, name: str) -> bool:
        return name in self._makers and self._makers[name].op_type == "DequantizeLinear"

    def _array(self, name: str) -> Any:
        import onnx

        return onnx.numpy_helper.to_array(self._constants[name])

    def _constant(self, name: str, array: Any) -> str:
        import onnx

        if name not in self._constants:
            self._constants[name] = onnx.numpy_helper.from_array(array, name)
            self._initializers.append(self._constants[name])
        return name
