"""ONNX to ONNX rewrites: one file a precision, each holding ``PRECISION``.

Precision lives in the graph, as casts and Q/DQ pairs; no engine is ever told one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tritonpack.core.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.core.action import Facts
    from tritonpack.core.tensors import Tensors, Tolerance


class Precision(Protocol):
    """A precision.

    Args:
        version: raised when the rewrite would write another graph.
        packages: distributions whose versions decide the result; part of the action's key.
        needs_calibration: whether `rewrite` wants calibration inputs.
        engines: the engines that understand the rewritten graph.
        tolerance: the gate that a model must keep when the recipe names none.
    """

    version: int
    packages: tuple[str, ...]
    needs_calibration: bool
    engines: frozenset[str]
    tolerance: Tolerance

    def rewrite(self, onnx: Path, calibration: list[Tensors], out: Path, *, keep_fp32: tuple[str, ...] = ()) -> Facts:
        """Write the graph ``onnx`` in this precision to ``out``; inputs and outputs keep their types.

        Args:
            onnx: the exported graph.
            calibration: batches of its inputs, where `needs_calibration`.
            out: the file to write.
            keep_fp32: names of the model's submodules whose values leave FP16's range.

        Raises:
            LoweringError: the graph can't be rewritten.
        """


PRECISIONS: Registry[Precision] = Registry("tritonpack.precisions", "PRECISION")
