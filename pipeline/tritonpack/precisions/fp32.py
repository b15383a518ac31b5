"""The graph as it was exported."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from tritonpack.core.tensors import Tolerance
from tritonpack.precisions import Data, Group, Rewriting

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.core.action import Facts


class Fp32:
    """IEEE single precision throughout."""

    version = 1
    packages = ()
    data = Data.UNUSED
    searchable = False
    engines = frozenset({"onnxruntime", "tensorrt", "tensorrt_rtx"})
    tolerance = Tolerance(max_abs_error=1e-4, min_cosine=0.9999)

    def groups(self, onnx: Path) -> list[Group]:
        """None: nothing is rewritten."""
        del onnx
        return []

    def studied(self, onnx: Path, how: Rewriting) -> Rewriting:
        """Nothing is decided ahead."""
        del onnx
        return how

    def rewrite(self, onnx: Path, out: Path, how: Rewriting) -> Facts:
        """Copy."""
        del how
        shutil.copyfile(onnx, out)
        return {}


PRECISION = Fp32()
