"""A service level objective, and the highest rate of requests that keeps it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tritonpack.core.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tritonpack.loadtest.results import Level

_UNITS_US = {"us": 1.0, "ms": 1000.0, "s": 1_000_000.0}
_MEASURES = ("p50", "p90", "p95", "p99", "mean")
_FAILED_SHARE = 0.001
_ANSWERED_SHARE = 0.95
"""A server that answers fewer than it is asked is behind, and its latency grows with time."""
_CLEAR = 1.25
"""Beyond the limit by this factor, or below it by as much, one measurement decides."""
_LEAST_PER_S = 1.0
_MOST_DOUBLINGS = 12


@dataclass(frozen=True)
class Slo:
    """What a service promises: a percentile of latency, or the mean, under a limit.

    Attributes:
        measure: ``p50``, ``p90``, ``p95``, ``p99`` or ``mean``.
        limit_us: its greatest value.
    """

    measure: str
    limit_us: float

    def __str__(self) -> str:
        return f"{self.measure}<={self.limit_us / 1000:g}ms"

    def value_us(self, level: Level) -> float:
        """What was measured."""
        return float(getattr(level.latency, f"{self.measure}_us"))

    def is_out_of_reach(self, level: Level) -> bool:
        """Whether half of the requests miss it, which with one request at a time no rate can mend."""
        return level.latency.p50_us > self.limit_us

    def is_met(self, level: Level) -> bool:
        """Whether a level keeps it: the limit, nearly no failures, and as many answers as requests."""
        return self.value_us(level) <= self.limit_us and _keeps_up(level)


@dataclass(frozen=True)
class Step:
    """One measurement of a search.

    Attributes:
        rate_per_s: what was sent.
        value_us: the objective's measure; infinite if nothing was answered.
        met: whether it kept the objective.
    """

    rate_per_s: float
    value_us: float
    met: bool


@dataclass(frozen=True)
class Search:
    """The highest rate that was found.

    Attributes:
        rate_per_s: twice measured inside the objective; 0 if none was.
        steps: every measurement, in the order of time.
    """

    slo: Slo
    rate_per_s: float
    steps: tuple[Step, ...]


def parse_slo(text: str) -> Slo:
    """Read ``p99<=25ms``.

    Raises:
        ConfigurationError: it's something else; the message says what would be right.
    """
    found = re.fullmatch(r"(\w+)\s*<=?\s*(\d+(?:\.\d*)?|\.\d+)\s*(us|ms|s)", text.strip())
    if not found or found[1] not in _MEASURES or not float(found[2]):
        raise ConfigurationError(
            f"--slo {text!r} is no objective: it takes one of {', '.join(_MEASURES)}, <= and a time in us, ms or s",
            hint="Example: --slo 'p99<=25ms'",
            field="slo",
            value=text,
        )
    return Slo(found[1], float(found[2]) * _UNITS_US[found[3]])


def highest_rate(
    measure: Callable[[float], Level | None], slo: Slo, start_per_s: float, *, tolerance: float = 0.05
) -> Search:
    """Search the highest rate that keeps an objective: bracket it by doubling, then halve the bracket.

    A rate near the limit is measured up to three times and the majority decides; what is found was inside twice.

    Args:
        measure: measures a rate, None if nothing was answered.
        slo: the objective.
        start_per_s: where to begin.
        tolerance: the bracket's end, as a part of the rate.
    """
    trials = _Trials(measure, slo)
    low, high = _bracket(trials, start_per_s)
    while low and high > low * (1 + tolerance):
        middle = _rounded(math.sqrt(low * high))
        if trials.holds(middle):
            low = middle
        else:
            high = middle
    while low and not trials.is_confirmed(low):
        low = _rounded(low / (1 + tolerance))
        if low < _LEAST_PER_S:
            low = 0.0
    return Search(slo, low, tuple(trials.steps))


class _Trials:
    """Measurements, and what they say of a rate."""

    def __init__(self, measure: Callable[[float], Level | None], slo: Slo) -> None:
        self._measure = measure
        self._slo = slo
        self.steps: list[Step] = []

    def holds(self, rate: float) -> bool:
        """Whether a rate keeps the objective, by one measurement if it's clear, else by two of three."""
        first = self._try(rate)
        ratio = first.value_us / self._slo.limit_us
        if not 1 / _CLEAR < ratio < _CLEAR:
            return first.met
        second = self._try(rate)
        return second.met if second.met == first.met else self._try(rate).met

    def is_confirmed(self, rate: float) -> bool:
        """Whether a rate was inside twice; measures what is missing."""
        known = [step.met for step in self.steps if step.rate_per_s == rate]
        while sum(known) < 2 and known.count(False) < 2:  # noqa: PLR2004  two of three decide
            known.append(self._try(rate).met)
        return sum(known) >= 2  # noqa: PLR2004  as above

    def _try(self, rate: float) -> Step:
        level = self._measure(rate)
        step = Step(rate, math.inf, met=False) if level is None else self._step(rate, level)
        self.steps.append(step)
        return step

    def _step(self, rate: float, level: Level) -> Step:
        return Step(rate, self._slo.value_us(level), self._slo.is_met(level))


def _bracket(trials: _Trials, start_per_s: float) -> tuple[float, float]:
    """A rate that holds and one that doesn't; (0, 0) if none holds, equal ends if none fails."""
    rate = _rounded(start_per_s)
    if trials.holds(rate):
        for _ in range(_MOST_DOUBLINGS):
            doubled = _rounded(2 * rate)
            if not trials.holds(doubled):
                return rate, doubled
            rate = doubled
        return rate, rate
    while rate > _LEAST_PER_S:
        failed, rate = rate, max(_rounded(rate / 2), _LEAST_PER_S)
        if trials.holds(rate):
            return rate, failed
    return 0.0, 0.0


def _rounded(rate: float) -> float:
    """Three digits: what a person would write."""
    return float(f"{rate:.3g}")


def _keeps_up(level: Level) -> bool:
    failed = sum(failure.count for failure in level.failures)
    return (
        failed <= _FAILED_SHARE * (level.requests + failed)
        and level.throughput_per_s >= _ANSWERED_SHARE * level.offered_per_s
    )
