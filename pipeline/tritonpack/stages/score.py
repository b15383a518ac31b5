"""What a candidate's answers are worth beside FP32's: metrics with intervals, paired differences, equal answers."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from tritonpack.core.tensors import agreement_of
from tritonpack.evaluation.intervals import difference, interval
from tritonpack.stages.predict import read_predictions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tritonpack.core.action import Facts
    from tritonpack.core.tensors import Tensors
    from tritonpack.evaluation import Examples
    from tritonpack.evaluation.intervals import Interval
    from tritonpack.evaluation.scorers import Curve, Scorer, Scores

VERSION = 1

LABELLED = "labels"
AGREEMENT = "agreement with FP32"

Predictions: TypeAlias = "Path | Sequence[Tensors]"
"""A file of `tritonpack.stages.predict`, or its content."""

_CURVE_POINTS = 200


class Scored(NamedTuple):
    """Two precisions' answers held against the same labels."""

    examples: Examples
    against: str
    baseline: Scores
    candidate: Scores


def report_from_predictions(
    candidate: Predictions,
    baseline: Predictions,
    *,
    examples: Examples,
    scorer: Scorer,
    out: Path | None = None,
) -> Facts:
    """Score a candidate's answers and FP32's.

    Args:
        candidate: its public outputs.
        baseline: FP32's.
        examples: what was asked, in the same order; where nobody labelled it, FP32's answers are the labels.
        scorer: the task's.
        out: the report to write.

    Returns:
        ``samples``; ``against``, `LABELLED` or `AGREEMENT`; ``origin`` of the labels; ``metrics``, by name, the usual
        one first: ``value, low, high`` (95% interval), and the same of ``fp32`` and of the paired ``difference`` to
        it; ``same_answers``, how many samples are answered as FP32 answers them; ``outputs``, by name of those that
        hold numbers: ``mean_cosine, min_cosine, max_abs_error`` to FP32's; ``curves`` and ``confusion``. A number
        that the samples don't decide is None.

    Raises:
        SourceError: the labels aren't what the task's answers can be held against.
    """
    ours, theirs = outputs_of(candidate), outputs_of(baseline)
    scored = scored_from_outputs(ours, theirs, examples, scorer)
    metrics = {}
    for name, metric in scorer.metrics(scored.examples).items():
        metrics[name] = {
            **_figure(interval(metric, scored.candidate)),
            "fp32": _figure(interval(metric, scored.baseline)),
            "difference": _figure(difference(metric, scored.baseline, scored.candidate)),
        }
    confusion = scorer.confusion(scored.candidate)
    facts = {
        "samples": len(scored.examples),
        "against": scored.against,
        "origin": examples.origin,
        "metrics": metrics,
        "same_answers": _equal(scored.candidate.shown, scored.baseline.shown),
        "outputs": closeness_of_outputs(ours, theirs),
        "curves": [_curve(curve) for curve in scorer.curves(scored.candidate)],
        "confusion": confusion
        and {"labels": list(confusion.labels), "counts": [[int(count) for count in row] for row in confusion.counts]},
    }
    if out is not None:
        out.write_text(json.dumps(facts, indent=1, allow_nan=False))
    return facts


def outputs_of(predictions: Predictions) -> Sequence[Tensors]:
    """The public outputs of each request."""
    return read_predictions(predictions) if isinstance(predictions, Path) else predictions


def scored_from_outputs(
    candidate: Sequence[Tensors], baseline: Sequence[Tensors], examples: Examples, scorer: Scorer
) -> Scored:
    """Hold both against the labels, or against FP32's answers where there are none.

    Raises:
        SourceError: the labels aren't what the task's answers can be held against.
    """
    against = LABELLED
    if examples.expected is None:
        examples, against = replace(examples, expected=scorer.answers(baseline)), AGREEMENT
    return Scored(examples, against, scorer.scores(examples, baseline), scorer.scores(examples, candidate))


def closeness_of_outputs(
    candidate: Sequence[Tensors], baseline: Sequence[Tensors]
) -> dict[str, dict[str, float | None]]:
    """How close public outputs of floating-point numbers are, where every row has as many in both.

    Numbers beside texts, e.g. scores beside labels, stand best first: they are compared text by text, and not at all
    where the texts differ.

    Returns:
        By output ``mean_cosine`` and ``min_cosine`` over the rows, and ``max_abs_error``, None if it isn't finite.
    """
    names = [name for name, array in (baseline[0] if baseline else {}).items() if array.dtype.kind == "f"]
    measured = {}
    for name in names:
        arrays = _matched(candidate, baseline, name)
        if arrays is None:
            continue
        agreement = agreement_of(*arrays)
        measured[name] = {
            "mean_cosine": agreement.mean_cosine,
            "min_cosine": agreement.min_cosine,
            "max_abs_error": _finite(agreement.max_abs_error),
        }
    return measured


def _figure(measured: Interval) -> dict[str, float | None]:
    return {name: _finite(getattr(measured, name)) for name in ("value", "low", "high")}


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _equal(one: Sequence[str], other: Sequence[str]) -> int:
    return sum(left == right for left, right in zip(one, other, strict=True))


def _curve(curve: Curve) -> dict[str, Any]:
    """At most `_CURVE_POINTS` points, the ends among them."""
    count = len(curve.x)
    places = np.unique(np.linspace(0, max(count - 1, 0), min(count, _CURVE_POINTS)).round().astype(int))
    points = {axis: [float(getattr(curve, axis)[place]) for place in places] for axis in ("x", "y")}
    return {"name": curve.name, "x_title": curve.x_title, "y_title": curve.y_title, **points}


def _matched(
    candidate: Sequence[Tensors], baseline: Sequence[Tensors], name: str
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """FP32's and the candidate's numbers, one vector a row; a number a row is one vector of all of them."""
    expected: list[NDArray[Any]] = []
    actual: list[NDArray[Any]] = []
    for one, other in zip(baseline, candidate, strict=True):
        if one[name].shape != other[name].shape:
            return None
        orders = [_order_of_texts(row, name) for row in (one, other)]
        if orders[0][0] != orders[1][0]:
            return None
        for rows, row, (_, order) in ((expected, one, orders[0]), (actual, other, orders[1])):
            flat = row[name].reshape(-1)
            rows.append(flat if order is None else flat[order])
    if len({row.size for row in expected}) != 1:
        return None
    vectors = np.stack(expected), np.stack(actual)
    return (vectors[0].T, vectors[1].T) if expected[0].size == 1 else vectors


def _order_of_texts(row: Tensors, name: str) -> tuple[list[Any], list[int] | None]:
    """The texts that stand beside numbers in alphabetical order, and where each stands; no order without texts."""
    shape = row[name].shape
    beside = [array.reshape(-1).tolist() for array in row.values() if array.dtype.kind == "O" and array.shape == shape]
    if not beside:
        return [], None
    texts = list(zip(*beside, strict=True))
    order = sorted(range(len(texts)), key=texts.__getitem__)
    return [texts[place] for place in order], order
