"""One graph of a search: rewritten, measured and thrown away; only its figures are kept."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tritonpack.stages.reference import read_reference
from tritonpack.stages.verify import measured

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tritonpack.core.action import Facts
    from tritonpack.core.tensors import TensorSpec, Tolerance
    from tritonpack.engines import Engine, Session
    from tritonpack.precisions import Precision, Rewriting
    from tritonpack.tasks import Task

VERSION = 2


def figures_from_rewriting(
    inputs: Mapping[str, Path],
    precision: Precision,
    how: Rewriting,
    *,
    engine: Engine,
    task: Task,
    outputs: Sequence[TensorSpec],
    tolerance: Tolerance,
    metric: Callable[[Session], float] | None,
    out: Path,
) -> Facts:
    """Rewrite the graph and measure it against PyTorch; the metric only where the outputs already agree.

    Args:
        inputs: ``onnx`` and ``reference``.
        precision: does the rewriting.
        how: what it keeps; `Precision.studied`.
        engine: runs the result.
        task: compares two outputs.
        outputs: the graph's outputs.
        tolerance: the numerical budget.
        metric: the task's metric of a session that takes padded inputs, if it is wanted.
        out: the figures to write.

    Returns:
        ``damage``; ``violation`` of the numerical budget, empty inside it; ``metric``; the ``outputs``' agreement.

    Raises:
        LoweringError: the graph can't be rewritten.
    """
    with TemporaryDirectory() as folder:
        lowered = Path(folder, "lowered.onnx")
        precision.rewrite(inputs["onnx"], lowered, how)
        session = engine.open(lowered)
    cases = read_reference(inputs["reference"])
    found = measured(
        session, cases, task=task, outputs=outputs, axes=None, tolerance=tolerance, name="the rewritten graph"
    )
    violation = "" if found.failure is None else found.failure.message
    facts: dict[str, Any] = {
        "damage": found.damage,
        "violation": violation,
        "metric": None if metric is None or violation else metric(session),
        "outputs": found.outputs,
    }
    out.write_text(json.dumps(facts, indent=1))
    return facts
