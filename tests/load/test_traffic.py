"""The generator in Python against a real Triton: the same figures as perf_analyzer's, rates, searches, comparisons."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from tritonpack.core.errors import LoadTestError, ServerError
from tritonpack.loadtest.counters import Counters
from tritonpack.loadtest.driver import LoadPlan, run_load_test
from tritonpack.loadtest.install import ensure_perf_analyzer
from tritonpack.loadtest.traffic import Arrivals

pytestmark = [pytest.mark.server, pytest.mark.load]
TEXTS = [f"text {index}" for index in range(100)]


@pytest.fixture(scope="module")
def bench(tritonpack, url, tmp_path_factory):
    def call(*options):
        folder = tmp_path_factory.mktemp("reports")
        done = tritonpack("bench", "hash", "--url", url, "--report", folder, "--json", *options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return call


@pytest.mark.slow
def test_both_generators_agree_at_low_load(url):
    perf_analyzer = ensure_perf_analyzer()
    plan = LoadPlan("hash", (1,), 2.4, url)
    ours, theirs = [], []
    for number in range(8):
        # In turns and in changing order, so that a machine that slows down slows both.
        order = [perf_analyzer, None] if number % 2 else [None, perf_analyzer]
        try:
            found = {bool(generator): run_load_test(generator, plan, TEXTS).levels[0] for generator in order}
        except LoadTestError as error:
            # On a machine that is busy with something else perf_analyzer calls a round unstable: it doesn't count.
            assert "stable measurement" in error.message  # noqa: PT017  any other failure is one
            continue
        ours += found[False].slices
        theirs += found[True].slices
    # What else runs can only slow a slice of time down, so the quietest slices of each are what to compare. A single
    # stall costs a slice more of its throughput than of its median.
    throughput = [max(part.answered / part.duration_s for part in slices) for slices in (ours, theirs)]
    p50 = [np.percentile([part.quantiles_us[50] for part in slices], 10) for slices in (ours, theirs)]
    assert throughput[0] / throughput[1] == pytest.approx(1, abs=0.1), (throughput, p50)
    assert p50[0] / p50[1] == pytest.approx(1, abs=0.1), (throughput, p50)


def test_the_generator_in_python_reports_as_perf_analyzer_does(bench):
    document = bench("--concurrency", "1,3", "--duration", 1.5, "--generator", "python")
    assert document["generator"].startswith("tritonpack ")
    assert [level["load"] for level in document["levels"]] == ["closed:1", "closed:3"]
    for level in document["levels"]:
        latency = level["latency"]
        assert 0 < latency["p50_us"] <= latency["p90_us"] <= latency["p95_us"] <= latency["p99_us"]
        assert [stage["model"] for stage in level["stages"]] == ["hash_text", "hash_vector"]
        assert all(stage["mean_batch"] >= 1 for stage in level["stages"])
        assert level["compute_us"] > 1000  # the second stage sleeps a millisecond
        assert level["queue_us"] + level["compute_us"] < 1.2 * latency["mean_us"]
        assert level["memory"][0][1] > 10
        assert 0 < level["client_cpu"] < 1


def test_rates_are_kept(bench):
    document = bench("--traffic", "constant:20,40", "--duration", 1)
    assert document["generator"].startswith("tritonpack ")
    assert [(level["offered_per_s"], level["requests"]) for level in document["levels"]] == [(20, 20), (40, 40)]
    assert all(level["failures"] == [] for level in document["levels"])


def test_perf_analyzer_sends_rates_when_asked_to(bench):
    (level,) = bench("--traffic", "poisson:40", "--duration", 1.5, "--generator", "perf_analyzer")["levels"]
    assert (level["load"], level["offered_per_s"], level["concurrency"]) == ("poisson:40", 40, 0)
    assert level["requests"] > 10


def test_spikes_are_seen_in_the_slices(bench):
    document = bench("--traffic", "spikes:10,150,1s,300ms", "--duration", 2, "--lengths", "fixed:3")
    (level,) = document["levels"]
    assert level["offered_per_s"] == pytest.approx(10 * 0.7 + 150 * 0.3, rel=0.35)
    answered = [part["answered"] for part in level["slices"]]
    assert max(answered) > 4 * (min(answered) + 1)
    assert document["texts"]["lengths"] == "fixed:3"
    page = Path(document["report"]["html"]).read_text(encoding="utf-8")
    assert "Throughput over time" in page
    assert not re.search(r"(?:src|href)\s*=|url\(|@import|<script|<link", page)


@pytest.mark.slow
def test_a_search_finds_a_rate_inside_the_objective(bench):
    # A second is far above what a closed loop shows, so the limit is where answers fall behind requests.
    document = bench("--slo", "p50<=300ms", "--duration", 1)
    search = document["search"]
    assert search["rate_per_s"] > 20
    assert sum(step["met"] for step in search["steps"] if step["rate_per_s"] == search["rate_per_s"]) >= 2
    assert any(not step["met"] and step["rate_per_s"] > search["rate_per_s"] for step in search["steps"])
    rates = sorted({step["rate_per_s"] for step in search["steps"] if step["value_us"]})
    assert [float(level["load"].partition(":")[2]) for level in document["levels"]] == pytest.approx(rates)


def test_an_objective_out_of_reach_is_an_answer(bench):
    document = bench("--slo", "p50<=0.01ms", "--duration", 0.3)
    assert document["search"]["rate_per_s"] == 0


def test_two_runs_are_compared(bench, tritonpack, url, tmp_path):
    first = bench("--concurrency", "2", "--duration", 1, "--generator", "python")
    options = ("--concurrency", "2", "--duration", 1, "--generator", "python", "--against", first["report"]["json"])
    against = bench(*options)["against"]
    assert against["started_at"] == first["started_at"]
    assert against["differences"] == []
    assert [ratio["figure"] for ratio in against["loads"][0]["ratios"]] == ["throughput", "p50", "p99"]
    assert all(ratio["verdict"] in {"noise", "better", "worse"} for ratio in against["loads"][0]["ratios"])
    shown = tritonpack("bench", "hash", "--url", url, "--report", tmp_path, *options)
    assert "Against the run of" in shown.stdout
    assert "95% interval" in (tmp_path / "hash-bench.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--traffic", "poison:5"), "is no kind of traffic"),
        (("--traffic", "poisson:5", "--slo", "p99<=5ms"), "--traffic and --slo exclude one another"),
        (("--traffic", "soak:20m@100", "--duration", 5), "leave --duration out"),
        (("--slo", "p99<25"), "is no objective"),
        (("--slo", "p99<25ms", "--generator", "perf_analyzer"), "take the other generator"),
        (("--lengths", "fixed:0"), "is no number"),
        (("--against", "nowhere.json"), "No such file"),
    ],
)
def test_options_that_make_no_sense_are_refused_before_anything_is_sent(tritonpack, options, words):
    done = tritonpack("bench", "hash", "--url", "127.0.0.1:1", *options)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.split())


def test_requests_that_fail_under_way_are_counted(url):
    # One of twelve texts sleeps a second, and those behind it pass their deadline too.
    plan = LoadPlan("hash", duration_s=2.4, url=url, loads=(Arrivals(5.0, poisson=False),), timeout_s=0.5)
    (level,) = run_load_test(None, plan, [*TEXTS[:11], "sleep"]).levels
    (failure,) = level.failures
    assert failure.status == "DEADLINE_EXCEEDED"
    assert failure.count >= 1
    assert failure.count + level.requests == 12


def test_statistics_of_a_model_that_is_not_there(url):
    with pytest.raises(ServerError, match="doesn't tell its statistics"):
        Counters(url, "nothing")
