"""Iterators of any length as a row of calls of bounded size: what `iter_embed` is made of, without I/O."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tritonpack_client.batching import Columns, batches_of_columns, columns_from_rows, in_order

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tritonpack_client.limits import ModelLimits

_BATCHES = 8


class Windows:
    """Cuts rows into windows, whose rows are sent sorted by length, and puts their results in order again.

    Args:
        limits: the model's.
    """

    def __init__(self, limits: ModelLimits) -> None:
        self._limits = limits
        self.size = _BATCHES * limits.max_batch_size
        self._rows: list[object] = []
        self._taken = 0
        self._open: list[list[list[int]]] = []
        self._found: list[Sequence[Any]] = []

    def add(self, row: object) -> bool:
        """Take a row; True where the window is full and is to be cut."""
        self._rows.append(row)
        return len(self._rows) == self.size

    def cut(self) -> Iterator[tuple[Columns, list[int]]]:
        """The requests of the rows that were taken since the last cut: columns, and which of their rows.

        Raises:
            InvalidInputError: a row can't be sent.
        """
        if not self._rows:
            return
        columns = columns_from_rows(self._limits, self._rows, self._taken)
        batches = batches_of_columns(columns, self._limits.max_batch_size)
        self._taken += len(self._rows)
        self._rows = []
        self._open.append(batches)
        for batch in batches:
            yield columns, batch

    def results(self, found: Sequence[Any]) -> list[Any]:
        """Take the next request's results; the results of a window, in order, where they are the last of it."""
        self._found.append(found)
        if len(self._found) < len(self._open[0]):
            return []
        whole = in_order(self._open.pop(0), self._found)
        self._found = []
        return whole
