"""Outliers of an activation moved into the weights that it is multiplied with.

``X W = (X / s) (s W)`` for any ``s`` per channel. Activations have few channels that are far greater than all
others, and one scale for all; weights are even. Dividing those channels makes room for the others.

Source: SmoothQuant, https://arxiv.org/abs/2211.10438
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tritonpack.core.observations import BINS, Activation

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_STRENGTHS = (0.3, 0.5, 0.65, 0.8, 0.9)
_LEAST = 1e-5


def strengths(greatest: float | None) -> list[float]:
    """The strengths to try, none above the greatest; none at all for None or 0."""
    if not greatest:
        return []
    return [*(strength for strength in _STRENGTHS if strength < greatest), greatest]


def divisors(activation: Activation, weights: Sequence[NDArray[np.float32]], strength: float) -> NDArray[np.float32]:
    """``s_j = max|X_j| ** strength / max|W_j| ** (1 - strength)``, scaled to a geometric mean of 1.

    Args:
        activation: what the products read, ``(..., k)``.
        weights: of each product, ``(k, n)``.
        strength: 0 evens the weights out, 1 the activation.

    Returns:
        ``(k,)``; 1 for a channel that is always zero on either side.
    """
    inputs = activation.channels.astype(np.float64)
    rows = np.max([np.abs(matrix).max(axis=1) for matrix in weights], axis=0).astype(np.float64)
    alive = (inputs > _LEAST * inputs.max(initial=0.0)) & (rows > _LEAST * rows.max(initial=0.0))
    logs = strength * np.log(np.where(alive, inputs, 1.0)) - (1 - strength) * np.log(np.where(alive, rows, 1.0))
    mean = logs[alive].mean() if alive.any() else 0.0
    return np.where(alive, np.exp(logs - mean), 1.0).astype(np.float32)


def smoothed(activation: Activation, by: NDArray[np.float32]) -> Activation:
    """What would have been observed of the activation divided by ``by (k,)``.

    The greatest magnitudes are exact; the histogram is that of the sampled rows.
    """
    channels = activation.channels / by
    rows = activation.rows / by
    greatest = float(channels.max(initial=0.0))
    histogram, _ = np.histogram(np.abs(rows), bins=BINS, range=(0.0, greatest or 1.0))
    return Activation(histogram.astype(np.int64), greatest, channels, rows)
