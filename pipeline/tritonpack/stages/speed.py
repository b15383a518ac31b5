"""How many times as fast a candidate is as another, side by side in one run."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import numpy as np

from tritonpack.core.errors import VerificationError
from tritonpack.stages.raggedize import ragged_inputs
from tritonpack.stages.reference import read_reference

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tritonpack.core.action import Facts
    from tritonpack.core.model import RaggedAxis
    from tritonpack.core.tensors import Tensors
    from tritonpack.engines import Engine, Session

VERSION = 2
_ROUNDS = 15
_WARM_ROUNDS = 2
_ROUND_S = 0.6
"""About how long a round may take the baseline: more rows say no more, and a build shouldn't wait for them."""


def speed_from_engines(
    candidate: Path, baseline: Path, reference: Path, *, engine: Engine, axes: Sequence[RaggedAxis], out: Path
) -> Facts:
    """Time both on the same batches, one after the other in each round, so that what slows one slows the other.

    Args:
        candidate: the file in question.
        baseline: what it is held against.
        reference: batches of real rows, of like length each.
        engine: opens both.
        axes: the graph's ragged axes.
        out: the report to write.

    Returns:
        ``speedup``: the median over the rounds of the baseline's time by the candidate's; the quartiles; the median
        seconds of each for all the rows; ``rows``.
    """
    every = read_reference(reference)
    sessions = engine.open(baseline), engine.open(candidate)
    batches = [ragged_inputs(case.inputs, axes, case.lengths) for case in every]
    _seconds(sessions[0], batches[:1])
    share = min(1.0, _ROUND_S / _seconds(sessions[0], batches))
    places = np.unique(np.linspace(0, len(batches) - 1, max(1, round(share * len(batches)))).round().astype(int))
    batches = [batches[place] for place in places]
    rounds = np.array([[_seconds(session, batches) for session in sessions] for _ in range(_WARM_ROUNDS + _ROUNDS)])
    kept = rounds[_WARM_ROUNDS:]
    ratios = kept[:, 0] / kept[:, 1]
    low, middle, high = np.quantile(ratios, (0.25, 0.5, 0.75)).tolist()
    facts = {
        "speedup": middle,
        "quartiles": [low, high],
        "baseline_s": float(np.median(kept[:, 0])),
        "candidate_s": float(np.median(kept[:, 1])),
        "rows": sum(len(next(iter(every[place].inputs.values()))) for place in places),
        "rounds": _ROUNDS,
    }
    out.write_text(json.dumps(facts, indent=1))
    return facts


def check_speed(inputs: Mapping[str, Path], *, least: float, name: str, safer: str, out: Path) -> Facts:
    """Hold ``inputs["speed"]`` to the least speedup.

    Raises:
        VerificationError: the candidate doesn't pay.
    """
    found = json.loads(inputs["speed"].read_text(encoding="utf-8"))
    if found["speedup"] < least:
        raise VerificationError(
            f"{name}: {found['speedup']:.2f} times as fast as {safer} ({found['candidate_s'] * 1e3:.1f} ms against "
            f"{found['baseline_s'] * 1e3:.1f} ms for {found['rows']} rows), but gates.min_speedup is {least:g}: it "
            "doesn't pay",
            hint=f"Use precision: {safer}, or set gates.min_speedup (null: slower will do).",
            candidate=name,
            speedup=found["speedup"],
        )
    facts = {"status": "verified", "min_speedup": least, "safer": safer, **found}
    out.write_text(json.dumps(facts, indent=1))
    return facts


def _seconds(session: Session, batches: Sequence[Tensors]) -> float:
    begin = time.perf_counter()
    for batch in batches:
        session.run(batch)
    return time.perf_counter() - begin
