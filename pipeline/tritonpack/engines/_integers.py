"""A graph with Q/DQ pairs in the form that ONNX Runtime fuses into fast integer products."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tritonpack.engines._view import GraphView

_ZERO_POINT = 2
_OFFSET = 128
_MATRIX = 2


def make_fusible(view: GraphView, *, unsigned: bool) -> int:
    """Change a graph so that its quantized products fuse; all numbers stay the very same.

    Biases of products of two matrices are subtracted with their sign turned: ONNX Runtime would make a Gemm of the
    product and the sum first, which it has no integer form of.

    Args:
        view: the graph; constants that nothing reads any more stay in it.
        unsigned: give each INT8 QuantizeLinear, and the DequantizeLinear nodes that read it, a zero point 128
            higher in UINT8. Weights have no QuantizeLinear, and stay as they are.

    Returns:
        How many activations are quantized; the graph is left alone where none is.
    """
    quantizing = [node for node in view.graph.node if node.op_type == "QuantizeLinear"]
    rewriter = _Rewriter(view)
    for node in quantizing if unsigned else []:
        rewriter.shift(node)
    for node in view.graph.node if quantizing else []:
        if node.op_type == "MatMul" and len(view.dims(node.output[0]) or ()) == _MATRIX:
            rewriter.subtract_bias(node)
    return len(quantizing)


class _Rewriter:
    """Changes nodes of one graph in place; they share the constants that it adds."""

    def __init__(self, view: GraphView) -> None:
        self._view = view

    def shift(self, quantize: Any) -> None:
        """Let a value be quantized without a sign, if all that read it can follow."""
        pair = [quantize, *self._view.readers(quantize.output[0])]
        if quantize.output[0] in self._view.outputs or not all(map(self._is_signed, pair)):
            return
        for node in pair:
            signed = node.input[_ZERO_POINT]
            higher = self._array(signed).astype(np.int16) + _OFFSET
            node.input[_ZERO_POINT] = self._constant(f"{signed}_unsigned", higher.astype(np.uint8))

    def subtract_bias(self, product: Any) -> None:
        """Where the sum of a quantized product and a constant vector is all that reads it, make it a difference."""
        add = self._view.sole_reader(product.output[0], "Add")
        if add is None or not all(self._view.maker(name, "DequantizeLinear") for name in product.input):
            return
        bias = next(name for name in reversed(add.input) if name != product.output[0])
        if bias in self._view.constants and len(self._view.constants[bias].dims) == 1:
            add.op_type = "Sub"
            add.input[:] = [product.output[0], self._constant(f"{bias}_negated", -self._array(bias))]

    def _is_signed(self, node: Any) -> bool:
        """Whether a node quantizes or dequantizes with a constant zero point in INT8."""
        import onnx

        if node.op_type not in {"QuantizeLinear", "DequantizeLinear"} or len(node.input) <= _ZERO_POINT:
            return False
        zero = self._view.constants.get(node.input[_ZERO_POINT])
        return zero is not None and zero.data_type == onnx.TensorProto.INT8

    def _array(self, name: str) -> Any:
        import onnx

        return onnx.numpy_helper.to_array(self._view.constants[name])

    def _constant(self, name: str, array: Any) -> str:
        import onnx

        if name not in self._view.constants:
            self._view.constants[name] = onnx.numpy_helper.from_array(array, name)
            self._view.graph.initializer.append(self._view.constants[name])
        return name
