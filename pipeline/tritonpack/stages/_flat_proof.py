"""Whether a graph with flat values gives what the padded one gives, on random rows of many lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import CompileError, LoweringError
from tritonpack.stages._grid import ROWS, Rows, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from tritonpack.core.model import RaggedAxis
    from tritonpack.core.tensors import Tensors
    from tritonpack.stages._grid import Dims

_BATCHES = (1, 5, 4, 6)
"""Rows of the batches."""
_LONGEST = 40
_EXACT = 1e-4
"""Of the greatest number: what FP32 may differ by when it adds in another order."""
_ROUNDED = 2e-2
"""Root mean square, of the numbers' own: what activations may differ by that are rounded to few bits."""


def prove(
    padded: Any,
    flat: Any,
    source: Any,
    dims: Mapping[str, Dims],
    axes: Sequence[RaggedAxis],
    ragged: Callable[[Tensors, Sequence[RaggedAxis], Tensors], Tensors],
    *,
    exact: bool,
) -> None:
    """Run both graphs and compare what they give for the tokens.

    Args:
        padded: the graph that pads at its head.
        flat: the graph with flat values.
        source: the graph without a head.
        dims: of its values.
        axes: its ragged axes.
        ragged: makes ragged inputs of padded ones.
        exact: whether the graph computes in FP32: rows of many lengths have to agree closely. If not, rows of one
            length have to agree as far as roundings allow: where activations get their scale from all cells, padding
            moves it.

    Raises:
        LoweringError: they disagree.
        CompileError: a graph can't be run.
    """
    rows, rng = Rows(source, axes), np.random.default_rng(1)
    sessions = opened(padded), opened(flat)
    for count in _BATCHES:
        lengths = {axis.name: _lengths(rng, axis, count, alike=not exact) for axis in axes}
        inputs = ragged(rows.draw(rng, lengths), axes, {name: np.array(found) for name, found in lengths.items()})
        try:
            answers = [session.run(inputs) for session in sessions]
        except Exception as error:  # the runtime's exception types live in a private module
            raise CompileError(f"random rows can't be run: {str(error).splitlines()[0]}") from error
        for name in answers[0]:
            expected, actual = (_tokens(answer[name], dims[name], lengths) for answer in answers)
            if not (_close(expected, actual) if exact else _alike(expected, actual)):
                off = float(np.nanmax(np.abs(np.where(np.isfinite(expected), expected - actual, 0)), initial=0))
                raise LoweringError(f"output '{name}' of rows of lengths {lengths} is off by {off:.3g}")


def _lengths(rng: np.random.Generator, axis: RaggedAxis, count: int, *, alike: bool) -> list[int]:
    most = min(axis.longest, max(_LONGEST, 2 * axis.least))
    if alike:
        return [int(rng.integers(axis.least, most + 1))] * count
    return [int(length) for length in rng.integers(axis.least, most + 1, count)]


def _tokens(array: NDArray[Any], dims: Dims, lengths: Mapping[str, Sequence[int]]) -> NDArray[np.float64]:
    """An output's numbers without those at padding, in one row."""
    array = np.asarray(array, dtype=np.float64)
    if not dims or dims[0] != ROWS:
        return array.ravel()
    parts = []
    for row, entry in enumerate(array):
        kept = tuple(
            slice(lengths[size][row] if isinstance(size, str) and size in lengths else None) for size in dims[1:]
        )
        parts.append(entry[kept].ravel())
    return np.concatenate(parts)


def _close(expected: NDArray[np.float64], actual: NDArray[np.float64]) -> bool:
    if expected.shape != actual.shape:
        return False
    finite = expected[np.isfinite(expected)]
    bound = _EXACT * float(np.abs(finite).max(initial=0))
    return bool(np.allclose(actual, expected, rtol=0, atol=bound, equal_nan=True))


def _alike(expected: NDArray[np.float64], actual: NDArray[np.float64]) -> bool:
    if expected.shape != actual.shape:
        return False
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(actual)):
        return False
    error, size = (float(np.sqrt(np.square(array[finite]).sum())) for array in (actual - expected, expected))
    return error <= _ROUNDED * size
