"""Data out of packages, as rows that an application could send; most with the right answer of each.

A recipe uses them as a data set of the kind ``python``, e.g. ``factory: labelled.bible:pairs``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Labelled:
    """Rows and their labels.

    Args:
        rows: public inputs by name, one value a row.
        labels: one a row, or one a pair where there are pairs; what it is depends on the task. None: there are none.
        made: how the labels came about, where no person gave them.
        pairs: two rows each, which a label rates.
    """

    rows: Sequence[dict[str, Any]]
    labels: Sequence[Any] | None
    made: str = ""
    pairs: Sequence[tuple[int, int]] | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def first(self, count: int) -> Labelled:
        """The first rows."""
        return replace(self, rows=self.rows[:count], labels=None if self.labels is None else self.labels[:count])

    def named(self, names: Sequence[str]) -> Labelled:
        """Numbers of labels as names."""
        return replace(self, labels=[names[label] for label in self.labels or ()])
