"""Quantized activations without a sign, for machines that multiply those faster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

_ZERO_POINT = 2
_OFFSET = 128


def unsigned_from_onnx(onnx: Path, out: Path) -> int:
    """Write the graph with each INT8 QuantizeLinear, and the DequantizeLinear nodes that read it, 128 higher.

    The numbers that an integer stands for stay the same, and so does where it saturates.

    Returns:
        How many values were shifted; nothing is written for none, or for a file that isn't a graph.
    """
    import onnx as onnx_package
    from google.protobuf.message import DecodeError

    try:
        model = onnx_package.load(onnx)
    except DecodeError:
        return 0
    shifter = _Shifter(model.graph)
    readers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    outputs = {output.name for output in model.graph.output}
    shifted = 0
    for node in model.graph.node:
        pair = [node, *readers.get(node.output[0], [])] if node.op_type == "QuantizeLinear" else []
        if pair and node.output[0] not in outputs and all(map(shifter.can_shift, pair)):
            for one in pair:
                shifter.shift(one)
            shifted += 1
    if shifted:
        out.write_bytes(model.SerializeToString(deterministic=True))
    return shifted


class _Shifter:
    """Gives nodes zero points 128 higher; those of one graph share constants."""

    def __init__(self, graph: Any) -> None:
        self._initializers = graph.initializer
        self._constants = {tensor.name: tensor for tensor in graph.initializer}

    def can_shift(self, node: Any) -> bool:
        """Whether a node quantizes or dequantizes with a constant zero point in INT8."""
        import onnx

        if node.op_type not in {"QuantizeLinear", "DequantizeLinear"} or len(node.input) <= _ZERO_POINT:
            return False
        zero = self._constants.get(node.input[_ZERO_POINT])
        return zero is not None and zero.data_type == onnx.TensorProto.INT8

    def shift(self, node: Any) -> None:
        """Let a node have its zero point in UINT8."""
        import onnx

        signed = node.input[_ZERO_POINT]
        unsigned = f"{signed}_unsigned"
        if unsigned not in self._constants:
            higher = onnx.numpy_helper.to_array(self._constants[signed]).astype(np.int16) + _OFFSET
            self._constants[unsigned] = onnx.numpy_helper.from_array(higher.astype(np.uint8), unsigned)
            self._initializers.append(self._constants[unsigned])
        node.input[_ZERO_POINT] = unsigned
