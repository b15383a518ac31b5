"""How far one value of a candidate is from the reference's, and whether that is too far."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.tensors import agreement_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tritonpack.core.tensors import Tolerance

_HIDDEN = -1e30
"""Below this a reference's number stands for minus infinity: a mask's constant."""
_HIDES = -1e4
"""What is enough to hide a position behind a softmax in any type."""
_NOTHING = 1e-6
"""The error of a number near zero that doesn't count, since a value of zeros has no relative error."""


@dataclass(frozen=True)
class Difference:
    """How far a value is from the reference's, over everything that isn't padding.

    Args:
        max_abs_error: greatest absolute difference; infinite where one isn't finite.
        relative_error: mean over the rows (last axis) of the difference's norm, relative to the row's own norm or
            to that of the value's median row, whichever is greater: nothing depends on the direction of a row that
            is much shorter than the others.
        worst_error: the same of the row with the greatest.
        min_cosine: least cosine over the rows, for reading; short rows count here.
        mean_cosine: mean cosine over the rows.
        problem: why it is out of tolerance, as a sentence; empty if it is within.
    """

    max_abs_error: float
    relative_error: float
    worst_error: float
    min_cosine: float
    mean_cosine: float
    problem: str

    @classmethod
    def failed(cls, problem: str) -> Difference:
        """Of a value that can't be compared at all."""
        return cls(math.inf, math.inf, math.inf, -1.0, -1.0, problem)

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; a number that isn't finite is None."""
        return {k: v if isinstance(v, str) or math.isfinite(v) else None for k, v in asdict(self).items()}


def difference_of(
    reference: NDArray[Any], candidate: NDArray[Any], kept: NDArray[np.bool_] | None, tolerance: Tolerance
) -> Difference:
    """Compare a value of two graphs.

    Minus infinity may be another very low number in another type, and what isn't finite in both isn't an error of
    the candidate's. A value is held to errors, not to cosines, so that it is the same verdict however its numbers
    are cut into rows, and a value that is only scaled is found: a cosine ``c`` of two vectors of one length is an
    error of ``sqrt(2 - 2 c)``. A bound on the absolute error is relative to the value's greatest number where that
    is greater than 1.

    Args:
        reference: of any shape.
        candidate: of the same, or the difference says so.
        kept: what isn't padding, broadcast to the shape; None if everything counts.
        tolerance: what a value must hold to.
    """
    if candidate.shape != reference.shape:
        return Difference.failed(f"its shape is {candidate.shape} instead of {reference.shape}")
    expected, actual = (_rows(array, kept) for array in (reference, candidate))
    _equate(expected, actual)
    infinite = _infinite(expected, actual)
    if infinite:
        return Difference.failed(infinite)
    if not expected.size:
        return Difference(0.0, 0.0, 0.0, 1.0, 1.0, "")
    agreement = agreement_of(expected, actual)
    lengths = np.linalg.norm(expected, axis=1)
    least = max(float(np.median(lengths)), _NOTHING * math.sqrt(expected.shape[1]))
    errors = np.linalg.norm(expected - actual, axis=1) / np.maximum(lengths, least)
    mean, worst = float(errors.mean()), float(errors.max())
    in_scale = agreement.max_abs_error / max(1.0, float(np.abs(expected).max()))
    problem = _problem(in_scale, mean, worst, tolerance)
    return Difference(agreement.max_abs_error, mean, worst, agreement.min_cosine, agreement.mean_cosine, problem)


def _problem(in_scale: float, mean: float, worst: float, tolerance: Tolerance) -> str:
    """The first bound that is broken, as a sentence."""
    if tolerance.max_abs_error is not None and in_scale > tolerance.max_abs_error:
        return f"error {in_scale:.3g} relative to its greatest number is over the gate {tolerance.max_abs_error:g}"
    for error, cosine, rows in (
        (worst, tolerance.min_cosine, "in one row"),
        (mean, tolerance.mean_cosine, "on average"),
    ):
        bound = math.inf if cosine is None else math.sqrt(2 - 2 * cosine)
        if error > bound:
            return f"relative error {error:.3g} {rows} is over {bound:.3g}, that of the gate's cosine {cosine:g}"
    return ""


def _rows(array: NDArray[Any], kept: NDArray[np.bool_] | None) -> NDArray[np.float64]:
    """The rows that hold something, padding in them as 0; single numbers are one row."""
    numbers = np.array(array, dtype=np.float64)
    if kept is not None:
        real = np.broadcast_to(kept, numbers.shape)
        numbers = np.where(real, numbers, 0.0)[real.any(axis=-1)]
    alone = numbers.ndim == 0 or numbers.shape[-1] <= 1
    return numbers.reshape(1, -1) if alone else numbers.reshape(-1, numbers.shape[-1])


def _equate(expected: NDArray[np.float64], actual: NDArray[np.float64]) -> None:
    """Put 0 where both say the same without a number to compare."""
    hidden = (expected <= _HIDDEN) & (actual <= _HIDES)
    infinite = np.isinf(expected) & (expected == actual)
    same = hidden | infinite | (np.isnan(expected) & np.isnan(actual))
    expected[same] = actual[same] = 0.0


def _infinite(expected: NDArray[np.float64], actual: NDArray[np.float64]) -> str:
    """What isn't a number on one side alone, as a sentence."""
    if np.isnan(actual).any():
        return "it holds NaN where the reference doesn't"
    if np.isinf(actual).any():
        return "it holds infinity where the reference doesn't"
    return "" if np.isfinite(expected).all() else "it holds numbers where the reference holds NaN or infinity"
