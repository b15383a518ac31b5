"""A candidate against PyTorch in FP32: the same inputs, the task's own measure, the target's gate."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import VerificationError
from tritonpack.stages.raggedize import ragged_inputs, row_lengths
from tritonpack.stages.reference import Case, read_reference

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.core.action import Facts
    from tritonpack.core.tensors import Tensors, Tolerance
    from tritonpack.engines import Engine
    from tritonpack.tasks import Task

VERSION = 1
MASK = "attention_mask"


def report_from_candidate(
    candidate: Path,
    reference: Path,
    *,
    engine: Engine,
    task: Task,
    tolerance: Tolerance,
    ragged: bool,
    name: str,
    out: Path,
) -> Facts:
    """Run the candidate on every reference case and hold each output to the gate.

    Args:
        candidate: a file that ``engine`` opens.
        reference: what `reference_from_module` wrote.
        engine: runs the candidate.
        task: compares two outputs.
        tolerance: the gate.
        ragged: whether the candidate takes flat rows instead of padded ones.
        name: what a person calls the candidate, for the message.
        out: the report to write.

    Returns:
        ``status`` "verified", the gate, and per output the agreement over all cases.

    Raises:
        VerificationError: an output breaks the gate; the message names it, the input and what to try.
    """
    session = engine.open(candidate)
    cases = read_reference(reference)
    answers = [session.run(_inputs(case, ragged=ragged)) for case in cases]
    outputs = {}
    for output in cases[0].outputs:
        agreements = [
            task.agreement(case.outputs[output], _matching(answer, case, output, name))
            for case, answer in zip(cases, answers, strict=True)
        ]
        for index, (case, agreement) in enumerate(zip(cases, agreements, strict=True)):
            violation = tolerance.violation(agreement)
            if violation:
                raise _failure(name, output, case, index, agreement.worst_row, violation)
        outputs[output] = {
            "max_abs_error": max(agreement.max_abs_error for agreement in agreements),
            "mean_abs_error": float(np.mean([agreement.mean_abs_error for agreement in agreements])),
            "min_cosine": min(agreement.min_cosine for agreement in agreements),
            "mean_cosine": float(np.mean([agreement.mean_cosine for agreement in agreements])),
        }
    facts = {
        "status": "verified",
        "cases": len(cases),
        "gate": tolerance.to_json(),
        "outputs": outputs,
    }
    out.write_text(json.dumps(facts, indent=1))
    return facts


def _inputs(case: Case, *, ragged: bool) -> Tensors:
    return ragged_inputs(case.inputs, row_lengths(case.inputs[MASK])) if ragged else case.inputs


def _matching(answer: Tensors, case: Case, output: str, name: str) -> Any:
    expected, actual = case.outputs[output], answer.get(output)
    if actual is None or actual.shape != expected.shape:
        found = "isn't there" if actual is None else f"has shape {actual.shape}"
        raise VerificationError(f"{name}: output '{output}' {found}; PyTorch gives {expected.shape}", output=output)
    return actual


def _failure(name: str, output: str, case: Case, index: int, row: int, violation: str) -> VerificationError:
    batch, length = case.inputs[MASK].shape
    tokens = row_lengths(case.inputs[MASK])[row] if row < batch else length
    return VerificationError(
        f"{name}: output '{output}' no longer agrees with PyTorch: {violation} "
        f"(input {index}: {batch} rows of up to {length} tokens; worst row {row}, {tokens} tokens)",
        hint="Choose a safer precision for this target (int8 -> int8_dynamic -> fp16 -> fp32), or, if the loss is "
        "acceptable, say so in gates.parity.",
        output=output,
        case=index,
        row=row,
        candidate=name,
    )
