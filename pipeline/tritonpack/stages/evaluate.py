"""The task's own metric on labelled data, FP32 against the candidate: the accuracy gate."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import VerificationError
from tritonpack.stages.calibrate import padded
from tritonpack.stages.raggedize import ragged_inputs, row_lengths
from tritonpack.stages.verify import MASK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from tritonpack.core.action import Facts
    from tritonpack.engines import Engine, Session
    from tritonpack.evaluation import RatedPairs
    from tritonpack.tasks import Task

VERSION = 1
_BATCH = 16


def accuracy_from_candidate(
    inputs: Mapping[str, Path],
    data: RatedPairs,
    *,
    engines: tuple[Engine, Engine],
    task: Task,
    metric: tuple[str, Callable[[NDArray[Any], NDArray[Any]], float]],
    max_drop: float,
    length: int,
    pad_id: int,
    name: str,
    out: Path,
) -> Facts:
    """Measure the metric with the FP32 graph and with the candidate, and hold the drop to the budget.

    Args:
        inputs: ``baseline`` (the exported graph, padded inputs), ``candidate`` (ragged inputs) and
            ``tokenizer``.
        data: rated pairs.
        engines: what opens the baseline and the candidate.
        task: turns two texts' outputs into a score.
        metric: its name and function.
        max_drop: how far the metric may fall, in its own units.
        length: longest row in tokens; longer texts are truncated, as they are when served.
        pad_id: the id to pad with.
        name: what a person calls the candidate.
        out: the report to write.

    Returns:
        ``metric``, ``baseline``, ``candidate_value``, ``max_drop``, ``samples``.

    Raises:
        VerificationError: the metric falls by more than the budget.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(inputs["tokenizer"]))
    tokenizer.enable_truncation(length)
    rows = [encoding.ids for encoding in tokenizer.encode_batch(data.texts)]
    label, measure = metric
    values = []
    for engine, key in zip(engines, ("baseline", "candidate"), strict=True):
        outputs = _outputs(engine.open(inputs[key]), rows, pad_id, ragged=key == "candidate")
        left, right = data.pairs[:, 0], data.pairs[:, 1]
        scores = task.pair_scores({n: a[left] for n, a in outputs.items()}, {n: a[right] for n, a in outputs.items()})
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


def _outputs(session: Session, rows: list[list[int]], pad_id: int, *, ragged: bool) -> dict[str, NDArray[Any]]:
    """Every output for every row, in the rows' order; run in batches of like length."""
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    parts: list[dict[str, NDArray[Any]]] = []
    for begin in range(0, len(order), _BATCH):
        batch = padded([rows[index] for index in order[begin : begin + _BATCH]], pad_id)
        parts.append(session.run(ragged_inputs(batch, row_lengths(batch[MASK])) if ragged else batch))
    back = np.argsort(order)
    return {name: np.concatenate([part[name] for part in parts])[back] for name in parts[0]}
