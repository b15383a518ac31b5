"""ONNX to ONNX: the precision's rewrite."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

from tritonpack.core.errors import VerificationError
from tritonpack.core.observations import read_observations

VERSION = 1

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tritonpack.core.action import Facts
    from tritonpack.precisions import Precision, Rewriting


def lowered_from_onnx(inputs: Mapping[str, Path], precision: Precision, how: Rewriting, *, out: Path) -> Facts:
    """Rewrite a graph.

    Args:
        inputs: ``onnx``; ``observations`` where the precision uses them; ``search`` where one chose the layers.
        precision: does the work.
        how: what else steers it.
        out: the graph to write.

    Raises:
        VerificationError: the search found no set of layers that keeps the budget.
        LoweringError: the graph can't be rewritten.
    """
    how = with_observations(inputs, how)
    if "search" in inputs:
        found = json.loads(inputs["search"].read_text(encoding="utf-8"))
        if not found["met"]:
            raise VerificationError(
                found["message"],
                hint="Name safer precisions in the target's `fallback`, widen gates.accuracy.max_drop or gates.parity, "
                "or give calibration data that is nearer to what is served.",
                layers=found["layers"],
            )
        how = replace(how, keep=frozenset(layer["name"] for layer in found["layers"] if not layer["quantized"]))
    return precision.rewrite(inputs["onnx"], out, how)


def with_observations(inputs: Mapping[str, Path], how: Rewriting) -> Rewriting:
    """The same with ``inputs["observations"]``, if there are any."""
    return replace(how, observed=read_observations(inputs["observations"])) if "observations" in inputs else how
