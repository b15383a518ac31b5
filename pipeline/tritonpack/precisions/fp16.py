"""Half precision inside the graph; inputs and outputs stay as they are."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import LoweringError
from tritonpack.core.tensors import Tensors, Tolerance
from tritonpack.precisions._half import narrow
from tritonpack.precisions._scopes import nodes_of_modules, nodes_of_positions

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.core.action import Facts


class Fp16:
    """Casts at the borders, FP16 weights and arithmetic between them."""

    version = 3
    packages = ("onnx", "onnxruntime")
    needs_calibration = False
    engines = frozenset({"onnxruntime", "tensorrt", "tensorrt_rtx"})
    tolerance = Tolerance(min_cosine=0.999, mean_cosine=0.9995)

    def rewrite(self, onnx: Path, calibration: list[Tensors], out: Path, *, keep_fp32: tuple[str, ...] = ()) -> Facts:
        """Convert every floating-point tensor but the graph's own inputs and outputs, positions and ``keep_fp32``.

        Raises:
            LoweringError: the converter refuses the graph.
        """
        del calibration
        import onnx as onnx_package

        try:
            model = onnx_package.shape_inference.infer_shapes(onnx_package.load(onnx))
            kept = nodes_of_modules(model.graph, keep_fp32) | nodes_of_positions(model.graph)
            narrow(model.graph, kept | _transposes_before_products(model.graph))
            onnx_package.checker.check_model(model, full_check=True)
        except (ValueError, onnx_package.checker.ValidationError, onnx_package.shape_inference.InferenceError) as error:
            raise LoweringError(f"fp16: {error}", hint="Try precision: fp32 for this target.") from error
        out.write_bytes(model.SerializeToString(deterministic=True))
        half = onnx_package.TensorProto.FLOAT16
        types = Counter(tensor.data_type == half for tensor in model.graph.initializer)
        return {"fp16_tensors": types[True], "other_tensors": types[False], "fp32_nodes": len(kept)}


PRECISION = Fp16()


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
