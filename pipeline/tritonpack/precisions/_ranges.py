"""The range of each activation and whether it is smoothed, decided by the error of the products that read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tritonpack.precisions import Calibrator
from tritonpack.precisions._calibrators import LEVELS, candidates, quantized, threshold_of
from tritonpack.precisions._smoothing import divisors, smoothed, strengths

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from tritonpack.core.observations import Activation

_WORTHWHILE = 0.85
"""What smoothing must leave of the error to pay for its multiplication."""
_LEAST_ENERGY = 0.01
"""Of the mean row's: a row that is all but zero has no relative error worth having."""


@dataclass(frozen=True)
class Range:
    """How one activation is quantized.

    Args:
        threshold: the greatest magnitude that is represented.
        calibrator: where it comes from.
        error: of the products' outputs on the sampled rows, the root mean square of ``|y - quantized y| / |y|``.
            Rows weigh alike, as they do to the normalization that follows: a few tokens with outliers would
            otherwise decide for all.
        divisors: ``(k,)``, what the activation is divided by and the weights multiplied with; None for nothing.
        strength: the smoothing's, 0 for none.
        plain_error: the error without smoothing.
    """

    threshold: float
    calibrator: Calibrator
    error: float
    divisors: NDArray[np.float32] | None = None
    strength: float = 0.0
    plain_error: float = 0.0


class _Trial(NamedTuple):
    error: float
    threshold: float
    calibrator: Calibrator


def range_of(
    activation: Activation, weights: Sequence[NDArray[np.float32]], calibrator: Calibrator, smoothing: float | None
) -> Range:
    """The range with the least error of those that the calibrator gives, with and without smoothing.

    Args:
        activation: what the products read, ``(..., k)``.
        weights: of each product, ``(k, n)``.
        calibrator: of the range; `Calibrator.SEARCH` tries all.
        smoothing: the greatest strength to try, None for none.
    """
    expected = [activation.rows @ matrix for matrix in weights]
    plain = _best(activation, weights, expected, calibrator)
    chosen = Range(plain.threshold, plain.calibrator, plain.error, plain_error=plain.error)
    # A search over ranges for each strength would find the same strength in four times the time.
    scout = Calibrator.MINMAX if calibrator is Calibrator.SEARCH else calibrator
    tried: dict[float, float] = {}
    for strength in strengths(smoothing):
        tried[strength] = _best(*_moved(activation, weights, strength)[:2], expected, scout).error
    if tried:
        strength = min(tried, key=lambda key: tried[key])
        moved, scaled, by = _moved(activation, weights, strength)
        trial = _best(moved, scaled, expected, calibrator)
        if trial.error < _WORTHWHILE * plain.error:
            chosen = Range(trial.threshold, trial.calibrator, trial.error, by, strength, plain.error)
    return chosen


def quantized_weights(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """``(k, n)`` as INT8 with a scale a column, symmetric."""
    scales = np.maximum(np.abs(weights).max(axis=0, initial=0.0) / LEVELS, 1e-12).astype(np.float32)
    return np.clip(np.rint(weights / scales), -LEVELS, LEVELS).astype(np.int8), scales


def _moved(
    activation: Activation, weights: Sequence[NDArray[np.float32]], strength: float
) -> tuple[Activation, list[NDArray[np.float32]], NDArray[np.float32]]:
    """The activation divided, the weights multiplied, and by what."""
    by = divisors(activation, weights, strength)
    return smoothed(activation, by), [matrix * by[:, None] for matrix in weights], by


def _best(
    activation: Activation,
    weights: Sequence[NDArray[np.float32]],
    expected: Sequence[NDArray[np.float32]],
    calibrator: Calibrator,
) -> _Trial:
    """The calibrator's trial with the least error; of equal ones the first."""
    rounded = [integers * scales for integers, scales in map(quantized_weights, weights)]
    return min(_trials(activation, rounded, expected, calibrator), key=lambda trial: trial.error)


def _trials(
    activation: Activation,
    rounded: Sequence[NDArray[np.float32]],
    expected: Sequence[NDArray[np.float32]],
    calibrator: Calibrator,
) -> Iterator[_Trial]:
    energy = _energies(expected)
    least = _LEAST_ENERGY * energy.mean() if energy.size else 0.0
    for candidate in candidates(calibrator):
        threshold = threshold_of(activation, candidate)
        rows = quantized(activation.rows, threshold)
        lost = _energies([rows @ matrix - product for matrix, product in zip(rounded, expected, strict=True)])
        error = float(np.sqrt((lost / np.maximum(energy, least)).mean())) if least else 0.0
        yield _Trial(error, threshold, candidate)


def _energies(products: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """The squared length of each row of all products together."""
    squares: NDArray[np.float64] = np.sum(
        [np.square(product, dtype=np.float64).sum(axis=1) for product in products], axis=0
    )
    return squares
