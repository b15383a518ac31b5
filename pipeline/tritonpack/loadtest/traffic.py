"""What arrives at the server, as data: a closed loop, or arrivals at a rate that time decides.

A closed loop sends the next request when one is answered, so a slow server is asked less. An open loop sends
when the next person comes, whatever the server does: that is what a service sees, and where queues grow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Closed:
    """So many requests are in flight all the time."""

    concurrency: int

    @property
    def label(self) -> str:
        """How reports and comparisons name it."""
        return f"closed:{self.concurrency}"


@dataclass(frozen=True)
class Spikes:
    """Short times of another rate, at the end of each period.

    Attributes:
        rate_per_s: while a spike lasts.
        every_s: from one spike's begin to the next's.
        length_s: how long one lasts, below ``every_s``.
    """

    rate_per_s: float
    every_s: float
    length_s: float


@dataclass(frozen=True)
class Arrivals:
    """Requests come at a rate, whether or not those before them are answered.

    Attributes:
        rate_per_s: requests a second.
        poisson: independent of one another, as people's are; else at equal distances.
        spikes: times of another rate.
    """

    rate_per_s: float
    poisson: bool = True
    spikes: Spikes | None = None

    @property
    def label(self) -> str:
        """How reports and comparisons name it."""
        if self.spikes:
            spikes = self.spikes
            return f"spikes:{self.rate_per_s:g},{spikes.rate_per_s:g},{spikes.every_s:g}s,{spikes.length_s:g}s"
        return f"{'poisson' if self.poisson else 'constant'}:{self.rate_per_s:g}"

    @property
    def mean_rate_per_s(self) -> float:
        """Requests a second over a whole period."""
        if self.spikes is None:
            return self.rate_per_s
        share = self.spikes.length_s / self.spikes.every_s
        return self.rate_per_s * (1 - share) + self.spikes.rate_per_s * share


Load: TypeAlias = Closed | Arrivals
"""What one level of a load test is measured under."""


def arrival_times(load: Arrivals, duration_s: float, *, seed: int = 20, before_s: float = 0.0) -> NDArray[np.float64]:
    """When each request is to be sent, in seconds from the begin of the measurement; the same for the same seed.

    Args:
        load: the rate.
        duration_s: of the measurement.
        seed: of the random distances.
        before_s: so much earlier the requests begin, at the rate outside spikes, to warm the server up.

    Returns:
        (n,) ascending, from ``-before_s`` on.
    """
    edges, rates = _pieces(load, duration_s, before_s)
    expected = np.concatenate([[0.0], np.cumsum(np.diff(edges) * rates)])
    total = float(expected[-1])
    if load.poisson:
        rng = np.random.default_rng(seed)
        # Ten standard deviations more than are expected; what comes after the end is cut off.
        marks = np.cumsum(rng.exponential(size=int(total + 10 * np.sqrt(total) + 10)))
    else:
        marks = np.arange(int(np.ceil(total)), dtype=np.float64)
    # The requests expected until a time grow with the rate; a mark's time is where they reach it.
    return np.interp(marks[marks < total], expected, edges)


def _pieces(load: Arrivals, duration_s: float, before_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Edges (n+1,) and rates (n,) of the times in which the rate stays the same."""
    edges, rates = [-before_s], [load.rate_per_s]
    if (spikes := load.spikes) is not None:
        begins = np.arange(spikes.every_s - spikes.length_s, duration_s, spikes.every_s)
        for begin in begins:
            edges += [float(begin), min(float(begin) + spikes.length_s, duration_s)]
            rates += [spikes.rate_per_s, load.rate_per_s]
    return np.array([*edges, duration_s]), np.array(rates)
