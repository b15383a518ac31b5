"""Half precision inside the graph; inputs and outputs stay as they are."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tritonpack.core.errors import LoweringError
from tritonpack.core.tensors import Tensors, Tolerance

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.core.action import Facts


class Fp16:
    """Casts at the borders, FP16 weights and arithmetic between them."""

    version = 2
    packages = ("onnx", "onnxruntime")
    needs_calibration = False
    engines = frozenset({"onnxruntime", "tensorrt", "tensorrt_rtx"})
    tolerance = Tolerance(min_cosine=0.999, mean_cosine=0.9995)

    def rewrite(self, onnx: Path, calibration: list[Tensors], out: Path) -> Facts:
        """Convert every floating-point tensor but the graph's own inputs and outputs.

        Raises:
            LoweringError: the converter refuses the graph.
        """
        del calibration
        import onnx as onnx_package
        from onnxruntime.transformers.float16 import convert_float_to_float16
        from onnxruntime.transformers.onnx_model import OnnxModel

        model = onnx_package.load(onnx)
        try:
            converted = convert_float_to_float16(model, keep_io_types=True, disable_shape_infer=False)
            # The converter puts the casts around what stays in FP32 at the end of the graph.
            OnnxModel(converted).topological_sort(is_deterministic=True)
            # Types that were inferred before the conversion no longer hold.
            del converted.graph.value_info[:]
            onnx_package.checker.check_model(converted, full_check=True)
        except (ValueError, onnx_package.checker.ValidationError, onnx_package.shape_inference.InferenceError) as error:
            raise LoweringError(f"fp16: {error}", hint="Try precision: fp32 for this target.") from error
        out.write_bytes(converted.SerializeToString(deterministic=True))
        half = onnx_package.TensorProto.FLOAT16
        types = Counter(tensor.data_type == half for tensor in converted.graph.initializer)
        return {"fp16_tensors": types[True], "other_tensors": types[False]}


PRECISION = Fp16()
