"""Tables that a graph looks vectors up in, as INT8."""

from __future__ import annotations

from typing import Any

import numpy as np

from tritonpack.precisions._quantize import matrices

_GREATEST = 127
_LEAST_SCALE = 1e-12
"""Keeps a row of zeros from having no scale."""


def with_tables_in_int8(model: Any) -> int:
    """Store every FP32 table ``(rows, d)`` that is looked up as INT8 with a scale a row, symmetric.

    Returns:
        How many tables there were; the model is changed in place.
    """
    import onnx

    names_of_tables = matrices(model.graph)
    floats = {tensor.name: tensor for tensor in model.graph.initializer if tensor.name in names_of_tables}
    lookups = [node for node in model.graph.node if node.op_type == "Gather" and node.input[0] in floats]
    names = dict.fromkeys(node.input[0] for node in lookups)
    pairs = []
    for name in names:
        table = onnx.numpy_helper.to_array(floats[name])
        scale = np.maximum(np.abs(table).max(axis=1) / _GREATEST, _LEAST_SCALE).astype(np.float32)
        integers = np.clip(np.rint(table / scale[:, None]), -_GREATEST, _GREATEST).astype(np.int8)
        model.graph.initializer.append(onnx.numpy_helper.from_array(integers, f"{name}_quantized"))
        model.graph.initializer.append(onnx.numpy_helper.from_array(scale, f"{name}_scale"))
        operands = [f"{name}_quantized", f"{name}_scale"]
        pairs.append(
            onnx.helper.make_node("DequantizeLinear", operands, [f"{name}_dequantized"], f"{name}_dequantize", axis=0)
        )
    for node in lookups:
        node.input[0] = f"{node.input[0]}_dequantized"
    nodes = [*pairs, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    used = {name for node in nodes for name in node.input}
    for name in names:
        if name not in used:
            model.graph.initializer.remove(floats[name])
    return len(names)
