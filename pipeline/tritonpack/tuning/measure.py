"""What settings are worth: a real server is started with them, and loaded with more and more requests in flight."""

from __future__ import annotations

import math
import tempfile
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from tritonpack.api import build
from tritonpack.core.errors import LoadTestError, VerificationError
from tritonpack.recipe import overlaid
from tritonpack.server.embedded import ServerOptions, free_ports, start

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from tritonpack.core.runner import Observer
    from tritonpack.loadtest.results import Level
    from tritonpack.loadtest.slo import Slo
    from tritonpack.recipe import Recipe
    from tritonpack.server.embedded import RunningServer
    from tritonpack.tuning.space import Settings

RUNGS = (1, 2, 4)
"""Lengths of a trial's measurements, in windows; after each, a trial that lags behind is given up."""
_GAIN = 1.02
"""More requests in flight that gain less than this have met the server's limit."""
_STATISTICS = ("mean", "p50", "p90", "p95", "p99")


class Load(Protocol):
    """Something that keeps requests in flight.

    Attributes:
        name: for the evidence, with its version.
    """

    name: str

    def __call__(self, url: str, model: str, concurrency: int, duration_s: float) -> Level:
        """Load a model of texts and say how it did.

        Raises:
            LoadTestError: it could not be measured.
        """


@dataclass(frozen=True)
class Point:
    """What was measured with so many requests in flight.

    Attributes:
        latency_us: by statistic.
        excess: the objective's measure as a part of its limit; above 1 it is missed.
    """

    concurrency: int
    duration_s: float
    throughput_per_s: float
    latency_us: Mapping[str, float]
    excess: float

    @property
    def holds(self) -> bool:
        """Whether it keeps the objective."""
        return self.excess <= 1

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return asdict(self)


def point_from_level(level: Level, concurrency: int, duration_s: float, slo: Slo) -> Point:
    """Judge a level; one that is fast enough but where requests failed misses the objective by their share."""
    latency_us = {name: float(getattr(level.latency, f"{name}_us")) for name in _STATISTICS}
    excess = slo.value_us(level) / slo.limit_us
    if excess <= 1 and not slo.is_met(level):
        failed = sum(failure.count for failure in level.failures)
        excess = 1 + failed / (failed + level.requests)
    return Point(concurrency, duration_s, level.throughput_per_s, latency_us, excess)


def best_of(points: Sequence[Point]) -> Point:
    """The greatest throughput that keeps the objective; where none does, the one that is nearest to it."""
    holding = [point for point in points if point.holds]
    if holding:
        return max(holding, key=lambda point: point.throughput_per_s)
    return min(points, key=lambda point: point.excess)


def value_of(point: Point) -> float:
    """What a search makes greatest: requests a second, or below -1 how far off the objective is."""
    return point.throughput_per_s if point.holds else -point.excess


@contextmanager
def served(
    recipe: Recipe, settings: Settings, store: Path | None, observer: Observer | None = None
) -> Iterator[RunningServer]:
    """Package a recipe with settings into a repository that lasts as long as the server, and serve it.

    Raises:
        VerificationError: a gate refuses the precision, and the build fell back to another.
        TritonpackError: what a build and a start raise.
    """
    variant = overlaid(recipe, settings.overlay(recipe), "the settings of a trial")
    with tempfile.TemporaryDirectory(prefix="tritonpack-tune-") as folder:
        repository = Path(folder, "repository")
        built = build(variant, [settings.target], repository=repository, store=store, observer=observer).targets[0]
        if built.precision != settings.precision:
            raise VerificationError(f"{settings.precision} is refused: {built.refused[0]['why']}")
        grpc, http, metrics = free_ports()
        with start(ServerOptions(repository, grpc, http, metrics)) as server:
            yield server


class Climb:
    """One server's measurements, in rungs: each is longer than the one before and looks closer at the best load.

    Args:
        measure: measures so many requests in flight for so many seconds.
        window_s: the length of the first rung's measurements.
        most: requests in flight.
    """

    def __init__(self, measure: Callable[[int, float], Point], window_s: float, most: int) -> None:
        self._measure = measure
        self._window_s = window_s
        self._most = most
        self._known: set[int] = set()
        self._best: Point | None = None
        self.points: list[Point] = []
        self.stopped = ""

    def rung(self, windows: int) -> Point:
        """Measure for so many windows, and return the best of what was measured.

        Raises:
            LoadTestError: not even one request in flight could be measured.
        """
        duration_s = windows * self._window_s
        found = self._rising(duration_s) if self._best is None else self._around(self._best.concurrency, duration_s)
        self._known |= {point.concurrency for point in found}
        self.points += found
        self._best = best_of(found)
        return self._best

    def _rising(self, duration_s: float, above: int = 0) -> list[Point]:
        """Double the requests in flight until the objective is missed or nothing is gained."""
        found: list[Point] = []
        for concurrency in (load for load in _doubled(self._most) if load > above):
            try:
                found.append(self._measure(concurrency, duration_s))
            except LoadTestError as error:
                if not found:
                    raise
                self.stopped = f"concurrency {concurrency}: {error.message}"
                break
            if not found[-1].holds or _saturated(found):
                break
        return found

    def _around(self, best: int, duration_s: float) -> list[Point]:
        """Measure the best load anew, and what is likely to be better now that it is known to hold or not."""
        found = [self._measure(best, duration_s)]
        if not found[0].holds:
            return [*found, *self._falling(best, duration_s)]
        above = [known for known in self._known if known > best]
        if not above:
            return [*found, *self._rising(duration_s, above=best)]
        middle = round(math.sqrt(best * min(above)))
        if middle not in {best, *above}:
            found.append(self._measure(middle, duration_s))
        return found

    def _falling(self, best: int, duration_s: float) -> list[Point]:
        """Go down until the objective is kept."""
        found: list[Point] = []
        for concurrency in sorted((known for known in self._known if known < best), reverse=True):
            found.append(self._measure(concurrency, duration_s))
            if found[-1].holds:
                break
        return found


def _doubled(most: int) -> list[int]:
    powers = [2**power for power in range(most.bit_length()) if 2**power <= most]
    return powers if powers[-1] == most else [*powers, most]


def _saturated(points: Sequence[Point]) -> bool:
    """Whether the last two loads gained nothing."""
    throughputs = [point.throughput_per_s for point in points]
    return len(throughputs) > 2 and max(throughputs[-2:]) < _GAIN * max(throughputs[:-2])  # noqa: PLR2004  two and one
