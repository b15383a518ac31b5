"""ONNX to ONNX: the precision's rewrite."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tritonpack.stages.calibrate import read_calibration

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tritonpack.core.action import Facts
    from tritonpack.precisions import Precision


def lowered_from_onnx(
    inputs: Mapping[str, Path], precision: Precision, *, keep_fp32: tuple[str, ...], out: Path
) -> Facts:
    """Rewrite ``inputs["onnx"]``, with ``inputs["calibration"]`` where the precision needs it.

    Args:
        inputs: the artifacts.
        precision: does the work.
        keep_fp32: names of submodules that stay in FP32.
        out: the graph to write.

    Raises:
        LoweringError: the graph can't be rewritten.
    """
    calibration = read_calibration(inputs["calibration"]) if "calibration" in inputs else []
    return precision.rewrite(inputs["onnx"], calibration, out, keep_fp32=keep_fp32)
