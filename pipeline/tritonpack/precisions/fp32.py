"""The graph as it was exported."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from tritonpack.core.tensors import Tensors, Tolerance

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.core.action import Facts


class Fp32:
    """IEEE single precision throughout."""

    version = 1
    packages = ()
    needs_calibration = False
    engines = frozenset({"onnxruntime", "tensorrt", "tensorrt_rtx"})
    tolerance = Tolerance(max_abs_error=1e-4, min_cosine=0.9999)

    def rewrite(self, onnx: Path, calibration: list[Tensors], out: Path, *, keep_fp32: tuple[str, ...] = ()) -> Facts:
        """Copy."""
        del calibration, keep_fp32
        shutil.copyfile(onnx, out)
        return {}


PRECISION = Fp32()
