"""Objectives, and the search for the highest rate inside one, on a server that is a formula."""

import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tritonpack.core.errors import ConfigurationError
from tritonpack.loadtest.results import Failure, Latency, Level
from tritonpack.loadtest.slo import Slo, highest_rate, parse_slo

LIMIT = Slo("p99", 25_000.0)


def level_of(rate, p99_us, answered=None, failures=()):
    latency = Latency(p99_us / 3, p99_us / 4, p99_us / 2, p99_us / 1.5, p99_us)
    throughput = rate if answered is None else answered
    return Level(0, 1000, throughput, (throughput,), latency, 0.0, 0.0, offered_per_s=rate, failures=failures)


@pytest.mark.parametrize(
    ("text", "slo"),
    [
        ("p99<=25ms", Slo("p99", 25_000)),
        ("p50 < 0.5s", Slo("p50", 500_000)),
        (" mean<=900us", Slo("mean", 900)),
    ],
)
def test_objectives_are_read(text, slo):
    assert parse_slo(text) == slo
    assert parse_slo(str(slo)) == slo


@pytest.mark.parametrize("text", ["", "25ms", "p99<=25", "p98<=25ms", "p99>=25ms", "p99<=0ms", "p99<=ms"])
def test_objectives_that_make_no_sense_are_answered_with_what_would(text):
    with pytest.raises(ConfigurationError, match="one of p50, p90, p95, p99, mean") as raised:
        parse_slo(text)
    assert "p99<=25ms" in raised.value.hint


def test_an_objective_wants_answers_too():
    assert LIMIT.is_met(level_of(100.0, 25_000))
    assert not LIMIT.is_met(level_of(100.0, 25_001))
    assert not LIMIT.is_met(level_of(100.0, 10_000, answered=90.0))
    refused = Failure("UNAVAILABLE", 2, "queue full", 1.0, 1.0)
    assert not LIMIT.is_met(level_of(100.0, 10_000, failures=(refused,)))
    assert LIMIT.is_met(level_of(100.0, 10_000, failures=(Failure("UNAVAILABLE", 1, "", 1.0, 1.0),)))


def queue(capacity, service_us):
    """A latency that grows without bound near the capacity, and no answer beyond twice of it."""

    def measure(rate):
        if rate >= 2 * capacity:
            return None
        if rate >= capacity:
            return level_of(rate, 1e7, answered=capacity)
        return level_of(rate, service_us / (1 - rate / capacity))

    return measure


@settings(deadline=None)
@given(st.floats(5, 5000), st.floats(1000, 20_000), st.floats(0.05, 30))
@example(5.0, 18751.0, 1.0)  # just above the least rate
def test_the_highest_rate_is_found_from_anywhere(capacity, service_us, start):
    right = capacity * (1 - service_us / LIMIT.limit_us)
    search = highest_rate(queue(capacity, service_us), LIMIT, start * capacity)
    assert right / 1.06 <= search.rate_per_s <= right * 1.001
    kept = [step for step in search.steps if step.rate_per_s == search.rate_per_s]
    assert sum(step.met for step in kept) >= 2


def test_no_rate_is_an_answer_too():
    search = highest_rate(queue(100.0, 50_000), LIMIT, 50.0)
    assert search.rate_per_s == 0
    assert not any(step.met for step in search.steps)
    nothing = highest_rate(lambda _: None, LIMIT, 50.0)
    assert nothing.rate_per_s == 0
    assert math.isinf(nothing.steps[0].value_us)


def test_a_lucky_measurement_near_the_limit_does_not_decide():
    answers = {}

    def measure(rate):
        answers[rate] = answers.get(rate, 0) + 1
        if rate > 100:
            # Inside at first sight, and never again.
            return level_of(rate, 24_000 if answers[rate] == 1 else 29_000)
        return level_of(rate, 20_500)

    search = highest_rate(measure, LIMIT, 80.0)
    assert 90 <= search.rate_per_s <= 100
