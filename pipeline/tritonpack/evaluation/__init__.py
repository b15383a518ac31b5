"""Labelled data and what answers are worth: data sets (`datasets`), scorers (`scorers`) and intervals."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Examples:
    """Rows that an application could send, and what the right answers are.

    Args:
        rows: public inputs by name, one value a row: a text, or an array of the input's row shape.
        expected: the right answers, one a row, or one a pair where ``pairs`` is given; None if nobody labelled them,
            so that a candidate is held against FP32's own answers. What an answer is, the task's scorer says.
        pairs: ``(n, 2) int64``, the rows that each rating of ``expected`` compares; None where rows stand alone.
        columns: what else is known of each row (or pair), by name, for slices.
        origin: how the labels came about where no person gave them; for reports.
    """

    rows: Sequence[Mapping[str, Any]]
    expected: Sequence[Any] | None
    pairs: NDArray[Any] | None = None
    columns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    origin: str = ""

    def __len__(self) -> int:
        """How many things are scored: pairs, or rows."""
        return len(self.rows) if self.pairs is None else len(self.pairs)
