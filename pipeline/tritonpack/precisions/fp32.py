"""The graph as it was exported."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from tritonpack.core.tensors import Tolerance
from tritonpack.precisions import Data, Rewriting
from tritonpack.precisions._whole import Whole

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.core.action import Facts


class Fp32(Whole):
    """IEEE single precision throughout."""

    version = 1
    packages = ()
    data = Data.UNUSED
    engines = frozenset({"onnxruntime", "openvino", "tensorrt", "tensorrt_rtx"})
    tolerance = Tolerance(max_abs_error=1e-4, min_cosine=0.9999)

    def rewrite(self, onnx: Path, out: Path, how: Rewriting) -> Facts:
        """Copy."""
        del how
        shutil.copyfile(onnx, out)
        return {}


PRECISION = Fp32()
