"""Error analysis: the samples that a candidate answers otherwise than its baseline or worse, and in which slices."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from tritonpack.core.errors import ConfigurationError
from tritonpack.core.registry import did_you_mean
from tritonpack.reports.documents import ErrorReport, Sample, Slice
from tritonpack.stages.score import outputs_of, scored_from_outputs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tritonpack.evaluation import Examples
    from tritonpack.evaluation.scorers import Metric, Scorer
    from tritonpack.stages.score import Predictions, Scored

_MOST_VALUES = 12
"""Parts of one slice: more would be read by nobody."""
_BUCKETS = 4
_GROWTH = 1e-6
"""What a loss must grow by to count: less is a rounding."""
_OTHER = "other"


class _Part(NamedTuple):
    """A part of a slice; parts are shown in the order of their rank."""

    rank: int
    name: str


def errors_from_predictions(
    candidate: Predictions,
    baseline: Predictions,
    *,
    examples: Examples,
    scorer: Scorer,
    metric: str = "",
    lengths: Sequence[int] | None = None,
    recipe: str = "",
    names: tuple[str, str] = ("fp32", "candidate"),
) -> ErrorReport:
    """Compare two precisions' answers sample by sample.

    Args:
        candidate: its public outputs.
        baseline: those that it is held against.
        examples: what was asked, in the same order; where nobody labelled it, the baseline's answers are the labels.
        scorer: the task's.
        metric: the slices' metric; empty for the task's usual one.
        lengths: tokens of each row; None to slice by characters.
        recipe: its name, for the report.
        names: what a person calls the baseline and the candidate.

    Raises:
        ConfigurationError: there is no such metric.
        SourceError: the labels aren't what the task's answers can be held against.
    """
    scored = scored_from_outputs(outputs_of(candidate), outputs_of(baseline), examples, scorer)
    name, measure = _metric(scorer.metrics(scored.examples), metric)
    cuts = _cuts(scored, lengths)
    changed = np.array([one != other for one, other in zip(*_shown(scored), strict=True)], dtype=bool)
    growth = np.nan_to_num(scored.candidate.losses - scored.baseline.losses)
    worse = growth > _GROWTH
    places = np.flatnonzero(changed | worse)
    places = places[np.lexsort((~changed[places], -growth[places]))]
    return ErrorReport(
        recipe=recipe,
        baseline=names[0],
        candidate=names[1],
        metric=name,
        against=scored.against,
        total=len(scored.examples),
        changed=int(changed.sum()),
        worse=int(worse.sum()),
        samples=[_sample(scored, int(place), cuts, changed=bool(changed[place])) for place in places],
        slices=[
            _slice(scored, measure, cut, value, np.array([part == value for part in parts]), changed)
            for cut, parts in cuts.items()
            for value in sorted(set(parts))
        ],
    )


def _metric(metrics: Mapping[str, Metric], name: str) -> tuple[str, Metric]:
    chosen = name or next(iter(metrics))
    if chosen not in metrics:
        raise ConfigurationError(
            f"the data set has no metric '{name}'; it has: {', '.join(metrics)}",
            hint=did_you_mean(name, list(metrics)),
            metric=name,
        )
    return chosen, metrics[chosen]


def _shown(scored: Scored) -> tuple[Sequence[str], Sequence[str]]:
    return scored.baseline.shown, scored.candidate.shown


def _sample(scored: Scored, place: int, cuts: Mapping[str, Sequence[_Part]], *, changed: bool) -> Sample:
    baseline, candidate = _shown(scored)
    return Sample(
        index=place,
        inputs=_inputs(scored.examples, place),
        expected=scored.baseline.expected[place],
        baseline=baseline[place],
        candidate=candidate[place],
        changed=changed,
        baseline_loss=_finite(scored.baseline.losses[place]),
        candidate_loss=_finite(scored.candidate.losses[place]),
        slices={name: parts[place].name for name, parts in cuts.items()},
    )


def _slice(
    scored: Scored, measure: Metric, name: str, value: _Part, inside: NDArray[np.bool_], changed: NDArray[np.bool_]
) -> Slice:
    places = np.flatnonzero(inside)
    return Slice(
        name=name,
        value=value.name,
        samples=len(places),
        changed=int(changed[places].sum()),
        baseline=_finite(measure(scored.baseline.taken(places))),
        candidate=_finite(measure(scored.candidate.taken(places))),
    )


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _inputs(examples: Examples, place: int) -> dict[str, str]:
    """What was asked, as texts; of a pair both rows."""
    if examples.pairs is None:
        return {name: _text(value) for name, value in examples.rows[place].items()}
    sides = zip(("first", "second"), examples.pairs[place], strict=True)
    return {f"{name}, {side}": _text(value) for side, row in sides for name, value in examples.rows[row].items()}


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, str) else f"{np.asarray(value).size:,} numbers"


def _cuts(scored: Scored, lengths: Sequence[int] | None) -> dict[str, list[_Part]]:
    """By name of the slice, the part that each sample is in."""
    examples, labels = scored.examples, scored.baseline.expected
    of_rows, unit = (_characters(examples), "characters") if lengths is None else (list(lengths), "tokens")
    if examples.pairs is not None:
        of_rows = [of_rows[left] + of_rows[right] for left, right in examples.pairs.tolist()]
    cuts = {"length": _buckets(of_rows, f" {unit}")} if len(set(of_rows)) > 1 else {}
    if 1 < len(set(labels)) <= _MOST_VALUES:
        cuts["label"] = _values(labels)
    for name, column in examples.columns.items():
        parts = _parts(list(column))
        if parts:
            cuts[name] = parts
    return cuts


def _characters(examples: Examples) -> list[int]:
    return [sum(len(value) for value in row.values() if isinstance(value, (str, bytes))) for row in examples.rows]


def _parts(column: Sequence[Any]) -> list[_Part]:
    """Parts of a column; none where every value stands alone or all are one."""
    distinct = len(set(map(str, column)))
    numbers = all(isinstance(value, (int, float, np.number)) and not isinstance(value, bool) for value in column)
    if distinct < 2 or (distinct == len(column) and not numbers):  # noqa: PLR2004  one part is no slice
        return []
    return _buckets(column, "") if numbers and distinct > _MOST_VALUES else _values([str(value) for value in column])


def _values(column: Sequence[str]) -> list[_Part]:
    """The value itself, the frequent ones first; the rare ones together."""
    counts = Counter(column).most_common()
    kept = counts if len(counts) <= _MOST_VALUES else counts[: _MOST_VALUES - 1]
    parts = {value: _Part(rank, value) for rank, (value, _) in enumerate(kept)}
    return [parts.get(value, _Part(len(kept), _OTHER)) for value in column]


def _buckets(numbers: Sequence[float], unit: str) -> list[_Part]:
    """Quarters of the samples, from least to greatest."""
    values = np.array(numbers, dtype=np.float64)
    ends = np.unique(np.quantile(values, np.linspace(0, 1, _BUCKETS + 1)[1:], method="inverted_cdf"))
    bucket = np.searchsorted(ends, values)
    found = {number: values[bucket == number] for number in set(bucket.tolist())}
    names = {number: f"{_range(part.min(), part.max())}{unit}" for number, part in found.items()}
    return [_Part(number, names[number]) for number in bucket.tolist()]


def _range(least: float, greatest: float) -> str:
    return f"{least:g}" if least == greatest else f"{least:g} to {greatest:g}"
