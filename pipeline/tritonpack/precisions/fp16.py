"""Half precision inside the graph; inputs and outputs stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tritonpack.core.tensors import Tolerance
from tritonpack.precisions import Data, Rewriting
from tritonpack.precisions._formats import FP16
from tritonpack.precisions._halved import halved_from_onnx
from tritonpack.precisions._kept import Rules
from tritonpack.precisions._whole import Whole

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.core.action import Facts

_LOGITS = 128.0
"""From here on neighbouring numbers are an eighth apart, and rounding a logit changes its probability by 6%."""


class Fp16(Whole):
    """Casts at the borders, FP16 weights and arithmetic between them; what FP16 can't hold stays in FP32."""

    version = 4
    packages = ("onnx", "onnxruntime")
    data = Data.HELPFUL
    engines = frozenset({"onnxruntime", "tensorrt", "tensorrt_rtx"})
    tolerance = Tolerance(min_cosine=0.999, mean_cosine=0.9995)

    def rewrite(self, onnx: Path, out: Path, how: Rewriting) -> Facts:
        """Convert every floating-point value that FP16 holds, and those of ``how.fp32_modules`` not.

        Raises:
            LoweringError: the converter refuses the graph.
        """
        rules = Rules(FP16, logits=_LOGITS, modules=how.fp32_modules)
        return halved_from_onnx(onnx, out, rules, how.observed)


PRECISION = Fp16()
