"""Explicit Q/DQ pairs, written as TensorRT's guide to explicit quantization asks.

Pairs stand on the inputs of products with weights and nowhere else, so that nothing between two products is
rounded; weights have a scale per output channel and are stored as integers; zero points are 0; a bias stays in
floating point. A value is quantized once for all that read it, and each product dequantizes it for itself:
that is one pattern, product for product, for an engine to fuse.

Source: https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-quantized-types.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.precisions._calibrators import scale_of
from tritonpack.precisions._groups import products_by_value
from tritonpack.precisions._quantize import replace_nodes
from tritonpack.precisions._ranges import quantized_weights

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from tritonpack.precisions._ranges import Range

_ZERO = "int8_zero"


def insert_pairs(model: Any, ranges: Mapping[str, Range]) -> None:
    """Quantize every product with weights that reads one of these values; the model is changed in place.

    Args:
        model: as `with_products_alone` gives it.
        ranges: by the value that the products read.
    """
    writer = _Writer(model.graph)
    products = {node.output[0]: value for value, nodes in products_by_value(model.graph).items() for node in nodes}
    nodes: list[Any] = []
    for node in model.graph.node:
        how = ranges.get(products.get(node.output[0], ""))
        nodes += [node] if how is None else writer.quantized(node, how)
    replace_nodes(model.graph, nodes)


class _Writer:
    """Writes what several products share the first time that it is wanted."""

    def __init__(self, graph: Any) -> None:
        self._initializers = graph.initializer
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._written: set[str] = set()

    def quantized(self, product: Any, how: Range) -> list[Any]:
        """The product and what must stand before it."""
        import onnx

        value, weights = product.input
        nodes = self._quantize(value, how)
        nodes += self._dequantize_weights(weights, how.divisors)
        operands = [f"{value}_quantized", f"{value}_scale", _ZERO]
        dequantized = f"{value}_dequantized_for_{product.name}"
        nodes.append(onnx.helper.make_node("DequantizeLinear", operands, [dequantized], dequantized))
        product.input[:] = [dequantized, f"{weights}_dequantized"]
        for node in nodes:
            node.metadata_props.extend(product.metadata_props)
        return [*nodes, product]

    def _quantize(self, value: str, how: Range) -> list[Any]:
        import onnx

        if not self._is_new(f"{value}_quantized"):
            return []
        self._constant(f"{value}_scale", np.array(scale_of(how.threshold)))
        if self._is_new(_ZERO):
            self._constant(_ZERO, np.array(0, dtype=np.int8))
        nodes, quantized = [], value
        if how.divisors is not None:
            quantized = f"{value}_smoothed"
            self._constant(f"{value}_smoothing", (1 / how.divisors).astype(np.float32))
            nodes.append(onnx.helper.make_node("Mul", [value, f"{value}_smoothing"], [quantized], quantized))
        operands, name = [quantized, f"{value}_scale", _ZERO], f"{value}_quantized"
        return [*nodes, onnx.helper.make_node("QuantizeLinear", operands, [name], name)]

    def _dequantize_weights(self, weights: str, divisors: NDArray[np.float32] | None) -> list[Any]:
        import onnx

        dequantized = f"{weights}_dequantized"
        if not self._is_new(dequantized):
            return []
        array = onnx.numpy_helper.to_array(self._constants[weights])
        integers, scales = quantized_weights(array if divisors is None else array * divisors[:, None])
        self._constant(f"{weights}_quantized", integers)
        self._constant(f"{weights}_scale", scales)
        operands = [f"{weights}_quantized", f"{weights}_scale"]
        return [onnx.helper.make_node("DequantizeLinear", operands, [dequantized], dequantized, axis=1)]

    def _is_new(self, name: str) -> bool:
        new = name not in self._written
        self._written.add(name)
        return new

    def _constant(self, name: str, array: NDArray[Any]) -> None:
        import onnx

        self._initializers.append(onnx.numpy_helper.from_array(array, name))
