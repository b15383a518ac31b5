"""The accuracy gate: the task's own metric on labelled data must not fall far below FP32's."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from tritonpack.core.errors import RecipeError, VerificationError
from tritonpack.core.registry import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tritonpack.core.action import Facts
    from tritonpack.engines import Session

VERSION = 1

T = TypeVar("T")


@dataclass(frozen=True)
class MetricBudget:
    """The accuracy gate inside a search.

    Args:
        name: the metric's.
        baseline: what FP32 reaches.
        max_drop: how far a candidate may fall below it.
        measure: the metric of a session that takes padded inputs.
    """

    name: str
    baseline: float
    max_drop: float
    measure: Callable[[Session], float]

    def violation(self, value: float) -> str:
        """What is broken, as a sentence, or an empty string."""
        if value >= self.baseline - self.max_drop:
            return ""
        return f"{self.name} falls from {self.baseline:.4f} to {value:.4f}, more than {self.max_drop:g}"


def chosen_metric(name: str | None, metrics: Mapping[str, T]) -> tuple[str, T]:
    """The metric of this name, or the usual one, which is the first.

    Raises:
        RecipeError: the data and the task have no such metric.
    """
    if name is None:
        return next(iter(metrics.items()))
    if name not in metrics:
        raise RecipeError(
            f"gates.accuracy.metric: '{name}' doesn't fit this task and data; there are: {', '.join(metrics)}",
            hint=did_you_mean(name, list(metrics)),
            field="gates.accuracy.metric",
        )
    return name, metrics[name]


def check_accuracy(report: Path, *, metric: str | None, max_drop: float, name: str, out: Path) -> Facts:
    """Hold a report of `tritonpack.stages.score` to the budget.

    Args:
        report: the report.
        metric: what is held; None for the usual one.
        max_drop: how far it may fall, in its own units.
        name: what a person calls the candidate.
        out: the verdict to write.

    Returns:
        ``status`` "verified", ``metric``, ``baseline``, ``candidate_value``, its interval, ``max_drop``, ``samples``.

    Raises:
        VerificationError: the metric falls by more than the budget.
        RecipeError: there is no such metric.
    """
    found = json.loads(report.read_text(encoding="utf-8"))
    label, figures = chosen_metric(metric, found["metrics"])
    value, baseline = figures["value"], figures["fp32"]["value"]
    if value is None or baseline is None or value < baseline - max_drop:
        raise VerificationError(
            f"{name}: {label} falls from {_text(baseline)} (FP32) to {_text(value)}, "
            f"more than the {max_drop:g} allowed",
            hint="Choose a safer precision for this target, or raise gates.accuracy.max_drop if that is acceptable.",
            metric=label,
            candidate=name,
        )
    facts = {
        "status": "verified",
        "metric": label,
        "baseline": baseline,
        "candidate_value": value,
        "interval": [figures["low"], figures["high"]],
        "max_drop": max_drop,
        "samples": found["samples"],
    }
    out.write_text(json.dumps(facts, indent=1))
    return facts


def _text(value: float | None) -> str:
    return "nothing that the samples decide" if value is None else f"{value:.4f}"
