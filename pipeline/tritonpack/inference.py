"""Texts in, answers out, for any served model of texts: what `tritonpack infer` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from tritonpack.core.tensors import Tensors
    from tritonpack_client import Client, ModelLimits

COUNTS = "counts"
"""The output that says how many entries of each row are answers; what follows them fills the row up."""


def text_inputs(limits: ModelLimits) -> tuple[str, ...]:
    """Names of a model's inputs, if each is one text a row.

    Raises:
        ConfigurationError: an input takes something else.
    """
    if limits.inputs and all(spec.datatype == "BYTES" and spec.dims in {(1,), (-1,)} for spec in limits.inputs):
        return tuple(spec.name for spec in limits.inputs)
    takes = ", ".join(f"{spec.name} {spec.datatype} {list(spec.dims)}" for spec in limits.inputs)
    raise ConfigurationError(
        f"the model '{limits.model}' doesn't take texts: it takes {takes}",
        hint="Send tensors with the client's `infer`, or ask the ensemble that has this model as a stage.",
        model=limits.model,
    )


def rows_from_texts(texts: Sequence[str], names: tuple[str, ...], model: str) -> list[dict[str, str]]:
    """Deal texts out to a model's inputs, in order.

    Raises:
        ConfigurationError: they don't come out even.
    """
    if len(texts) % len(names):
        raise ConfigurationError(
            f"the model '{model}' takes {len(names)} texts a row ({', '.join(names)}), and {len(texts)} were given",
            hint="Give them in order: the first row's texts, then the second's.",
            model=model,
        )
    return [dict(zip(names, texts[i : i + len(names)], strict=True)) for i in range(0, len(texts), len(names))]


def answers_from_rows(
    client: Client, limits: ModelLimits, rows: Sequence[dict[str, str]]
) -> list[list[dict[str, Any]]]:
    """Send rows, at most the model's batch at a time.

    Returns:
        For each row its entries, the best first: output name -> value.

    Raises:
        TritonClientError: a request failed.
    """
    answers = []
    most = max(1, limits.max_batch_size)
    for begin in range(0, len(rows), most):
        part = rows[begin : begin + most]
        arrays = {name: np.array([[row[name]] for row in part], dtype=np.object_) for name in rows[0]}
        outputs = client.infer(limits.model, arrays)
        answers += [entries_of(outputs, row) for row in range(len(part))]
    return answers


def entries_of(outputs: Tensors, row: int) -> list[dict[str, Any]]:
    """One row's answers as records.

    Args:
        outputs: ``(rows, k)`` each, or ``(rows, n, k)`` where a row has several places to answer for, each
            place of which has ``k`` answers; with `COUNTS` ``(rows, 1)`` where rows have fewer than ``k`` or ``n``.
        row: which row.
    """
    arrays = {name: array[row] for name, array in outputs.items() if name != COUNTS}
    if COUNTS in outputs:
        count = int(outputs[COUNTS][row, 0])
        arrays = {name: array[:count] for name, array in arrays.items()}
    shape = next(iter(arrays.values())).shape
    places = {"place": np.broadcast_to(np.arange(shape[0])[:, None], shape)} if len(shape) > 1 else {}
    columns = {name: _values(array) for name, array in {**places, **arrays}.items()}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _values(array: NDArray[Any]) -> list[Any]:
    values = array.reshape(-1).tolist()
    return [value.decode() if isinstance(value, bytes) else value for value in values]
