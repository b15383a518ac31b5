"""Two runs side by side: ratios, intervals and what is noise."""

import json

import numpy as np
import pytest

from tritonpack.core.errors import ConfigurationError, SourceError
from tritonpack.loadtest.comparison import FORMAT, compare, differences, document_from_file
from tritonpack.loadtest.records import Records, level_from_records
from tritonpack.loadtest.stability import trend, trends_from_level
from tritonpack.loadtest.traffic import Arrivals, Closed


def run(seed, *, speed=1.0, swing=0.05, load=None, duration_s=10.0, status=0):
    """A closed loop of four requests in flight whose latency varies by seconds and by requests."""
    rng = np.random.default_rng(seed)
    ends, latencies = [], []
    for _ in range(4):
        now = -0.5
        while now < duration_s:
            second = np.random.default_rng([seed, int(now + 1)]).normal()
            latency = 0.01 / speed * (1 + swing * second) * rng.lognormal(0, 0.2)
            now += latency
            ends.append(now)
            latencies.append(latency)
    answered = np.array(ends)
    due = answered - np.array(latencies)
    statuses = np.full(len(due), status)
    return level_from_records(Records(due, due, answered, statuses, {}, duration_s, 0.1), load or Closed(4))


def document(*levels, **changes):
    base = {
        "format": FORMAT,
        "model": "minilm",
        "generator": "tritonpack 0.1.0",
        "server": "triton 2.51.0",
        "started_at": "2026-11-22T04:00:00+00:00",
        "machine": {"cpu": "A", "cores": 2},
        "texts": {"count": 200, "words_mean": 16.6},
        "levels": [level.as_dict() for level in levels],
    }
    return base | changes


def verdicts(before, now):
    (comparison,) = compare(document(before), document(now))
    return {ratio.figure: ratio for ratio in comparison.ratios}


def test_the_same_server_twice_is_noise():
    for seed in range(0, 20, 2):
        found = verdicts(run(seed), run(seed + 1))
        assert {ratio.verdict for ratio in found.values()} == {"noise"}


def test_a_faster_server_is_better_in_all_figures():
    found = verdicts(run(1), run(2, speed=1.5))
    assert {ratio.verdict for ratio in found.values()} == {"better"}
    assert found["throughput"].ratio == pytest.approx(1.5, rel=0.1)
    assert found["p50"].ratio == pytest.approx(1 / 1.5, rel=0.1)
    for ratio in found.values():
        assert ratio.low <= ratio.ratio <= ratio.high


def test_a_slower_server_is_worse():
    assert {ratio.verdict for ratio in verdicts(run(1), run(2, speed=0.7)).values()} == {"worse"}


def test_a_restless_server_has_a_wide_interval():
    calm, restless = verdicts(run(1), run(2)), verdicts(run(1), run(2, swing=0.5))
    assert restless["p50"].high - restless["p50"].low > 3 * (calm["p50"].high - calm["p50"].low)


def test_only_shared_loads_are_compared():
    before, now = run(1), run(2)
    other = run(3, load=Arrivals(400.0))
    (comparison,) = compare(document(before), document(other, now))
    assert comparison.load == "closed:4"
    with pytest.raises(ConfigurationError, match=r"no load in common: closed:4 before, poisson:400 now"):
        compare(document(before), document(other))


def test_a_run_without_slices_cannot_be_compared():
    bare = run(1).as_dict() | {"slices": []}
    with pytest.raises(ConfigurationError, match="no slices of time"):
        compare(document() | {"levels": [bare]}, document(run(2)))


def test_what_else_differs_is_said():
    assert differences(document(), document()) == []
    changed = document(machine={"cpu": "A", "cores": 4}, texts={"count": 200, "words_mean": 9.0})
    assert differences(document(), changed) == [
        "cores: 2 before, 4 now",
        "texts: 200 of 16.6 words on average before, 200 of 9.0 words on average now",
    ]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        ("{", "isn't JSON"),
        ("[]", f"isn't a load test of format {FORMAT}$"),
        ('{"format": 1, "levels": []}', "but of format 1"),
    ],
)
def test_files_that_are_no_load_tests(tmp_path, content, words):
    if content is not None:
        (tmp_path / "run.json").write_text(content, encoding="utf-8")
    with pytest.raises(SourceError, match=words):
        document_from_file(tmp_path / "run.json")


def test_a_file_is_read_again(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(document(run(1))), encoding="utf-8")
    read = document_from_file(tmp_path / "run.json")
    assert compare(read, document(run(1)))[0].ratios[0].ratio == 1


def test_a_drift_is_told_from_noise():
    times = np.arange(0.0, 1200.0, 5.0)
    noise = np.random.default_rng(3).normal(0, 1, len(times))
    steady = trend("memory, MB", times, 500 + noise)
    assert steady.verdict == "steady"
    assert steady.low <= 0 <= steady.high
    growing = trend("memory, MB", times, 500 + noise + times / 3600 * 60)
    assert growing.verdict == "grows"
    assert growing.low <= 60 <= growing.high
    # Sure to grow, but by less than a hundredth in the whole time.
    assert trend("memory, MB", times, 500 + times / 3600 * 6).verdict == "steady"
    assert trend("throughput, /s", times, 500 + noise - times / 3600 * 60).verdict == "falls"


def test_only_long_runs_have_trends():
    assert trends_from_level(run(1)) == ()
    figures = [found.figure for found in trends_from_level(run(1, duration_s=60.0))]
    assert figures == ["p99, ms", "throughput, /s"]
