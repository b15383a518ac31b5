"""Whether a graph with flat values gives what the padded one gives, on random rows of many lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tritonpack.core.errors import CompileError, LoweringError
from tritonpack.stages._grid import ROWS, opened

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from tritonpack.core.model import RaggedAxis
    from tritonpack.core.tensors import Tensors
    from tritonpack.stages._grid import Dims, Rows

    _Ragged: TypeAlias = Callable[[Tensors, Sequence[RaggedAxis], Tensors], Tensors]

_BATCHES = (1, 5, 4, 6)
"""Rows of the batches."""
_LONGEST = 40
_EXACT = 1e-4
"""Of the greatest number: what FP32 may differ by when it adds in another order."""
_ROUNDED = 2e-2
"""Root mean square, of the numbers' own: what activations may differ by that are rounded to few bits."""
_RESCALED = 0.2
"""The same where padding also moves the scale of what is rounded; a mask that got lost moves far more."""


class Proof:
    """Random rows that a padded graph and its flat form have to answer alike.

    Args:
        rows: draws them.
        dims: of the padded graph's values.
        axes: its ragged axes.
        exact: whether the graph computes in FP32: rows of many lengths then have to agree closely. If not, rows of
            one length have to agree as far as roundings allow, and rows of many less: where an activation's scale
            comes from all cells, padding moves it.
    """

    def __init__(self, rows: Rows, dims: Mapping[str, Dims], axes: Sequence[RaggedAxis], *, exact: bool) -> None:
        self._dims = dims
        self._axes = axes
        rng = np.random.default_rng(1)
        self._alike = [alike for alike in ((False,) if exact else (True, False)) for _ in _BATCHES]
        self._exact = exact
        self._lengths = [
            {axis.name: _lengths(rng, axis, count, alike=alike) for axis in axes}
            for alike, count in zip(self._alike, _BATCHES * 2, strict=False)
        ]
        self._padded = [rows.draw(rng, lengths) for lengths in self._lengths]

    def answers(self, graph: Any, ragged: _Ragged) -> list[Tensors]:
        """What a graph gives for every batch.

        Args:
            graph: with its ragged head.
            ragged: makes ragged inputs of padded ones.

        Raises:
            CompileError: it can't be run.
        """
        session = opened(graph)
        sizes = [{name: np.array(of_axis) for name, of_axis in lengths.items()} for lengths in self._lengths]
        try:
            return [
                session.run(ragged(inputs, self._axes, size)) for inputs, size in zip(self._padded, sizes, strict=True)
            ]
        except Exception as error:  # the runtime's exception types live in a private module
            raise CompileError(f"random rows can't be run: {str(error).splitlines()[0]}") from error

    def compare(self, padded: Sequence[Tensors], flat: Sequence[Tensors]) -> None:
        """Hold two graphs' answers against each other, those at padding left out.

        Raises:
            LoweringError: they disagree.
        """
        for alike, lengths, expected, actual in zip(self._alike, self._lengths, padded, flat, strict=True):
            bound = _ROUNDED if alike else _RESCALED
            for name, dims in ((name, self._dims[name]) for name in expected):
                one, other = (_tokens(answer[name], dims, lengths) for answer in (expected, actual))
                if not (_close(one, other) if self._exact else _near(one, other, bound)):
                    off = float(np.abs(one - other)[np.isfinite(one) & np.isfinite(other)].max(initial=0))
                    raise LoweringError(f"output '{name}' of rows of {_told(lengths)} is off by {off:.3g}")


def _told(lengths: Mapping[str, Sequence[int]]) -> str:
    return "; ".join(f"{axis} {', '.join(map(str, counts))}" for axis, counts in lengths.items())


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


def _near(expected: NDArray[np.float64], actual: NDArray[np.float64], bound: float) -> bool:
    if expected.shape != actual.shape:
        return False
    finite = np.isfinite(expected)
    if not np.array_equal(finite, np.isfinite(actual)):
        return False
    error, size = (float(np.sqrt(np.square(array[finite]).sum())) for array in (actual - expected, expected))
    return error <= bound * size
