"""What the INT8 precisions share."""

from __future__ import annotations

import logging
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from tritonpack.core.graphs import drop_unread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tritonpack.core.action import Facts

QUANTIZABLE = ("MatMul", "Gemm")
_MATRIX = 2


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
    """The products whose second operand is a constant FP32 matrix: those with weights."""
    constants = matrices(graph)
    return [node for node in graph.node if _is_product(node) and node.input[1] in constants]


def with_products_alone(path: Path) -> Any:
    """The graph with each Gemm that has constant weights as a MatMul and an Add.

    A bias stays in floating point, which is what TensorRT wants, and a product has one form to fuse.

    Args:
        path: an ONNX file.

    Returns:
        The model; each MatMul has its Gemm's name, or that of its output where it had none.
    """
    import onnx

    model = onnx.load(path)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    weights = matrices(model.graph)
    nodes = []
    for node in model.graph.node:
        has_weights = _is_product(node) and node.input[1] in weights
        if has_weights:
            node.name = node.name or node.output[0]
        gemm = has_weights and node.op_type == "Gemm"
        nodes += _split(node, constants, model.graph.initializer) if gemm else [node]
    replace_nodes(model.graph, nodes)
    return model


def replace_nodes(graph: Any, nodes: list[Any]) -> None:
    """Put these nodes, some of which the graph holds already, in place of its own; constants that none reads go."""
    copies = [node.__class__.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(copies)
    drop_unread(graph)


def matrices(graph: Any) -> set[str]:
    """Names of the constant FP32 matrices."""
    import onnx

    floating = onnx.TensorProto.FLOAT
    return {t.name for t in graph.initializer if t.data_type == floating and len(t.dims) == _MATRIX}


def _is_product(node: Any) -> bool:
    return node.op_type == "MatMul" or (node.op_type == "Gemm" and _is_plain(node))


def _is_plain(node: Any) -> bool:
    """Whether a Gemm scales and transposes nothing but its weights."""
    import onnx

    given = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
    return not given.get("transA") and given.get("alpha", 1.0) == given.get("beta", 1.0) == 1.0


def _split(gemm: Any, constants: dict[str, Any], initializers: Any) -> list[Any]:
    """``A B + C`` as two nodes; transposed weights are stored the other way round, once for all users."""
    import onnx

    weights = gemm.input[1]
    if any(attribute.name == "transB" and attribute.i for attribute in gemm.attribute):
        transposed = f"{weights}_transposed"
        if transposed not in constants:
            turned = onnx.numpy_helper.to_array(constants[weights]).T.copy()
            constants[transposed] = onnx.numpy_helper.from_array(turned, transposed)
            initializers.append(constants[transposed])
        weights = transposed
    has_bias = len(gemm.input) > 2 and gemm.input[2] != ""  # noqa: PLR2004  A, B and C
    product = f"{gemm.output[0]}_product" if has_bias else gemm.output[0]
    nodes = [onnx.helper.make_node("MatMul", [gemm.input[0], weights], [product], name=gemm.name)]
    if has_bias:
        bias = onnx.helper.make_node("Add", [product, gemm.input[2]], [gemm.output[0]], name=f"{gemm.name}_bias")
        nodes.append(bias)
    for node in nodes:
        node.metadata_props.extend(gemm.metadata_props)
    return nodes


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
