"""The task's own metric on labelled data, FP32 against the candidate: the accuracy gate."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import VerificationError
from tritonpack.stages.raggedize import ragged_inputs
from tritonpack.stages.rows import joined, rows_from_requests, total_length

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tritonpack.core.action import Facts
    from tritonpack.core.model import RaggedAxis
    from tritonpack.core.tensors import Tensors
    from tritonpack.engines import Engine, Session
    from tritonpack.evaluation import RatedPairs
    from tritonpack.tasks import PairScores

VERSION = 2
_BATCH = 16


def accuracy_from_candidate(
    inputs: Mapping[str, Path],
    data: RatedPairs,
    *,
    engines: tuple[Engine, Engine],
    pair_scores: PairScores,
    metric: tuple[str, Callable[[NDArray[Any], NDArray[Any]], float]],
    max_drop: float,
    file: str,
    parameters: Mapping[str, str],
    axes: Sequence[RaggedAxis],
    name: str,
    out: Path,
) -> Facts:
    """Measure the metric with the FP32 graph and with the candidate, and hold the drop to the budget.

    Args:
        inputs: ``baseline`` (the exported graph, padded inputs), ``candidate`` (ragged inputs) and
            ``tokenizer``.
        data: rated pairs.
        engines: what opens the baseline and the candidate.
        pair_scores: turns two texts' outputs into a score.
        metric: its name and function.
        max_drop: how far the metric may fall, in its own units.
        file: the pre-processing stage's code; it truncates long texts as it does when served.
        parameters: its parameters.
        axes: the graph's ragged axes.
        name: what a person calls the candidate.
        out: the report to write.

    Returns:
        ``metric``, ``baseline``, ``candidate_value``, ``max_drop``, ``samples``.

    Raises:
        VerificationError: the metric falls by more than the budget.
    """
    requests = [{"text": np.array([[text.encode()]], dtype=object)} for text in data.texts]
    rows = rows_from_requests(requests, inputs["tokenizer"], file=file, parameters=parameters)
    label, measure = metric
    values = []
    for engine, key in zip(engines, ("baseline", "candidate"), strict=True):
        outputs = _outputs(engine.open(inputs[key]), rows, axes, ragged=key == "candidate")
        left, right = data.pairs[:, 0], data.pairs[:, 1]
        scores = pair_scores({n: a[left] for n, a in outputs.items()}, {n: a[right] for n, a in outputs.items()})
        values.append(measure(scores, data.ratings))
    baseline, candidate = values
    if not candidate >= baseline - max_drop:
        raise VerificationError(
            f"{name}: {label} falls from {baseline:.4f} (FP32) to {candidate:.4f}, more than the {max_drop:g} allowed",
            hint="Choose a safer precision for this target, or raise gates.accuracy.max_drop if that is acceptable.",
            metric=label,
            candidate=name,
        )
    facts = {
        "status": "verified",
        "metric": label,
        "baseline": baseline,
        "candidate_value": candidate,
        "max_drop": max_drop,
        "samples": len(data.ratings),
    }
    out.write_text(json.dumps(facts, indent=1))
    return facts


def _outputs(session: Session, rows: list[Tensors], axes: Sequence[RaggedAxis], *, ragged: bool) -> Tensors:
    """Every output for every row, in the rows' order; run in batches of like length."""
    order = sorted(range(len(rows)), key=lambda index: total_length(rows[index], axes))
    parts: list[Tensors] = []
    for begin in range(0, len(order), _BATCH):
        batch, lengths = joined([rows[index] for index in order[begin : begin + _BATCH]], axes)
        parts.append(session.run(ragged_inputs(batch, axes, lengths) if ragged else batch))
    back = np.argsort(order)
    return {name: np.concatenate([part[name] for part in parts])[back] for name in parts[0]}
