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


def rows_from_requests(
    requests: Sequence[Tensors], tokenizer: Path | None, *, file: str, parameters: Mapping[str, str]
) -> list[Tensors]:
    """Pre-process requests of one row each.

    Args:
        requests: what an application would send.
        tokenizer: the prepared ``tokenizer.json``, where the stage reads one.
        file: the stage's code, ``repository/python_models/<file>.py``.
        parameters: the stage's parameters.

    Returns:
        The graph's inputs, ``(1, ...)`` by name; a request that becomes several rows gives each.

    Raises:
        SourceError: the stage refuses its parameters or a request.
    """
    code = importlib.import_module(f"tritonpack.repository.python_models.{file}")
    with TemporaryDirectory() as folder:
        if tokenizer is not None:
            Path(folder, "tokenizer.json").symlink_to(tokenizer.resolve())
        try:
            stage = code.Stage(Path(folder), dict(parameters))
        except ValueError as error:
            raise SourceError(f"the tokenizer doesn't fit the recipe: {error}") from error
        answers = stage.run(list(requests))
    rows = []
    for index, answer in enumerate(answers):
        if isinstance(answer, str):
            raise SourceError(f"request {index}: {answer}")
        count = len(next(iter(answer.values())))
        rows += [{name: array[row : row + 1] for name, array in answer.items()} for row in range(count)]
    return rows


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
