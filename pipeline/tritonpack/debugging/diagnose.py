"""A candidate held against its reference, and where asked the smallest part of it that fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tritonpack.debugging.compare import Comparison, comparison_of
from tritonpack.debugging.reduce import Reduction, reduction_of

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.core.tensors import Tensors, Tolerance
    from tritonpack.debugging import Progress


@dataclass(frozen=True)
class Diagnosis:
    """What `tritonpack debug` found.

    Args:
        candidate: what was held against FP32, for people: a target, a precision or a file.
        comparison: value by value.
        reduction: the smallest part that fails; None if nobody asked for it, or nothing fails.
    """

    candidate: str
    comparison: Comparison
    reduction: Reduction | None

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        reduction = self.reduction and self.reduction.to_json()
        return {"candidate": self.candidate, **self.comparison.to_json(), "reduction": reduction}


def diagnosis_of(
    reference: Path,
    candidate: Path,
    inputs: Tensors,
    *,
    name: str,
    tolerance: Tolerance,
    lengths: Tensors | None = None,
    reduce: Path | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """Compare two graphs, and write the smallest part that fails where a file for it is given.

    Args:
        reference: the graph that is right.
        candidate: the graph in question.
        inputs: the graphs' inputs by name, padded.
        name: of the candidate, for people.
        tolerance: what each value must hold to.
        lengths: as `comparison_of` takes them.
        reduce: the ONNX file to write; nothing is written where the graphs agree value by value.
        progress: as `comparison_of` takes it.

    Raises:
        ConfigurationError: the inputs aren't the graphs', or no value has a name in both.
        CompileError: the runtime refuses the reference.
        VerificationError: the part that was written doesn't fail when it is run alone.
    """
    comparison = comparison_of(reference, candidate, inputs, tolerance=tolerance, lengths=lengths, progress=progress)
    reduction = None
    if reduce is not None and comparison.first is not None:
        reduction = reduction_of(reference, candidate, inputs, comparison, reduce, lengths=lengths, progress=progress)
    return Diagnosis(name, comparison, reduction)
