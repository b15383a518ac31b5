"""What the kinds of data set share: examples out of columns or pairs, the first so many, and enough of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import SourceError
from tritonpack.core.registry import did_you_mean
from tritonpack.evaluation import Examples

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LEAST = 10
"""Fewer samples say nothing: one answer would be worth more than ten points."""


def examples_from_pairs(
    sides: tuple[Sequence[str], Sequence[str]],
    ratings: Sequence[float],
    inputs: tuple[str, ...],
    *,
    name: str,
    columns: Mapping[str, Sequence[Any]] | None = None,
) -> Examples:
    """Each text once, as a row, and the pairs of rows that were rated.

    Raises:
        SourceError: the recipe's rows aren't single texts.
    """
    if len(inputs) != 1:
        raise SourceError(
            f"{name} holds rated pairs of single texts; the recipe's rows are {', '.join(inputs)}",
            hint="Use a data set of the kind 'labelled' with a column for each of them.",
        )
    places: dict[str, int] = {}
    pairs = [[places.setdefault(text, len(places)) for text in pair] for pair in zip(*sides, strict=True)]
    rows = [{inputs[0]: text} for text in places]
    return Examples(rows, list(ratings), np.array(pairs, dtype=np.int64).reshape(-1, 2), columns or {})


def finished(examples: Examples, rows: int | None, name: str) -> Examples:
    """The first so many samples.

    Args:
        examples: all of them.
        rows: how many rows or pairs; None for all.
        name: what a person calls the data set.

    Raises:
        SourceError: there are fewer than `LEAST`.
    """
    noun = "rows" if examples.pairs is None else "pairs"
    kept = examples if rows is None else _first(examples, rows)
    if len(kept) < LEAST:
        asked = f", and rows asks for {rows}" if rows is not None and rows < len(examples) else ""
        raise SourceError(
            f"{name} holds {len(examples)} {noun}{asked}; it takes at least {LEAST} to say anything",
            hint="Use more data.",
            field="rows" if asked else "dataset",
        )
    return kept


def rows_of(columns: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Columns to rows of public inputs: texts, or arrays of numbers as float32, which is what sound is.

    Raises:
        SourceError: a value is neither, or a column holds both.
    """
    values = {name: [_value(value, name, row) for row, value in enumerate(column)] for name, column in columns.items()}
    for name, column in values.items():
        if len({isinstance(value, str) for value in column}) > 1:
            raise SourceError(f"'{name}' holds both texts and numbers", hint="An input is one or the other.")
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def named(labels: Sequence[Any], names: Sequence[str] | None, name: str) -> list[Any]:
    """Numbers of classes to their names; as they are where there are no names.

    Raises:
        SourceError: a label isn't the number of a name.
    """
    if names is None:
        return list(labels)
    return [
        label if label in names else _name(label, names, f"{name}, row {row}") for row, label in enumerate(labels, 1)
    ]


def _name(label: Any, names: Sequence[str], place: str) -> str:
    if isinstance(label, (int, np.integer)) and 0 <= label < len(names):
        return names[int(label)]
    raise SourceError(
        f"{place}: the label {label!r} isn't the number of one of {len(names)} names: {', '.join(names)}",
        hint=did_you_mean(str(label), list(names)) or "Numbers start from 0; add what lacks to names.",
        field="names",
    )


def _first(examples: Examples, count: int) -> Examples:
    expected = None if examples.expected is None else examples.expected[:count]
    columns = {name: column[:count] for name, column in examples.columns.items()}
    if examples.pairs is None:
        return Examples(examples.rows[:count], expected, None, columns, examples.origin)
    used, pairs = np.unique(examples.pairs[:count], return_inverse=True)
    rows = [examples.rows[row] for row in used]
    return Examples(rows, expected, pairs.reshape(-1, 2), columns, examples.origin)


def _value(value: Any, name: str, row: int) -> Any:
    if isinstance(value, str):
        return value
    array = np.asarray(value) if isinstance(value, (list, tuple, np.ndarray)) else np.zeros(0, object)
    if array.dtype.kind not in "fiu" or not array.size:
        raise SourceError(
            f"row {row + 1}: '{name}' is neither a text nor an array of numbers: {str(value)[:80]!r}",
            hint="Name the columns of the recipe's inputs, e.g. columns: {text: review}.",
            column=name,
        )
    return array.astype(np.float32)
