"""Named tensors: what a graph takes and gives, and the arrays themselves."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Tensors: TypeAlias = dict[str, NDArray[Any]]
"""Arrays by tensor name."""


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a graph.

    Args:
        name: the tensor's name.
        dtype: NumPy's name of the element type, e.g. ``int64``.
        shape: a number for a fixed axis, a name for a dynamic one, e.g. ``("batch", 384)``.
    """

    name: str
    dtype: str
    shape: tuple[str | int, ...]

    def to_json(self) -> dict[str, Any]:
        """As a JSON object; `from_json` is the inverse."""
        return {"name": self.name, "dtype": self.dtype, "shape": list(self.shape)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> TensorSpec:
        """Read what `to_json` wrote."""
        return cls(value["name"], value["dtype"], tuple(value["shape"]))


@dataclass(frozen=True)
class ShapeRange:
    """The shapes of one input that an engine is compiled for: least, best tuned, greatest."""

    least: tuple[int, ...]
    best: tuple[int, ...]
    greatest: tuple[int, ...]


@dataclass(frozen=True)
class Agreement:
    """How far a candidate's tensor is from the reference's, over every element and every row.

    Args:
        max_abs_error: greatest absolute difference.
        mean_abs_error: mean absolute difference.
        min_cosine: least cosine over the rows (last axis).
        mean_cosine: mean cosine over the rows.
        worst_row: index of the row of ``min_cosine`` in the flattened rows.
    """

    max_abs_error: float
    mean_abs_error: float
    min_cosine: float
    mean_cosine: float
    worst_row: int


def agreement_of(reference: NDArray[Any], candidate: NDArray[Any]) -> Agreement:
    """Compare two arrays of the same shape ``(..., d)``.

    A NaN or infinity on either side gives an infinite error and a cosine of -1, which no gate lets
    pass; two rows of zeros have a cosine of 1.
    """
    expected = np.asarray(reference, dtype=np.float64)
    actual = np.asarray(candidate, dtype=np.float64)
    expected_rows = expected.reshape(-1, expected.shape[-1])
    actual_rows = actual.reshape(-1, actual.shape[-1])
    numbers = np.isfinite(expected_rows) & np.isfinite(actual_rows)
    finite = np.asarray(numbers.all(axis=1))
    expected_rows = np.where(finite[:, None], expected_rows, 0.0)
    actual_rows = np.where(finite[:, None], actual_rows, 0.0)
    difference = np.where(numbers, np.abs(expected_rows - actual_rows), np.inf)
    both_zero = ~expected_rows.any(axis=1) & ~actual_rows.any(axis=1)
    cosine = np.where(both_zero, 1.0, row_cosines(expected_rows, actual_rows))
    cosine = np.where(finite, cosine, -1.0)
    return Agreement(
        max_abs_error=float(difference.max()),
        mean_abs_error=float(difference.mean()),
        min_cosine=float(cosine.min()),
        mean_cosine=float(cosine.mean()),
        worst_row=int(cosine.argmin()),
    )


def score_agreement_of(reference: NDArray[Any], candidate: NDArray[Any]) -> Agreement:
    """Compare rows of scores ``(..., d)``, whose size says as much as their direction.

    A few scores about zero point anywhere: their cosine is lost to a rounding that changes no answer. So in place of
    each cosine stands ``1 - e**2 / 2``, where ``e`` is the row's error by its length or, if that is greater, by the
    median row's. For rows of one length, as embeddings are, it is the cosine.
    """
    agreement = agreement_of(reference, candidate)
    expected = np.asarray(reference, dtype=np.float64).reshape(-1, reference.shape[-1])
    actual = np.asarray(candidate, dtype=np.float64).reshape(-1, reference.shape[-1])
    finite = np.asarray(np.isfinite(expected).all(axis=1) & np.isfinite(actual).all(axis=1))
    expected, actual = np.where(finite[:, None], expected, 0.0), np.where(finite[:, None], actual, 0.0)
    lengths = np.linalg.norm(expected, axis=1)
    scale = np.maximum(lengths, np.median(lengths))
    errors = np.linalg.norm(actual - expected, axis=1)
    relative = np.divide(errors, scale, out=np.where(errors > 0, np.inf, 0.0), where=scale > 0)
    alike = np.where(finite, np.maximum(1 - relative**2 / 2, -1.0), -1.0)
    return replace(
        agreement, min_cosine=float(alike.min()), mean_cosine=float(alike.mean()), worst_row=int(alike.argmin())
    )


def row_cosines(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    """The cosine of each row of ``left`` and the same row of ``right``, in double precision.

    Args:
        left: ``(..., d)``.
        right: ``(..., d)``; the leading axes are broadcast, so ``(n, 1, d)`` and ``(n, d)`` give every pair.

    Returns:
        ``(...)``; 0 where a row has no length.
    """
    one, other = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    norms = np.linalg.norm(one, axis=-1) * np.linalg.norm(other, axis=-1)
    cosines: NDArray[np.float64] = (one * other).sum(axis=-1) / np.where(norms > 0, norms, 1.0)
    return cosines


@dataclass(frozen=True)
class Tolerance:
    """What an agreement must hold to: the gate of one precision.

    Args:
        max_abs_error: greatest absolute difference allowed, or None for no bound.
        min_cosine: least cosine allowed for any row, or None for no bound.
        mean_cosine: least mean cosine allowed, or None for no bound.
    """

    max_abs_error: float | None = None
    min_cosine: float | None = None
    mean_cosine: float | None = None

    def to_json(self) -> dict[str, float | None]:
        """As a JSON object; part of an action's key."""
        return {
            "max_abs_error": self.max_abs_error,
            "min_cosine": self.min_cosine,
            "mean_cosine": self.mean_cosine,
        }

    def tightened(self, **bounds: float | None) -> Tolerance:
        """The same gate with the bounds that are not None in place of its own."""
        return Tolerance(**{**self.to_json(), **{name: b for name, b in bounds.items() if b is not None}})

    def violation(self, agreement: Agreement) -> str:
        """The first bound that the agreement breaks, as a sentence, or an empty string."""
        if not math.isfinite(agreement.max_abs_error):
            return "it holds NaN or infinity, which no gate allows"
        if self.max_abs_error is not None and not agreement.max_abs_error <= self.max_abs_error:
            return f"maximum error {agreement.max_abs_error:.3g} is over the gate {self.max_abs_error:g}"
        if self.min_cosine is not None and not agreement.min_cosine >= self.min_cosine:
            return f"lowest cosine {agreement.min_cosine:.5f} is under the gate {self.min_cosine:g}"
        if self.mean_cosine is not None and not agreement.mean_cosine >= self.mean_cosine:
            return f"mean cosine {agreement.mean_cosine:.5f} is under the gate {self.mean_cosine:g}"
        return ""
