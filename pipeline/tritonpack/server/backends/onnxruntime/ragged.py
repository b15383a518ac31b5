"""How a ragged batch becomes model inputs: what is padding in it, and what the batcher knows about its rows.

Pure functions over NumPy arrays; Triton's side is in ``model.py``. This folder must not become a package:
its name is ``onnxruntime``, and an ``__init__.py`` would hide the library of that name from the stub.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    Array = np.ndarray[Any, Any]


def kept_lengths(mask: Array) -> Array:
    """Count what is left of each row when the zeros at its end are cut; a row keeps one element at least.

    Args:
        mask: (rows, width), zero where there is padding.

    Returns:
        (rows,) int64.
    """
    rows, width = mask.shape
    if not width or mask[:, -1].all():
        return np.full(rows, width, np.int64)
    from_the_end = (mask[:, ::-1] != 0).argmax(axis=1)
    any_kept = mask.any(axis=1)
    return np.maximum(np.where(any_kept, width - from_the_end, 1), 1).astype(np.int64)


def batch_input_value(kind: str, shapes: Sequence[tuple[int, ...]], dtype: Any) -> Array:
    """Compute one ``batch_input`` as Triton's C++ backends do.

    Args:
        kind: the kind's name in the model configuration.
        shapes: the source input's shape of each request, batch dimension first.
        dtype: int32 or float32.

    Raises:
        ValueError: the kind is unknown.

    Source: https://github.com/triton-inference-server/backend/blob/r24.10/src/backend_input_collector.cc
    """
    counts = [math.prod(shape) for shape in shapes]
    if kind == "BATCH_ELEMENT_COUNT":
        return np.array(counts, dtype)
    if kind == "BATCH_ACCUMULATED_ELEMENT_COUNT":
        return np.cumsum(counts).astype(dtype)
    if kind == "BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO":
        return np.concatenate([[0], np.cumsum(counts)]).astype(dtype)
    if kind == "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE":
        return np.zeros(max(counts), dtype)
    if kind in {"BATCH_ITEM_SHAPE", "BATCH_ITEM_SHAPE_FLATTEN"}:
        items = np.array([shape[1:] for shape in shapes for _ in range(shape[0])], dtype)
        return items if kind == "BATCH_ITEM_SHAPE" else items.reshape(-1)
    raise ValueError(f"unknown kind of batch_input: {kind}")


def join_rows(pieces: Sequence[Array]) -> Array:
    """Stack one-row outputs; where their other dimensions differ, fill up with zeros at the end.

    Args:
        pieces: each (1, ...), of one rank and dtype.
    """
    if len(pieces) == 1:
        return pieces[0]
    if len({piece.shape for piece in pieces}) == 1:
        return np.concatenate(pieces)
    widest = np.max([piece.shape[1:] for piece in pieces], axis=0)
    joined = np.zeros((len(pieces), *widest), pieces[0].dtype)
    for row, piece in enumerate(pieces):
        corner = tuple(slice(size) for size in piece.shape[1:])
        joined[row][corner] = piece[0]
    return joined
