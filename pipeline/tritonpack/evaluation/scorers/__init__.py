"""What a task's answers are worth: one file a task, named as in `tritonpack.tasks`, each holding ``SCORER``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from tritonpack.core.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tritonpack.core.tensors import Tensors
    from tritonpack.evaluation import Examples


@dataclass(frozen=True)
class Scores:
    """Answers beside what was expected, one entry a sample, so that any choice of samples can be scored again.

    Args:
        columns: by name, arrays with one entry a sample; what they hold is between a scorer and its metrics.
        losses: ``(n,) float64``, how wrong each answer is: 0 is right, greater is worse.
        shown: ``(n,)`` texts: each answer as a person reads it.
        expected: ``(n,)`` texts: what was expected, likewise.
        shared: what no choice of samples changes, e.g. the label names.
    """

    columns: Mapping[str, NDArray[Any]]
    losses: NDArray[np.float64]
    shown: Sequence[str]
    expected: Sequence[str]
    shared: Mapping[str, Any] = field(default_factory=dict)

    def taken(self, places: NDArray[np.intp]) -> Scores:
        """The samples at these places, which may repeat."""
        columns = {name: column[places] for name, column in self.columns.items()}
        shown, expected = ([texts[place] for place in places] for texts in (self.shown, self.expected))
        return Scores(columns, self.losses[places], shown, expected, self.shared)


Metric: TypeAlias = Callable[[Scores], float]
"""A number in the metric's own units; greater is better. NaN where the samples don't decide it."""


@dataclass(frozen=True)
class Curve:
    """A line to be drawn, e.g. a ROC curve."""

    name: str
    x_title: str
    y_title: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Confusion:
    """How often each expected label (row) was answered as each label (column)."""

    labels: Sequence[str]
    counts: Sequence[Sequence[int]]


class Scorer(Protocol):
    """What the answers of one task are worth.

    Args:
        version: raised when `scores` or a metric would give something else.
        takes_pairs: whether what is labelled may be pairs of rows, not only rows.
    """

    version: int
    takes_pairs: bool

    def metrics(self, examples: Examples) -> Mapping[str, Metric]:
        """The metrics that fit the data, by name, the usual one first.

        Raises:
            SourceError: the labels aren't what the task's answers can be held against.
        """

    def answers(self, outputs: Sequence[Tensors]) -> list[Any]:
        """One answer a row, in the form of `Examples.expected`.

        So FP32's own answers are what is expected where nobody labelled the data.

        Args:
            outputs: the served model's public outputs, one dictionary of one row each.
        """

    def scores(self, examples: Examples, outputs: Sequence[Tensors]) -> Scores:
        """Answers beside ``examples.expected``, which isn't None here.

        Raises:
            SourceError: the labels aren't what the task's answers can be held against.
        """

    def curves(self, scores: Scores) -> list[Curve]:
        """What can be drawn; none for most tasks."""

    def confusion(self, scores: Scores) -> Confusion | None:
        """For tasks that choose one of several labels."""


SCORERS: Registry[Scorer] = Registry("tritonpack.evaluation.scorers", "SCORER")
