"""A candidate against PyTorch in FP32: the same inputs, the task's own measure, the target's gate."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import VerificationError
from tritonpack.stages.raggedize import ragged_inputs
from tritonpack.stages.reference import Case, read_reference

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tritonpack.core.action import Facts
    from tritonpack.core.model import RaggedAxis
    from tritonpack.core.tensors import Tensors, TensorSpec, Tolerance
    from tritonpack.engines import Engine, Session
    from tritonpack.tasks import Task

VERSION = 3


@dataclass(frozen=True)
class Measured:
    """How far a candidate's outputs are from the reference's.

    Args:
        outputs: by name, the agreement over all cases.
        damage: the greatest over the outputs of: mean squared error by the reference's variance. 0 is the same;
            1 is as far off as a constant would be.
        failure: the first bound that was broken, or None.
    """

    outputs: dict[str, dict[str, float]]
    damage: float
    failure: VerificationError | None


def measured(
    session: Session,
    cases: Sequence[Case],
    *,
    task: Task,
    outputs: Sequence[TensorSpec],
    axes: Sequence[RaggedAxis] | None,
    tolerance: Tolerance,
    name: str,
) -> Measured:
    """Run the candidate on every case and compare each output with the reference's.

    Args:
        session: the candidate.
        cases: inputs and the reference's outputs.
        task: compares two outputs.
        outputs: the graph's outputs; what stands at a row's padding doesn't count.
        axes: the axes along which the candidate takes flat rows; None if it takes padded ones.
        tolerance: the gate.
        name: what a person calls the candidate, for the message.

    Raises:
        VerificationError: an output isn't there or has another shape.
    """
    answers = [session.run(_inputs(case, axes)) for case in cases]
    report: dict[str, dict[str, float]] = {}
    failure, damages = None, []
    for output in outputs:
        pairs = [_matching(answer, case, output, name) for case, answer in zip(cases, answers, strict=True)]
        agreements = [task.agreement(*pair) for pair in pairs]
        for index, (case, agreement) in enumerate(zip(cases, agreements, strict=True)):
            violation = tolerance.violation(agreement)
            if violation and failure is None:
                failure = _failure(name, output.name, case, index, agreement.worst_row, violation)
        report[output.name] = {
            "max_abs_error": max(agreement.max_abs_error for agreement in agreements),
            "mean_abs_error": float(np.mean([agreement.mean_abs_error for agreement in agreements])),
            "min_cosine": min(agreement.min_cosine for agreement in agreements),
            "mean_cosine": float(np.mean([agreement.mean_cosine for agreement in agreements])),
        }
        damages.append(_damage(pairs))
    return Measured(report, max(damages), failure)


def report_from_candidate(
    candidate: Path,
    reference: Path,
    *,
    engine: Engine,
    task: Task,
    outputs: Sequence[TensorSpec],
    axes: Sequence[RaggedAxis] | None,
    tolerance: Tolerance,
    name: str,
    out: Path,
) -> Facts:
    """Run the candidate on every reference case and hold each output to the gate.

    Args:
        candidate: a file that ``engine`` opens.
        reference: what `reference_from_module` wrote.
        engine: runs the candidate.
        task: compares two outputs.
        outputs: the graph's outputs.
        axes: the axes along which the candidate takes flat rows; None if it takes padded ones.
        tolerance: the gate.
        name: what a person calls the candidate, for the message.
        out: the report to write.

    Returns:
        ``status`` "verified", the gate, and per output the agreement over all cases.

    Raises:
        VerificationError: an output breaks the gate; the message names it, the input and what to try.
    """
    cases = read_reference(reference)
    found = measured(
        engine.open(candidate), cases, task=task, outputs=outputs, axes=axes, tolerance=tolerance, name=name
    )
    if found.failure is not None:
        raise found.failure
    facts = {"status": "verified", "cases": len(cases), "gate": tolerance.to_json(), "outputs": found.outputs}
    out.write_text(json.dumps(facts, indent=1))
    return facts


def _damage(pairs: Sequence[tuple[Any, Any]]) -> float:
    """Squared error by variance, over the rows of all cases; infinite where the candidate isn't finite."""
    expected = np.concatenate([np.asarray(one, dtype=np.float64).ravel() for one, _ in pairs])
    actual = np.concatenate([np.asarray(other, dtype=np.float64).ravel() for _, other in pairs])
    finite = np.isfinite(expected)
    if not np.isfinite(actual[finite]).all():
        return float("inf")
    variance = float(expected[finite].var())
    return float(((expected[finite] - actual[finite]) ** 2).mean()) / max(variance, np.finfo(np.float64).tiny)


def _inputs(case: Case, axes: Sequence[RaggedAxis] | None) -> Tensors:
    return case.inputs if axes is None else ragged_inputs(case.inputs, axes, case.lengths)


def _matching(answer: Tensors, case: Case, output: TensorSpec, name: str) -> tuple[Any, Any]:
    """The reference's and the candidate's rows without padding."""
    expected, actual = case.outputs[output.name], answer.get(output.name)
    if actual is None or actual.shape != expected.shape:
        found = "isn't there" if actual is None else f"has shape {actual.shape}"
        raise VerificationError(
            f"{name}: output '{output.name}' {found}; PyTorch gives {expected.shape}", output=output.name
        )
    return case.kept(expected, output), case.kept(actual, output)


def _failure(name: str, output: str, case: Case, index: int, row: int, violation: str) -> VerificationError:
    sizes = ", ".join(f"{axis} {max(lengths)}" for axis, lengths in case.lengths.items())
    rows = len(next(iter(case.inputs.values())))
    return VerificationError(
        f"{name}: output '{output}' no longer agrees with PyTorch: {violation} "
        f"(input {index}: {rows} rows{f', longest {sizes}' if sizes else ''}; worst vector {row})",
        hint="Choose a safer precision for this target (int8 -> int8_dynamic -> fp16 -> fp32), or, if the loss is "
        "acceptable, say so in gates.parity.",
        output=output,
        case=index,
        row=row,
        candidate=name,
    )
