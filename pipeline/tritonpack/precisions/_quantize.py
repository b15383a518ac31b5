"""What the INT8 precisions share."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tritonpack.core.action import Facts

QUANTIZABLE = ("MatMul", "Gemm")


@contextmanager
def quietly() -> Iterator[None]:
    """Keep ONNX Runtime's advice to pre-process, which the export has done, off the terminal."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def weight_nodes(graph: Any) -> list[Any]:
    """The products whose second operand is a constant: those with weights."""
    constants = {tensor.name for tensor in graph.initializer}
    return [node for node in graph.node if node.op_type in QUANTIZABLE and node.input[1] in constants]


def quantized_facts(path: Path) -> Facts:
    """How many products with weights the graph holds in INT8, and how many it kept."""
    import onnx

    graph = onnx.load(path).graph
    integer = {"MatMulInteger", "DynamicQuantizeMatMul"}
    dequantized = {node.output[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    explicit = sum(
        node.op_type in QUANTIZABLE and all(name in dequantized for name in node.input[:2]) for node in graph.node
    )
    quantized = explicit + sum(node.op_type in integer for node in graph.node)
    return {"quantized_matmuls": quantized, "kept_matmuls": len(weight_nodes(graph))}
