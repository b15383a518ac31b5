"""Calibration data: real requests through the model's own pre-processing, spread over their lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tritonpack.core.errors import SourceError
from tritonpack.stages.reference import Case, read_reference, write_reference
from tritonpack.stages.rows import joined, rows_from_requests, total_length

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tritonpack.core.action import Facts
    from tritonpack.core.model import RaggedAxis
    from tritonpack.core.tensors import Tensors

VERSION = 2
_BATCH = 8


def calibration_from_requests(
    requests: Sequence[Tensors],
    tokenizer: Path | None,
    *,
    file: str,
    parameters: Mapping[str, str],
    axes: Sequence[RaggedAxis],
    samples: int,
    out: Path,
) -> Facts:
    """Pre-process ``samples`` requests, chosen evenly over their lengths, in batches of like length.

    Args:
        requests: what an application might send, one row each.
        tokenizer: the prepared ``tokenizer.json``, where the stage reads one.
        file: the pre-processing stage's code.
        parameters: its parameters.
        axes: the graph's ragged axes.
        samples: how many rows; fewer requests are used whole.
        out: the file to write.

    Raises:
        SourceError: there are fewer than eight, or the stage refuses one.
    """
    if len(requests) < _BATCH:
        raise SourceError(f"{len(requests)} calibration samples are too few; it takes at least {_BATCH}")
    rows = rows_from_requests(requests, tokenizer, file=file, parameters=parameters)
    rows.sort(key=lambda row: total_length(row, axes))
    chosen = [rows[i] for i in np.linspace(0, len(rows) - 1, min(samples, len(rows))).round().astype(int)]
    batches = [chosen[begin : begin + _BATCH] for begin in range(0, len(chosen), _BATCH)]
    write_reference([Case(*joined(batch, axes)) for batch in batches], out)
    lengths = [total_length(row, axes) for row in chosen]
    return {"samples": len(chosen), "elements": sum(lengths), "longest": max(lengths)}


def read_calibration(path: Path) -> list[Tensors]:
    """The batches, inputs by name."""
    return [case.inputs for case in read_reference(path)]
