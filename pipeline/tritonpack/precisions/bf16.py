"""bfloat16 inside the graph; inputs and outputs stay as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tritonpack.core.tensors import Tolerance
from tritonpack.precisions import Data, Rewriting
from tritonpack.precisions._formats import BF16
from tritonpack.precisions._halved import halved_from_onnx
from tritonpack.precisions._kept import Rules
from tritonpack.precisions._whole import Whole

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.core.action import Facts

_LOGITS = 64.0
"""From here on neighbouring numbers are a half apart; FP16's own bound would keep nearly every attention in FP32."""
_OPERATORS = frozenset(
    {
        "Softmax", "LogSoftmax", "LayerNormalization", "RMSNormalization", "InstanceNormalization",
        "GroupNormalization", "BatchNormalization", "MeanVarianceNormalization", "LpNormalization",
        "ReduceSum", "ReduceMean", "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp",
        "GlobalAveragePool", "CumSum",
    }
)  # fmt: skip
"""What adds many numbers up or divides by such a sum: eight digits are too few for it."""


class Bf16(Whole):
    """FP32's range with eight digits: nothing overflows, but every result is rounded to one part in 256."""

    version = 1
    packages = ("onnx", "onnxruntime")
    data = Data.HELPFUL
    engines = frozenset({"openvino", "tensorrt", "tensorrt_rtx"})
    tolerance = Tolerance(min_cosine=0.98, mean_cosine=0.998)

    def rewrite(self, onnx: Path, out: Path, how: Rewriting) -> Facts:
        """Convert every floating-point value but those of ``how.fp32_modules``, norms, softmaxes and sums.

        Raises:
            LoweringError: the converter refuses the graph.
        """
        rules = Rules(BF16, logits=_LOGITS, operators=_OPERATORS, modules=how.fp32_modules)
        return halved_from_onnx(onnx, out, rules, how.observed)


PRECISION = Bf16()
