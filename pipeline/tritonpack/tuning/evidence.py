"""What a search leaves: an overlay with its evidence for people and builds, and a document for programs."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import yaml

from tritonpack.core.errors import StoreError
from tritonpack.tuning.confirm import Verdict, median_point
from tritonpack.tuning.study import Outcome

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.tuning.tune import Tuned

_HEAD = """\
# Written by `tritonpack tune`; lay it over its recipe:
#   tritonpack build {recipe}.yaml --overlay {file}
"""


def evidence_of(tuned: Tuned) -> dict[str, Any]:
    """Where, on what and against what the settings were measured."""
    confirmation = tuned.confirmation
    document: dict[str, Any] = {
        "recipe": tuned.recipe,
        "slo": str(tuned.plan.slo),
        "measured_at": tuned.started_at,
        "machine": asdict(tuned.machine),
        "versions": {"load": tuned.load, **tuned.versions},
        "texts": dict(tuned.texts),
        "trials": {
            "sampler": str(tuned.plan.sampler),
            **{str(outcome): sum(trial.outcome is outcome for trial in tuned.trials) for outcome in Outcome},
        },
    }
    if tuned.found is not None and confirmation is not None:
        document["confirmed"] = {
            "rounds": len(confirmation.found),
            "seconds_each": confirmation.found[0].duration_s,
            "found": {"concurrency": tuned.found.concurrency, **median_point(confirmation.found)},
            "own": {"concurrency": tuned.own.concurrency, **median_point(confirmation.own)},
            "throughput_ratio": confirmation.as_dict()["ratio"],
        }
    return document


def document_from_tuned(tuned: Tuned) -> dict[str, Any]:
    """Everything that was measured, for programs."""
    return {
        "format": 1,
        "result": str(tuned.result),
        "reason": reason_of(tuned),
        "overlay": None if tuned.overlay is None else dict(tuned.overlay),
        "evidence": evidence_of(tuned),
        "own": tuned.own.as_dict(),
        "found": None if tuned.found is None else tuned.found.as_dict(),
        "confirmation": None if tuned.confirmation is None else tuned.confirmation.as_dict(),
        "trials": [trial.as_dict() for trial in tuned.trials],
        "left_out": dict(tuned.left_out),
    }


def reason_of(tuned: Tuned) -> str:
    """Why the result is what it is, in a sentence."""
    confirmation, slo = tuned.confirmation, tuned.plan.slo
    if confirmation is None:
        held = tuned.own.best is not None and tuned.own.best.holds
        return (
            f"no other settings were found that keep {slo}"
            if held
            else f"no settings keep {slo}; the nearest came to {nearest(tuned):.2f} times the limit"
        )
    interval = f"95%: {confirmation.low:.2f} to {confirmation.high:.2f}"
    ratio = f"{confirmation.ratio:.2f} times the throughput of the recipe's own ({interval})"
    match confirmation.verdict:
        case Verdict.FASTER:
            return f"the settings found keep {slo} with {ratio}"
        case Verdict.HOLDS:
            return f"the settings found keep {slo}, the recipe's own don't"
        case Verdict.NOISE:
            return f"the best settings found have {ratio}: that is within the noise"
        case Verdict.SLOWER:
            return f"the best settings found have {ratio}"
        case Verdict.MISSES:
            return f"the best settings found miss {slo} when they are measured again"


def nearest(tuned: Tuned) -> float:
    """How near anything came to the objective: the least ratio to its limit."""
    return min(trial.best.excess for trial in tuned.trials if trial.best is not None)


def write_overlay(tuned: Tuned, file: Path) -> None:
    """Write the overlay with its evidence.

    Raises:
        StoreError: the file can't be written.
    """
    head = _HEAD.format(recipe=tuned.recipe, file=file.name)
    body = yaml.safe_dump(
        {**(tuned.overlay or {}), "evidence": evidence_of(tuned)}, sort_keys=False, allow_unicode=True, width=120
    )
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(head + body, encoding="utf-8")
    except OSError as error:
        raise StoreError(
            f"the overlay can't be written to {file}: {error.strerror}", hint="name another file with --output"
        ) from error
