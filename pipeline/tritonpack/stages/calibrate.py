"""Calibration data: real requests through the model's own pre-processing, spread over their lengths.

Some rows are calibrated on; others, that nothing was fitted to, say what came of it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from tritonpack.core.errors import SourceError
from tritonpack.stages.reference import Case, read_reference, write_reference
from tritonpack.stages.rows import joined, total_length

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tritonpack.core.action import Facts
    from tritonpack.core.model import RaggedAxis
    from tritonpack.core.tensors import Tensors
    from tritonpack.stages.answers import Prepared

VERSION = 4
_LEAST = 8
_ELEMENTS = 2048
"""Most elements of a batch, padding included, so that observing long rows takes no more memory than short ones."""
_BATCH_ROWS = 32
_PROBE_ROWS = 128
_PROBE_LEAST = 16
_PROBE_ELEMENTS = 6144
"""About how many elements a probe has: a search runs it once for each graph that it tries."""


class Part(StrEnum):
    """What rows are for."""

    CALIBRATION = "calibration"
    PROBE = "probe"
    TRAINING = "training"


def batches_from_prepared(
    prepared: Prepared, *, part: Part, axes: Sequence[RaggedAxis], samples: int, out: Path
) -> Facts:
    """Choose rows evenly over their lengths, and batch those of like length.

    Args:
        prepared: requests such as an application might send, pre-processed.
        part: `PROBE`: at most 128 rows, fewer where they are long, of those that calibration leaves over, or of all
            if it leaves fewer than eight. The others: ``samples`` rows.
        axes: the graph's ragged axes.
        samples: how many rows calibration takes; fewer are used whole.
        out: the file to write.

    Returns:
        ``samples``, ``elements``, ``longest`` and, for a probe, ``held_out``: whether calibration didn't see it.

    Raises:
        SourceError: there are fewer than eight.
    """
    requests = prepared.requests
    if len(requests) < _LEAST:
        what = Part.TRAINING if part is Part.TRAINING else Part.CALIBRATION
        raise SourceError(
            f"{len(requests)} {what} samples are too few; it takes at least {_LEAST}",
            hint="Give a few hundred rows such as applications will send.",
        )
    rows = [row for rows in prepared.rows() for row in rows]
    rows.sort(key=lambda row: total_length(row, axes))
    chosen = _spread(len(rows), samples)
    facts = {}
    if part is Part.PROBE:
        left = sorted(set(range(len(rows))) - set(chosen))
        facts = {"held_out": len(left) >= _LEAST}
        pool = left if facts["held_out"] else list(range(len(rows)))
        usual = max(1.0, float(np.mean([total_length(rows[place], axes) for place in pool])))
        count = max(_PROBE_LEAST, min(_PROBE_ROWS, int(_PROBE_ELEMENTS / usual)))
        chosen = [pool[place] for place in _spread(len(pool), count)]
    taken = [rows[place] for place in chosen]
    write_reference([Case(*joined(batch, axes)) for batch in _batches(taken, axes)], out)
    lengths = [total_length(row, axes) for row in taken]
    return {"samples": len(taken), "elements": sum(lengths), "longest": max(lengths), **facts}


def read_batches(path: Path) -> list[Tensors]:
    """The batches, inputs by name."""
    return [case.inputs for case in read_reference(path)]


def _spread(count: int, wanted: int) -> list[int]:
    """Places evenly over ``count``, each once, the first and the last among them."""
    places: list[int] = np.linspace(0, count - 1, min(wanted, count)).round().astype(int).tolist()
    return places


def _batches(rows: Sequence[Tensors], axes: Sequence[RaggedAxis]) -> list[list[Tensors]]:
    """Rows, sorted by length, in groups whose padded size is bounded."""
    batches: list[list[Tensors]] = [[]]
    for row in rows:
        full = (len(batches[-1]) + 1) * max(total_length(row, axes), 1) > _ELEMENTS
        if batches[-1] and (full or len(batches[-1]) == _BATCH_ROWS):
            batches.append([])
        batches[-1].append(row)
    return batches
