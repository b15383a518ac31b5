"""INT8 weights, activations quantized row by row while the model runs; ONNX Runtime on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tritonpack.core.tensors import Tensors, Tolerance
from tritonpack.precisions._quantize import quantized_facts, quietly, with_products_alone

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.core.action import Facts


class Int8Dynamic:
    """Per-channel symmetric weights of every MatMul; nothing to calibrate."""

    version = 2
    packages = ("onnx", "onnxruntime")
    needs_calibration = False
    engines = frozenset({"onnxruntime"})
    tolerance = Tolerance(min_cosine=0.95, mean_cosine=0.98)

    def rewrite(self, onnx: Path, calibration: list[Tensors], out: Path, *, keep_fp32: tuple[str, ...] = ()) -> Facts:
        """Replace each MatMul with a constant operand by its dynamically quantized form."""
        del calibration, keep_fp32  # all that isn't a product stays in FP32
        from onnxruntime.quantization import QuantType, quantize_dynamic

        with quietly():
            quantize_dynamic(
                with_products_alone(onnx),
                out,
                op_types_to_quantize=["MatMul", "Gather"],
                per_channel=True,
                weight_type=QuantType.QInt8,
                extra_options={"MatMulConstBOnly": True},
            )
        return quantized_facts(out)


PRECISION = Int8Dynamic()
