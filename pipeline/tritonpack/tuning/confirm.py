"""The best settings against the recipe's own, in turns: what a search measured alone may be a lucky minute."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tritonpack.tuning.measure import Point

_CONFIDENCE = 0.95


class Verdict(StrEnum):
    """What the rounds say of the settings that were found."""

    FASTER = "faster"
    """Keeps the objective, with more requests a second than the recipe's own, beyond the noise."""
    HOLDS = "holds"
    """Keeps the objective, which the recipe's own settings miss."""
    NOISE = "noise"
    """Keeps the objective, but the difference to the recipe's own is within the noise."""
    SLOWER = "slower"
    """Keeps the objective, with fewer requests a second than the recipe's own."""
    MISSES = "misses"
    """Misses the objective."""


@dataclass(frozen=True)
class Confirmation:
    """Rounds in which both were measured, one right after the other.

    Attributes:
        own: the recipe's own settings, one point a round.
        found: the others, one point a round.
        ratio: of the throughputs, found to own: the geometric mean over the rounds.
        low: the lower end of its 95% interval (Student's t over the rounds' logarithms).
        high: the upper end.
    """

    own: tuple[Point, ...]
    found: tuple[Point, ...]
    ratio: float
    low: float
    high: float

    @property
    def verdict(self) -> Verdict:
        """The objective is judged by the median round."""
        if _median_excess(self.found) > 1:
            return Verdict.MISSES
        if _median_excess(self.own) > 1:
            return Verdict.HOLDS
        if self.low <= 1 <= self.high:
            return Verdict.NOISE
        return Verdict.FASTER if self.ratio > 1 else Verdict.SLOWER

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "verdict": self.verdict,
            "ratio": {"value": round(self.ratio, 4), "low": round(self.low, 4), "high": round(self.high, 4)},
            "own": [point.as_dict() for point in self.own],
            "found": [point.as_dict() for point in self.found],
        }


def confirmed(own: Callable[[], Point], found: Callable[[], Point], rounds: int) -> Confirmation:
    """Measure both in turns; each round begins with the one that ended the round before.

    Args:
        own: measures the recipe's own settings once.
        found: measures the others once.
        rounds: at least 2.
    """
    points: tuple[list[Point], list[Point]] = ([], [])
    for number in range(rounds):
        for place in (0, 1) if number % 2 == 0 else (1, 0):
            points[place].append((own, found)[place]())
    return confirmation_from_points(*points)


def confirmation_from_points(own: Sequence[Point], found: Sequence[Point]) -> Confirmation:
    """The ratio of paired rounds, with its interval."""
    from scipy.stats import t

    logs = [math.log(other.throughput_per_s / mine.throughput_per_s) for mine, other in zip(own, found, strict=True)]
    mean = statistics.fmean(logs)
    reach = t.ppf((1 + _CONFIDENCE) / 2, len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    return Confirmation(
        tuple(own), tuple(found), math.exp(mean), math.exp(mean - float(reach)), math.exp(mean + float(reach))
    )


def _median_excess(points: Sequence[Point]) -> float:
    return statistics.median(point.excess for point in points)


def median_point(points: Sequence[Point]) -> dict[str, float]:
    """Requests a second and latencies in milliseconds: the medians over rounds."""
    return {
        "throughput_per_s": round(statistics.median(point.throughput_per_s for point in points), 2),
        **{
            f"{name}_ms": round(statistics.median(point.latency_us[name] for point in points) / 1000, 3)
            for name in points[0].latency_us
        },
    }
