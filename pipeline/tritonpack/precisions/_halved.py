"""The rewrite that FP16 and bfloat16 share."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import LoweringError
from tritonpack.precisions._half import narrow
from tritonpack.precisions._kept import Rules, facts_of_kept, kept_nodes

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.core.action import Facts
    from tritonpack.core.observations import Observations


def halved_from_onnx(onnx: Path, out: Path, rules: Rules, observed: Observations | None) -> Facts:
    """Write the graph ``onnx`` with every node in ``rules.format`` that needn't stay in FP32.

    Returns:
        How many tensors have the format and how many don't, and what stayed in FP32 and why.

    Raises:
        LoweringError: the graph isn't valid, or doesn't become a valid one.
    """
    import onnx as onnx_package

    name = rules.format.name
    try:
        model = onnx_package.shape_inference.infer_shapes(onnx_package.load(onnx))
        kept = kept_nodes(model.graph, rules, observed)
        wide = {one.output for one in kept}
        narrow(model, wide | _transposes_before_products(model.graph), rules.format)
        onnx_package.checker.check_model(model, full_check=True)
    except (ValueError, onnx_package.checker.ValidationError, onnx_package.shape_inference.InferenceError) as error:
        raise LoweringError(f"{name}: {error}", hint="Try precision: fp32 for this target.") from error
    out.write_bytes(model.SerializeToString(deterministic=True))
    types = Counter(tensor.data_type == rules.format.element_type for tensor in model.graph.initializer)
    return {f"{name}_tensors": types[True], "other_tensors": types[False], **facts_of_kept(kept)}


def _transposes_before_products(graph: Any) -> set[str]:
    """Transposes that move the batch axis and end in a product: loading them in FP16 crashes ONNX Runtime.

    Source: https://github.com/microsoft/onnxruntime/issues/28392
    """
    factors = {name for node in graph.node if node.op_type == "MatMul" for name in node.input}
    return {
        node.output[0]
        for node in graph.node
        for attribute in node.attribute
        if node.op_type == "Transpose" and attribute.name == "perm" and attribute.ints[0] != 0
        if not factors.isdisjoint(node.output)
    }
