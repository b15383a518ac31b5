"""How a server's load is raised, and what measurements are worth."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tritonpack.core.errors import ConfigurationError, LoadTestError
from tritonpack.loadtest.results import Failure, Latency, Level
from tritonpack.tuning.measure import RUNGS, Climb, best_of, point_from_level, value_of
from tritonpack.tuning.plan import TuningPlan, check_plan

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_tuning import SLO, point


def level(p99_us, failed=0):
    failures = (Failure("UNAVAILABLE", failed, "queue full", 1.0, 2.0),) if failed else ()
    latency = Latency(5000.0, 4000.0, 9000.0, 10000.0, p99_us)
    return Level(4, 1000, 250.0, (), latency, 0.0, 0.0, failures=failures)


def test_a_level_is_judged_by_the_objective():
    kept, missed = (point_from_level(level(p99_us), 4, 2.0, SLO) for p99_us in (20_000.0, 50_000.0))
    assert (kept.excess, kept.holds) == (0.8, True)
    assert (missed.excess, missed.holds) == (2.0, False)
    assert kept.latency_us["p50"] == 4000.0


def test_failing_requests_miss_the_objective_by_their_share():
    assert point_from_level(level(20_000.0, failed=250), 4, 2.0, SLO).excess == pytest.approx(1.2)
    assert point_from_level(level(20_000.0, failed=1), 4, 2.0, SLO).excess == 0.8


def test_the_best_keeps_the_objective_or_is_the_nearest_to_it():
    slow, fast, late = point(1, 100, 5), point(4, 300, 20), point(8, 400, 30)
    assert best_of([slow, fast, late]) is fast
    assert best_of([point(8, 400, 60), late]) is late


def test_any_settings_that_keep_the_objective_are_worth_more_than_any_that_dont():
    ranked = [point(1, 900, 300), point(1, 900, 26), point(1, 0.5, 24), point(1, 100, 24)]
    values = [value_of(one) for one in ranked]
    assert values == sorted(values)
    assert len(set(values)) == 4


def climb_over(levels, most=64):
    """A climb over throughput and p99 by concurrency; returns it and the measurements that it asked for."""
    asked = []

    def measure(concurrency, duration_s):
        asked.append((concurrency, duration_s))
        throughput, p99_ms = levels(concurrency)
        return point(concurrency, throughput, p99_ms, duration_s)

    return Climb(measure, 2.0, most), asked


def test_the_load_rises_until_the_objective_is_missed():
    climb, asked = climb_over(lambda concurrency: (100 * concurrency, 5 * concurrency))
    assert climb.rung(1).concurrency == 4
    assert asked == [(1, 2.0), (2, 2.0), (4, 2.0), (8, 2.0)]


def test_the_load_rises_until_nothing_is_gained():
    climb, asked = climb_over(lambda concurrency: (min(100 * concurrency, 350), 1))
    assert climb.rung(1).throughput_per_s == 350
    assert [concurrency for concurrency, _ in asked] == [1, 2, 4, 8, 16]


@pytest.mark.parametrize(("most", "loads"), [(1, [1]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_the_load_stays_below_what_is_allowed(most, loads):
    climb, asked = climb_over(lambda concurrency: (100 * concurrency, 1), most)
    climb.rung(1)
    assert [concurrency for concurrency, _ in asked] == loads


def test_later_rungs_are_longer_and_look_between_the_best_and_the_next():
    climb, asked = climb_over(lambda concurrency: (100 * concurrency, 4 * concurrency))
    best = [climb.rung(windows) for windows in RUNGS]
    assert [one.concurrency for one in best] == [4, 6, 6]
    assert asked[4:] == [(4, 4.0), (6, 4.0), (6, 8.0), (7, 8.0)]
    assert len(climb.points) == len(asked)


def test_a_load_that_held_by_luck_is_left_downwards():
    seen = []

    def lucky_at_first(concurrency):
        seen.append(concurrency)
        return 100 * concurrency, 30 if seen.count(concurrency) > 1 and concurrency > 2 else 10

    climb, asked = climb_over(lucky_at_first, most=8)
    assert climb.rung(1).concurrency == 8
    assert climb.rung(2).concurrency == 2
    assert [concurrency for concurrency, _ in asked[4:]] == [8, 4, 2]


def test_a_load_that_missed_by_bad_luck_is_risen_from_anew():
    seen = []

    def unlucky_at_first(concurrency):
        seen.append(concurrency)
        return 100 * concurrency, 60 if len(seen) == 1 or concurrency > 4 else 10

    climb, asked = climb_over(unlucky_at_first)
    assert not climb.rung(1).holds
    assert climb.rung(2).concurrency == 4
    assert [concurrency for concurrency, _ in asked] == [1, 1, 2, 4, 8]


def test_a_load_that_cannot_be_measured_ends_the_rise():
    def failing_at_four(concurrency):
        if concurrency == 4:
            raise LoadTestError("the queue is full")
        return 100 * concurrency, 1

    climb, _ = climb_over(failing_at_four)
    assert climb.rung(1).concurrency == 2
    assert climb.stopped == "concurrency 4: the queue is full"


def test_a_server_that_cannot_be_measured_at_all_is_an_error():
    def failing(concurrency):
        raise LoadTestError(f"no answer at {concurrency}")

    climb, _ = climb_over(failing)
    with pytest.raises(LoadTestError, match="no answer at 1"):
        climb.rung(1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": 0}, "--trials is 0; it takes a whole number from 1 on"),
        ({"max_concurrency": 0}, "--max-concurrency is 0"),
        ({"rounds": 2}, "--rounds is 2; it takes a whole number from 3 on"),
        ({"window_s": 0.0}, "--window is 0 s; it takes a time above 0"),
        ({"window_s": float("nan")}, "--window is nan s"),
        ({"timeout_s": -1.0}, "--timeout is -1 s"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(changes, message):
    with pytest.raises(ConfigurationError) as error:
        check_plan(TuningPlan(SLO, **changes))
    assert message in error.value.message
