"""From what was observed of an activation to the range that INT8 covers.

Magnitudes beyond the range saturate, and those inside it are rounded to 127 steps: a narrower range loses the
great ones and keeps the small ones apart. Each calibrator is another answer to that. All work on a histogram,
so the shapes that were observed don't matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from tritonpack.precisions import Calibrator

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from tritonpack.core.observations import Activation

_Float = TypeVar("_Float", np.float32, np.float64)

LEVELS = 127
_PERCENTILE = 0.9999
_LEAST_BINS = 128
_CANDIDATES = 256
_POINTS = 4
"""Magnitudes that stand for a bin: with one, a range of few bins would look free of error."""


def threshold_of(activation: Activation, calibrator: Calibrator) -> float:
    """The greatest magnitude that INT8 represents; 1 for an activation that is always zero.

    Args:
        activation: what was observed.
        calibrator: any but `Calibrator.SEARCH`, which tries all of them.
    """
    if activation.greatest <= 0 or not activation.histogram.any():
        return 1.0
    return _CALIBRATORS[calibrator](activation)


def candidates(calibrator: Calibrator) -> tuple[Calibrator, ...]:
    """The calibrators to try: one, or all for a search."""
    return tuple(_CALIBRATORS) if calibrator is Calibrator.SEARCH else (calibrator,)


def _greatest(activation: Activation) -> float:
    return activation.greatest


def _percentile(activation: Activation) -> float:
    """The magnitude that 99.99% don't exceed, evenly spread inside its bin."""
    edges = _edges(activation)
    below = np.concatenate([[0], np.cumsum(activation.histogram)])
    return float(np.interp(_PERCENTILE * below[-1], below, edges))


def _entropy(activation: Activation) -> float:
    """The range whose 128 levels lose the least information about the histogram (Kullback-Leibler divergence).

    For each number ``i`` of bins, what lies beyond is added to bin ``i - 1`` (the reference), and the bins are
    merged into 128 levels and spread again over those that weren't empty (the candidate). Sums of ``p log q``
    are sums over levels, so that all candidates are one matrix. Bin 0 holds the zeros of padding and of
    activation functions, which any range represents, and takes the next bin's count.

    Source: https://github.com/NVIDIA/TensorRT/blob/v10.13.0/tools/pytorch-quantization/pytorch_quantization/calib/histogram.py
    """
    counts = activation.histogram.astype(np.float64)
    counts[0] = counts[1]
    if not counts.any():
        return activation.greatest
    bins = np.arange(_LEAST_BINS, len(counts) + 1)
    total = counts.sum()
    sums = np.concatenate([[0.0], np.cumsum(counts)])
    filled = np.concatenate([[0.0], np.cumsum(counts > 0)])
    entropies = np.concatenate([[0.0], np.cumsum(_times_log(counts))])
    last, beyond = counts[bins - 1], total - sums[bins]
    reference = (entropies[bins - 1] + _times_log(last + beyond)) / total - np.log(total)

    edges = bins[:, None] * np.arange(LEVELS + 2) // (LEVELS + 1)
    merged = np.diff(sums[edges], axis=1)
    spread = np.diff(filled[edges], axis=1)
    spread[:, -1] += (last == 0) & (beyond > 0)
    mass = merged.copy()
    mass[:, -1] += beyond
    # A level that only the mass from beyond fills has no candidate: next to nothing stands for it.
    density = np.maximum(merged, 1e-6) / np.maximum(spread, 1) / np.maximum(sums[bins], 1e-6)[:, None]
    divergence = reference - (mass * np.log(density)).sum(axis=1) / total
    divergence[sums[bins] == 0] = np.inf
    return float(bins[np.argmin(divergence)] * _width(activation))


def _least_error(activation: Activation) -> float:
    """The range with the least expected squared error of rounding and saturation."""
    bins = len(activation.histogram)
    points = (np.arange(bins * _POINTS) + 0.5) / _POINTS * _width(activation)
    weights = np.repeat(activation.histogram.astype(np.float64), _POINTS)
    points, weights = points[weights > 0], weights[weights > 0]
    thresholds = np.geomspace(_width(activation), activation.greatest, _CANDIDATES)
    errors = [float(weights @ (points - quantized(points, threshold)) ** 2) for threshold in thresholds]
    return float(thresholds[int(np.argmin(errors))])


_CALIBRATORS: dict[Calibrator, Callable[[Activation], float]] = {
    Calibrator.MINMAX: _greatest,
    Calibrator.PERCENTILE: _percentile,
    Calibrator.ENTROPY: _entropy,
    Calibrator.MSE: _least_error,
}


def scale_of(threshold: float) -> np.float32:
    """The step between two integers."""
    return np.float32(max(threshold / LEVELS, 1e-12))


def quantized(values: NDArray[_Float], threshold: float) -> NDArray[_Float]:
    """The values as INT8 represents them, symmetric; what lies beyond saturates at -128 and 127 steps."""
    scale = scale_of(threshold)
    represented: NDArray[_Float] = np.clip(np.rint(values / scale), -LEVELS - 1, LEVELS) * scale
    return represented


def _width(activation: Activation) -> float:
    return activation.greatest / len(activation.histogram)


def _edges(activation: Activation) -> NDArray[np.float64]:
    return np.linspace(0.0, activation.greatest, len(activation.histogram) + 1)


def _times_log(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    """``x log x``, 0 at 0."""
    return numbers * np.log(np.where(numbers > 0, numbers, 1.0))
