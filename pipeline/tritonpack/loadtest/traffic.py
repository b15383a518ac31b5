"""What arrives at the server, as data: a closed loop, or arrivals at a rate that time decides.

A closed loop sends the next request when one is answered, so a slow server is asked less. An open loop sends
when the next person comes, whatever the server does: that is what a service sees, and where queues grow.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from tritonpack.core.errors import ConfigurationError

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


@dataclass(frozen=True)
class Traffic:
    """What a load test sends, one level after another.

    Attributes:
        loads: one level each, at least one.
        duration_s: of each, None if it isn't part of the traffic.
    """

    loads: tuple[Load, ...]
    duration_s: float | None = None


EXAMPLES = {
    "closed": "closed:1,4,16",
    "poisson": "poisson:200",
    "constant": "constant:200",
    "steps": "steps:50,100,200",
    "spikes": "spikes:50,300,10s,1s",
    "soak": "soak:20m@100",
}
"""Every kind of traffic, and one of it."""
_SPIKE_TIMES = ("10s", "1s")
_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}


def parse_traffic(text: str) -> Traffic:
    """Read what ``--traffic`` takes.

    ``closed:N,...`` keeps N requests in flight; ``poisson:RATE,...``, ``constant:RATE,...`` and ``steps:RATE,...``
    (Poisson) send at rates, one level each; ``spikes:RATE,PEAK[,EVERY,LENGTH]`` has peaks; ``soak:TIME@RATE`` goes on.

    Raises:
        ConfigurationError: the text is none of these; the message says what would be right.
    """
    kind, _, rest = text.strip().partition(":")
    if kind not in EXAMPLES:
        raise ConfigurationError(
            f"--traffic {text!r} is no kind of traffic; the kinds are {', '.join(EXAMPLES)}",
            hint="Examples: " + ", ".join(EXAMPLES.values()),
            field="traffic",
        )
    parts = [part.strip() for part in rest.split(",")]
    if kind == "soak":
        time, _, rate = rest.partition("@")
        return Traffic((Arrivals(_rate(rate, kind)),), _seconds(time, kind))
    if kind == "spikes":
        return Traffic((_spikes(parts),))
    if kind == "closed":
        return Traffic(tuple(Closed(_count(part, kind)) for part in parts))
    return Traffic(tuple(Arrivals(_rate(part, kind), poisson=kind != "constant") for part in parts))


def duration_from_text(text: str) -> float:
    """Seconds of a time such as ``500ms``, ``10s``, ``20m`` or ``2h``; a bare number is seconds.

    Raises:
        ValueError: it isn't one.
    """
    found = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*([a-z]*)", text.strip())
    if not found or (found[2] or "s") not in _UNITS_S or not float(found[1]):
        raise ValueError(text)
    return float(found[1]) * _UNITS_S[found[2] or "s"]


def _spikes(parts: list[str]) -> Arrivals:
    if len(parts) not in {2, 4}:
        raise _refusal("spikes", ",".join(parts), "is two rates, and how often and how long the second lasts")
    rate, peak = (_rate(part, "spikes") for part in parts[:2])
    every_s, length_s = (_seconds(part, "spikes") for part in (parts[2:] or _SPIKE_TIMES))
    if length_s >= every_s:
        raise _refusal("spikes", ",".join(parts), f"has spikes of {length_s:g} s, which isn't below {every_s:g} s")
    return Arrivals(rate, spikes=Spikes(peak, every_s, length_s))


def _rate(text: str, kind: str) -> float:
    try:
        rate = float(text.removesuffix("/s"))
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise _refusal(kind, text, "is no rate above 0 requests a second")
    return rate


def _count(text: str, kind: str) -> int:
    if not text.isdecimal() or not int(text):
        raise _refusal(kind, text, "is no whole number from 1 on")
    return int(text)


def _seconds(text: str, kind: str) -> float:
    try:
        return duration_from_text(text)
    except ValueError:
        raise _refusal(kind, text, "is no time such as 500ms, 10s, 20m or 2h") from None


def _refusal(kind: str, value: str, why: str) -> ConfigurationError:
    return ConfigurationError(
        f"--traffic {kind}: {value!r} {why}", hint=f"Example: --traffic {EXAMPLES[kind]}", field="traffic", value=value
    )


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
