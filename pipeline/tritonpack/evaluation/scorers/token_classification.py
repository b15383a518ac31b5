"""Entities: a span is right if its start, its end and its label are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tritonpack.core.errors import SourceError
from tritonpack.evaluation.scorers import Metric, Scores
from tritonpack.evaluation.scorers._numbers import mean_of, ratio
from tritonpack.evaluation.scorers._plain import Plain
from tritonpack.evaluation.scorers._texts import texts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tritonpack.core.tensors import Tensors
    from tritonpack.evaluation import Examples

Span: TypeAlias = tuple[int, int, str]
_FORM = 'Each label is a list of {"start": ..., "end": ..., "label": ...} or [start, end, label], in characters.'
_PARTS = ("start", "end", "label")
_PLACES = 10
"""As many right places with never a known label aren't chance: the labels have other names."""


class TokenClassificationScorer(Plain):
    """Scores ``labels, starts, ends (1, n)`` of which ``counts (1, 1)`` are entities."""

    version = 1

    def metrics(self, examples: Examples) -> Mapping[str, Metric]:
        """Of spans over all texts together (micro), and of texts whose spans are all right.

        Raises:
            SourceError: a label isn't a list of spans.
        """
        _expected(examples)
        return {
            "span_f1": _f1,
            "span_precision": lambda scores: _part(scores, "answered"),
            "span_recall": lambda scores: _part(scores, "wanted"),
            "exact_match": mean_of("exact"),
        }

    def answers(self, outputs: Sequence[Tensors]) -> list[Any]:
        """The spans, ``(start, end, label)`` each."""
        return [_spans(output) for output in outputs]

    def scores(self, examples: Examples, outputs: Sequence[Tensors]) -> Scores:
        """Counts of spans; the loss counts those that only one of both has.

        Raises:
            SourceError: a label isn't a list of spans, or the model's labels have other names.
        """
        wanted, found = _expected(examples), self.answers(outputs)
        _check_names(wanted, found)
        pairs = [(set(answer), set(label)) for answer, label in zip(found, wanted, strict=True)]
        counts = np.array([(len(a & b), len(a), len(b)) for a, b in pairs], dtype=np.int64).reshape(-1, 3)
        right, answered, expected = counts.T
        columns = {"right": right, "answered": answered, "wanted": expected}
        losses = (answered + expected - 2 * right).astype(np.float64)
        columns["exact"] = (losses == 0).astype(np.float64)
        shown, labels = (
            [_text(spans, row) for spans, row in zip(every, examples.rows, strict=True)] for every in (found, wanted)
        )
        return Scores(columns, losses, shown, labels)


SCORER = TokenClassificationScorer()


def _f1(scores: Scores) -> float:
    sums = {name: column.sum() for name, column in scores.columns.items()}
    return ratio(2 * sums["right"], sums["answered"] + sums["wanted"])


def _part(scores: Scores, of: str) -> float:
    """Right spans among those of a column; 0 if there are none of these, but some on the other side."""
    sums = {name: column.sum() for name, column in scores.columns.items()}
    return 0.0 if not sums[of] and sums["answered"] + sums["wanted"] else ratio(sums["right"], sums[of])


def _spans(output: Tensors) -> list[Span]:
    count = int(output["counts"][0, 0])
    columns = (output[name][0, :count].tolist() for name in ("starts", "ends"))
    return list(zip(*columns, texts_of(output["labels"][0, :count]), strict=True))


def _expected(examples: Examples) -> list[list[Span]]:
    labels = examples.expected or []
    return [_label(label, row) for row, label in enumerate(labels, start=1)]


def _label(label: Any, row: int) -> list[Span]:
    if isinstance(label, (str, bytes, Mapping)) or not hasattr(label, "__iter__"):
        raise SourceError(f"row {row}: the label {label!r} isn't a list of entities", hint=_FORM)
    return [_span(entity, row) for entity in label]


def _span(entity: Any, row: int) -> Span:
    try:
        start, end, label = (entity[part] for part in _PARTS) if isinstance(entity, Mapping) else entity
        span = int(start), int(end), str(label)
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(f"row {row}: {entity!r} isn't an entity", hint=_FORM) from error
    if not 0 <= span[0] < span[1]:
        raise SourceError(f"row {row}: the entity {entity!r} ends before it starts", hint=_FORM)
    return span


def _check_names(wanted: Sequence[Sequence[Span]], found: Sequence[Sequence[Span]]) -> None:
    """Labels that never meet, at places that do, have other names in the data than in the model."""
    kinds = [{label for spans in every for *_, label in spans} for every in (wanted, found)]
    places = [{(row, *place) for row, spans in enumerate(every) for *place, _ in spans} for every in (wanted, found)]
    if kinds[0].isdisjoint(kinds[1]) and len(places[0] & places[1]) >= _PLACES:
        raise SourceError(
            f"the data's labels ({', '.join(sorted(kinds[0]))}) aren't the model's ({', '.join(sorted(kinds[1]))})",
            hint="Name the data's labels as the model does.",
        )


def _text(spans: Sequence[Span], row: Mapping[str, Any]) -> str:
    text = next((value for value in row.values() if isinstance(value, str)), "")
    return ", ".join(f"{text[start:end]} ({label})" for start, end, label in sorted(spans)) or "nothing"
