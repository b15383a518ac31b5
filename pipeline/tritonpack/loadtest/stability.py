"""Whether a long measurement went on as it began: the trend of memory, latency and throughput."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tritonpack.loadtest.results import Level

LEAST_S = 60.0
"""Shorter measurements show how a server warms up."""
_BLOCKS = 10
_T_97_5 = 2.306
"""Student's t for eight degrees of freedom: ten blocks, two of which the line takes."""
_S_PER_HOUR = 3600
_MATTERS = 0.01
_P99 = 99


@dataclass(frozen=True)
class Trend:
    """A straight line through ten equal parts of the time.

    Attributes:
        figure: what is followed, with its unit.
        mean: over the whole time.
        per_hour: how much it grows in an hour.
        low: of the 95% interval of that.
        high: and its other end.
        verdict: ``grows`` or ``falls`` if the interval leaves 0 out and the change over the run is above 1% of the
            mean, else ``steady``.
    """

    figure: str
    mean: float
    per_hour: float
    low: float
    high: float
    verdict: str


def trends_from_level(level: Level) -> tuple[Trend, ...]:
    """Follow memory (MB), p99 (ms) and throughput (requests/s); nothing for what is short or wasn't recorded."""
    slices = [part for part in level.slices if part.quantiles_us]
    if not slices or slices[-1].begin_s + slices[-1].duration_s < LEAST_S:
        return ()
    middles = [part.begin_s + part.duration_s / 2 for part in slices]
    columns = [
        ("memory, MB", [moment for moment, _ in level.memory], [size for _, size in level.memory]),
        ("p99, ms", middles, [part.quantiles_us[_P99] / 1000 for part in slices]),
        ("throughput, /s", middles, [part.answered / part.duration_s for part in slices]),
    ]
    return tuple(
        trend(name, times, values)
        for name, times, values in columns
        if len(times) >= 2 * _BLOCKS or name != "memory, MB"
    )


def trend(figure: str, times_s: Sequence[float], values: Sequence[float]) -> Trend:
    """Fit a line to the means of ten blocks of neighbours, whose errors are nearly independent.

    Args:
        figure: its name.
        times_s: (n,) ascending, n at least 10.
        values: (n,).
    """
    x = np.array([block.mean() for block in np.array_split(np.asarray(times_s), _BLOCKS)]) / _S_PER_HOUR
    y = np.array([block.mean() for block in np.array_split(np.asarray(values), _BLOCKS)])
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    residuals = y - y.mean() - slope * centred
    error = float(np.sqrt(residuals @ residuals / (_BLOCKS - 2) / (centred @ centred)))
    low, high = slope - _T_97_5 * error, slope + _T_97_5 * error
    mean = float(y.mean())
    change = abs(slope) * float(x[-1] - x[0])
    drifts = (low > 0 or high < 0) and change > _MATTERS * abs(mean)
    verdict = ("grows" if slope > 0 else "falls") if drifts else "steady"
    return Trend(figure, round(mean, 4), round(slope, 4), round(low, 4), round(high, 4), verdict)
