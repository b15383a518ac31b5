"""What a search is asked for, and who watches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tritonpack.core.errors import ConfigurationError
from tritonpack.tuning.study import Sampler

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.loadtest.slo import Slo
    from tritonpack.tuning.study import Trial

LEAST_ROUNDS = 3
"""Rounds that an interval can be drawn from."""


@dataclass(frozen=True)
class TuningPlan:
    """What a search is asked for.

    Attributes:
        slo: the objective to keep.
        targets: of the recipe; none for every one that can be built and served here.
        precisions: tried beside those that each target has.
        trials: settings to try, the recipe's own included.
        timeout_s: no trial begins later than this after the first.
        window_s: how long the shortest measurement takes; the longest takes four times as long.
        max_concurrency: the most requests in flight.
        rounds: in which the best settings and the recipe's own are measured in turns.
        study: a SQLite file to keep the search in, or to go on with.
    """

    slo: Slo
    targets: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    trials: int = 24
    timeout_s: float | None = None
    sampler: Sampler = Sampler.TPE
    window_s: float = 2.0
    max_concurrency: int = 64
    rounds: int = 7
    study: Path | None = None


def check_plan(plan: TuningPlan) -> None:
    """Refuse numbers that make no sense.

    Raises:
        ConfigurationError: one doesn't; the message names its option and what would be right.
    """
    limits = (
        ("--trials", plan.trials, 1),
        ("--max-concurrency", plan.max_concurrency, 1),
        ("--rounds", plan.rounds, LEAST_ROUNDS),
    )
    for option, number, least in limits:
        if number < least:
            raise ConfigurationError(f"{option} is {number}; it takes a whole number from {least} on", field=option)
    for option, seconds in (("--window", plan.window_s), ("--timeout", plan.timeout_s)):
        if seconds is not None and not 0 < seconds < float("inf"):
            raise ConfigurationError(f"{option} is {seconds:g} s; it takes a time above 0", field=option)


class Watcher(Protocol):
    """Told what goes on."""

    def says(self, line: str) -> None:
        """What is done now."""

    def finished(self, trial: Trial, best: Trial | None) -> None:
        """A trial ended; ``best`` is the best so far."""


class Silent:
    """Watches nothing."""

    def says(self, line: str) -> None:
        """Forget it."""

    def finished(self, trial: Trial, best: Trial | None) -> None:
        """Forget it."""
