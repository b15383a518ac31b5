"""Classes, and numbers where the model has one score and labels are numbers (regression, reranking).

Labels are names as the model answers them, or numbers that such names end with (``3`` for ``LABEL_3`` or ``3``); a
data set's ``names`` gives other numbers their names. Precision, recall and F1 are the means over the labels (macro),
of two labels too. ROC-AUC is of one label against the rest, the mean over the labels; it needs the scores of all
labels, so where the recipe answers only ``top_k`` of them it is NaN.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import SourceError
from tritonpack.evaluation.scorers import Confusion, Curve, Metric, Scores
from tritonpack.evaluation.scorers._classes import class_scores, named_answers
from tritonpack.evaluation.scorers._numbers import pearson, precision_recall_f1, roc_auc, spearman

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tritonpack.core.tensors import Tensors
    from tritonpack.evaluation import Examples

_CURVES = 10
_TWO = 2


class ClassificationScorer:
    """Scores ``labels, scores (1, k)``, best first."""

    version = 1
    takes_pairs = False

    def metrics(self, examples: Examples) -> Mapping[str, Metric]:
        """Those of classes for names, those of numbers for fractions; both for whole numbers, which may be either.

        Where the answers are of the other kind a metric is NaN.

        Raises:
            SourceError: a label is neither a name nor a number, or there are both.
        """
        kinds = {_kind(label, row) for row, label in enumerate(examples.expected or (), start=1)}
        if "name" in kinds and len(kinds) > 1:
            raise SourceError("labels are names in some rows and numbers in others", hint="Use one of them.")
        if "name" in kinds or not kinds:
            return _OF_CLASSES
        return _OF_NUMBERS if "number" in kinds else {**_OF_CLASSES, **_OF_NUMBERS}

    def answers(self, outputs: Sequence[Tensors]) -> list[Any]:
        """The best label's name; the number, where the model gives one score."""
        answers = named_answers(outputs)
        return answers.numbers if answers.is_one_score else answers.best

    def scores(self, examples: Examples, outputs: Sequence[Tensors]) -> Scores:
        """Classes as numbers of ``shared["names"]`` with all scores, or two columns of numbers.

        The loss of a class is by how much the best score is above the right label's; of a number, its error.

        Raises:
            SourceError: a label isn't one of the model's.
        """
        answers = named_answers(outputs)
        labels = list(examples.expected or ())
        kinds = {_kind(label, row) for row, label in enumerate(labels, start=1)}
        if answers.is_one_score and "name" not in kinds:
            return _of_numbers(np.array(labels, dtype=np.float64), np.array(answers.numbers))
        return class_scores(labels, answers)

    def curves(self, scores: Scores) -> list[Curve]:
        """ROC curves: of two labels the second's, of more that of each of the ten commonest against the rest."""
        from sklearn.metrics import roc_curve

        if "scores" not in scores.columns:
            return []
        expected = scores.columns["expected"]
        counts = np.bincount(expected, minlength=len(scores.shared["names"]))
        order = [1] if len(counts) == _TWO else np.argsort(-counts, kind="stable")[:_CURVES].tolist()
        curves = []
        for label in order:
            if 0 < counts[label] < len(expected):
                wrong, right, _ = roc_curve(expected == label, scores.columns["scores"][:, label])
                name = scores.shared["names"][label]
                curves.append(Curve(name, "false positive rate", "true positive rate", wrong.tolist(), right.tolist()))
        return curves

    def confusion(self, scores: Scores) -> Confusion | None:
        """Of classes; none of numbers."""
        from sklearn.metrics import confusion_matrix

        if "answered" not in scores.columns:
            return None
        names = scores.shared["names"]
        labels = list(range(len(names)))
        counts = confusion_matrix(scores.columns["expected"], scores.columns["answered"], labels=labels)
        return Confusion(names, counts.tolist())


SCORER = ClassificationScorer()


def _kind(label: Any, row: int) -> str:
    if isinstance(label, str):
        return "name"
    if isinstance(label, (bool, np.bool_)) or not isinstance(label, (int, float, np.number)):
        raise SourceError(
            f"row {row}: the label {label!r} is neither a name nor a number",
            hint="A class is a name or a number; give the data set names: [...] for true and false.",
        )
    if not math.isfinite(label):
        raise SourceError(f"row {row}: the label {label!r} isn't a finite number", hint="Correct or leave out the row.")
    return "whole" if isinstance(label, (int, np.integer)) else "number"


def _of_numbers(expected: Any, answered: Any) -> Scores:
    shown, labels = ([f"{number:.2f}" for number in numbers] for numbers in (answered, expected))
    columns = {"expected_number": expected, "answered_number": answered}
    return Scores(columns, np.abs(expected - answered), shown, labels)


def _held_against(function: Callable[[Any, Any], float], *names: str) -> Metric:
    """A metric of two columns, NaN for answers that have others."""

    def metric(scores: Scores) -> float:
        columns = [scores.columns.get(name) for name in names]
        return math.nan if any(column is None for column in columns) else float(function(*columns))

    return metric


def _accuracy(expected: Any, answered: Any) -> float:
    return float((expected == answered).mean())


def _macro(place: int) -> Callable[[Any, Any], float]:
    def mean(expected: Any, answered: Any) -> float:
        return float(precision_recall_f1(expected, answered)[place].mean())

    return mean


def _roc_auc(expected: Any, scores: Any) -> float:
    areas = roc_auc(scores, expected[:, None] == np.arange(scores.shape[1]))
    decided = areas[np.isfinite(areas)]
    return float(decided.mean()) if len(decided) else math.nan


def _negative_error(expected: Any, answered: Any) -> float:
    from sklearn.metrics import mean_absolute_error

    return -float(mean_absolute_error(expected, answered))


_OF_CLASSES: dict[str, Metric] = {
    "accuracy": _held_against(_accuracy, "expected", "answered"),
    "f1": _held_against(_macro(2), "expected", "answered"),
    "precision": _held_against(_macro(0), "expected", "answered"),
    "recall": _held_against(_macro(1), "expected", "answered"),
    "roc_auc": _held_against(_roc_auc, "expected", "scores"),
}
_OF_NUMBERS: dict[str, Metric] = {
    "spearman": _held_against(spearman, "expected_number", "answered_number"),
    "pearson": _held_against(pearson, "expected_number", "answered_number"),
    "neg_mean_absolute_error": _held_against(_negative_error, "expected_number", "answered_number"),
}
