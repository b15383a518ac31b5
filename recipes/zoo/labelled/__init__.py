"""Labelled data out of packages, as rows that an application could send, each with the right answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Labelled:
    """Rows and their labels.

    Args:
        rows: public inputs by name, one value a row.
        labels: one a row; what it is depends on the task.
        made: how the labels came about, where no person gave them.
    """

    rows: Sequence[dict[str, Any]]
    labels: Sequence[Any]
    made: str = ""

    def __len__(self) -> int:
        return len(self.rows)

    def first(self, count: int) -> Labelled:
        """The first rows."""
        return Labelled(self.rows[:count], self.labels[:count], self.made)
