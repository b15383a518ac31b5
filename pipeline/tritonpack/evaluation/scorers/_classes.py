"""A classifier's answers beside the labels, as numbers of names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import SourceError
from tritonpack.core.registry import did_you_mean
from tritonpack.evaluation.scorers import Scores
from tritonpack.evaluation.scorers._texts import texts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tritonpack.core.tensors import Tensors

_LEAST_LOSS = 1e-6
"""Of a wrong answer whose score is the right one's too: it is still wrong."""


@dataclass(frozen=True)
class Answers:
    """What a classifier answered.

    Args:
        rows: for each row its labels and scores, best first.
        names: every label that was answered, sorted.
        complete: whether every row has the scores of all labels.
    """

    rows: Sequence[tuple[list[str], NDArray[Any]]]
    names: list[str]
    complete: bool

    @property
    def best(self) -> list[str]:
        """Each row's best label."""
        return [labels[0] for labels, _ in self.rows]

    @property
    def numbers(self) -> list[float]:
        """Each row's best score."""
        return [float(scores[0]) for _, scores in self.rows]

    @property
    def is_one_score(self) -> bool:
        """Whether the model gives one score alone, always of the same name."""
        return len(self.names) == 1


def named_answers(outputs: Sequence[Tensors]) -> Answers:
    """Read ``labels, scores (1, k)`` of each row."""
    rows = [(texts_of(output["labels"][0]), np.asarray(output["scores"][0], dtype=np.float64)) for output in outputs]
    names = sorted({label for labels, _ in rows for label in labels})
    complete = len(names) > 1 and all(len(labels) == len(names) for labels, _ in rows)
    return Answers(rows, names, complete)


def class_scores(labels: Sequence[Any], answers: Answers) -> Scores:
    """Names as places in ``shared["names"]``, with every label's score where the answers have them all.

    Raises:
        SourceError: a label isn't one of the model's; of cut answers, none of the labels was ever answered.
    """
    wanted = [_name(label, answers.names) for label in labels]
    _check_known(wanted, answers)
    names = sorted({*answers.names, *wanted})
    place = {name: number for number, name in enumerate(names)}
    columns: dict[str, NDArray[Any]] = {
        "expected": np.array([place[name] for name in wanted], dtype=np.int64),
        "answered": np.array([place[name] for name in answers.best], dtype=np.int64),
    }
    if answers.complete:
        columns["scores"] = np.array([scores[np.argsort(row)] for row, scores in answers.rows])
    losses = np.array([_loss(name, *row) for name, row in zip(wanted, answers.rows, strict=True)])
    return Scores(columns, losses, answers.best, wanted, {"names": names})


def _name(label: Any, names: Sequence[str]) -> str:
    """The model's name for a label that may be a number."""
    if isinstance(label, str):
        return label
    if isinstance(label, (int, np.integer)):
        if str(label) in names or all(name.isdigit() for name in names):
            return str(label)
        if any(name.startswith("LABEL_") for name in names):
            return f"LABEL_{label}"
    raise SourceError(
        f"the label {label!r} is a number, and the model answers names: {_few(names)}",
        hint="Give the data set names: [...], the name of each number in order, from 0.",
        label=label,
    )


def _check_known(wanted: Sequence[str], answers: Answers) -> None:
    unknown = [name for name in dict.fromkeys(wanted) if name not in answers.names]
    # What a cut answer doesn't hold may still be a label of the model, unless that is so of every label.
    never = len(answers.names) > 1 and len(unknown) == len(set(wanted)) > 1
    if unknown and (answers.complete or never):
        raise SourceError(
            f"the model has no label '{unknown[0]}'; it answers: {_few(answers.names)}",
            hint=did_you_mean(unknown[0], answers.names)
            or "Name the data's labels as the model does, or say its labels in the recipe: task.labels.",
            label=unknown[0],
        )


def _few(names: Sequence[str], count: int = 20) -> str:
    return ", ".join(names[:count]) + (f" and {len(names) - count} others" if len(names) > count else "")


def _loss(name: str, labels: Sequence[str], scores: NDArray[Any]) -> float:
    """By how much the best score is above the right label's; one that isn't answered has at most the last's, or 0."""
    if labels[0] == name:
        return 0.0
    right = scores[labels.index(name)] if name in labels else min(float(scores[-1]), 0.0)
    return max(float(scores[0] - right), _LEAST_LOSS)
