"""Real requests as graph inputs, through the very code that is served: for calibration and evaluation."""

from __future__ import annotations

import importlib
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tritonpack.core.model import RaggedAxis
    from tritonpack.core.tensors import Tensors

_AT_ONCE = 256
"""Requests that a step is given together: more would only hold more of what it makes on the way."""


def opened_stage(file: str, parameters: Mapping[str, str], tokenizer: Path | None) -> Any:
    """A step of the served ensemble, in this process: one instance of the code that the server runs.

    Args:
        file: the step's code, ``repository/python_models/<file>.py``.
        parameters: what steers it.
        tokenizer: the prepared ``tokenizer.json``, where the step reads one.

    Returns:
        The file's ``Stage``; its ``run`` takes one dictionary a request, and answers the same way or with what is
        wrong with the request.

    Raises:
        SourceError: it refuses its parameters or the tokenizer.
    """
    code = importlib.import_module(f"tritonpack.repository.python_models.{file}")
    with TemporaryDirectory() as folder:
        if tokenizer is not None:
            Path(folder, "tokenizer.json").symlink_to(tokenizer.resolve())
        try:
            return code.Stage(Path(folder), dict(parameters))
        except ValueError as error:
            raise SourceError(f"the tokenizer doesn't fit the recipe: {error}") from error


def graph_tensors(
    requests: Sequence[Tensors], tokenizer: Path | None, *, file: str, parameters: Mapping[str, str]
) -> list[Tensors]:
    """What the ensemble's first step makes of each request.

    Args:
        requests: what an application would send, one row each.
        tokenizer: the prepared ``tokenizer.json``, where the step reads one.
        file: the step's code.
        parameters: its parameters.

    Returns:
        For each request the step's outputs: graph inputs and details, ``(rows of the graph, ...)`` by name.

    Raises:
        SourceError: the step refuses its parameters or a request.
    """
    stage = opened_stage(file, parameters, tokenizer)
    answers: list[Tensors] = []
    for begin in range(0, len(requests), _AT_ONCE):
        for answer in stage.run(list(requests[begin : begin + _AT_ONCE])):
            if isinstance(answer, str):
                raise SourceError(f"request {len(answers)}: {answer}")
            answers.append(answer)
    return answers


def rows_of(tensors: Tensors) -> list[Tensors]:
    """Each row by itself, ``(1, ...)`` by name."""
    count = len(next(iter(tensors.values())))
    return [{name: array[row : row + 1] for name, array in tensors.items()} for row in range(count)]


def joined(rows: Sequence[Tensors], axes: Sequence[RaggedAxis]) -> tuple[Tensors, Tensors]:
    """Join rows to one batch.

    Returns:
        The inputs padded to the longest row, and by axis each row's length, ``(rows,) int64``.
    """
    inputs = {name: np.concatenate([row[name] for row in rows]) for name in rows[0] if not _is_ragged(name, axes)}
    lengths = {}
    for axis in axes:
        counts = [row_length(row, axis) for row in rows]
        width = max(counts) if axis.dynamic else axis.longest
        lengths[axis.name] = np.array(counts, dtype=np.int64)
        for name, fill in axis.pads.items():
            padded = np.full((len(rows), width), fill, dtype=rows[0][name].dtype)
            for place, (row, count) in enumerate(zip(rows, counts, strict=True)):
                padded[place, :count] = row[name][0, :count]
            inputs[name] = padded
    return inputs, lengths


def row_length(row: Tensors, axis: RaggedAxis) -> int:
    """The length of a row without the padding at its end, at least 1."""
    real = np.flatnonzero(row[axis.mask][0])
    return int(real[-1]) + 1 if real.size else 1


def total_length(row: Tensors, axes: Sequence[RaggedAxis]) -> int:
    """What a row costs: its length over all axes."""
    return sum(row_length(row, axis) for axis in axes)


def _is_ragged(name: str, axes: Sequence[RaggedAxis]) -> Any:
    return any(name in axis.pads for axis in axes)
