"""What a server answers over gRPC, in requests of several rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tritonpack.recipe import Recipe
    from tritonpack_client import Client

_ROWS = 16


def answers(client: Client, recipe: Recipe, rows: Sequence[dict[str, Any]]) -> Any:
    """The answers in the form that `pytorch.answers` has them too."""
    found: list[Any] = []
    count = min(_ROWS, client.limits(recipe.name).max_batch_size)
    for start in range(0, len(rows), count):
        given = rows[start : start + count]
        answer = client.infer(recipe.name, {name: _tensor([row[name] for row in given]) for name in given[0]})
        found.extend(_TASKS[recipe.task.kind](answer, row) for row in range(len(given)))
    return np.stack(found) if recipe.task.kind == "embedding" else found


def _tensor(values: list[Any]) -> Any:
    if isinstance(values[0], str):
        return np.array([[value.encode()] for value in values], dtype=object)
    return np.stack(values)


def _vector(answer: dict[str, Any], row: int) -> Any:
    return answer["embedding"][row]


def _label(answer: dict[str, Any], row: int) -> str:
    return _text(answer["labels"][row, 0])


def _entities(answer: dict[str, Any], row: int) -> list[Any]:
    count = answer["counts"][row, 0]
    columns = (answer[name][row, :count].tolist() for name in ("starts", "ends", "labels"))
    return [(start, end, _text(label)) for start, end, label in zip(*columns, strict=True)]


def _word(answer: dict[str, Any], row: int) -> str:
    return _text(answer["tokens"][row, 0, 0]).strip()


def _span(answer: dict[str, Any], row: int) -> str:
    return _text(answer["answers"][row, 0])


def _text(value: bytes) -> str:
    return value.decode()


_TASKS = {
    "embedding": _vector,
    "classification": _label,
    "token_classification": _entities,
    "fill_mask": _word,
    "question_answering": _span,
}
