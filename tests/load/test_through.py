"""`tritonpack bench --through`: the client libraries' own programs against a real Triton."""

import json
import os
from pathlib import Path

import pytest

from tritonpack.core.errors import ConfigurationError, LoadTestError, UnsupportedError
from tritonpack.loadtest import through
from tritonpack.loadtest.driver import LoadPlan, check_plan, run_load_test
from tritonpack.loadtest.records import level_from_records
from tritonpack.loadtest.slo import parse_slo
from tritonpack.loadtest.through import find_sdk, record
from tritonpack.loadtest.traffic import Arrivals, Closed
from tritonpack.server.embedded import free_ports

pytestmark = [pytest.mark.server, pytest.mark.load]


def built(name):
    try:
        return find_sdk(name)
    except UnsupportedError as error:
        pytest.skip(f"{error.message}: `make test-clients` builds it")


@pytest.mark.parametrize("name", through.SDKS)
def test_a_closed_loop_through_a_library(url, name):
    records = record(built(name), url, "hash", [{"text": "a"}, {"text": "é"}], Closed(3), 0.8, warm_up_s=0.3)
    level = level_from_records(records, Closed(3))
    assert (level.concurrency, level.load, level.failures) == (3, "closed:3", ())
    assert min(records.sent) < 0 < level.requests
    # Little's law: what is in flight is what arrives in the time that one takes.
    assert level.throughput_per_s * level.latency.mean_us / 1e6 == pytest.approx(3, rel=0.3)
    assert 0 < level.client_cpu < 3


@pytest.mark.parametrize("name", through.SDKS)
def test_failures_are_counted_by_status(url, name):
    rows = [{"text": "fail"}, {"text": "a"}]
    level = level_from_records(record(built(name), url, "hash", rows, Closed(2), 0.8), Closed(2))
    (failure,) = level.failures
    assert failure.status not in {"OK", "DEADLINE_EXCEEDED"}
    assert failure.count > 0
    assert "asked to fail" in failure.message


@pytest.mark.parametrize("name", ["sdk-python", "sdk-typescript"])
def test_no_server_is_one_clear_error(name):
    (port,) = free_ports(1)
    with pytest.raises(LoadTestError, match=f"127.0.0.1:{port}"):
        record(built(name), f"127.0.0.1:{port}", "hash", [{"text": "a"}], Closed(1), 0.3)


def test_the_report_holds_the_library_against_the_generator(tritonpack, url, tmp_path):
    arguments = ["--through", "sdk-python", "--concurrency", "1,4", "--duration", 0.9, "--report", tmp_path]
    done = tritonpack("bench", "hash", *arguments, "--url", url, "--generator", "python", "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    found = document["through"]
    assert document["generator"].startswith("tritonpack-client")
    assert (found["sdk"], found["generator"].split()[0]) == ("sdk-python", "tritonpack")
    for level, beside, cost in zip(document["levels"], found["levels"], found["overheads"], strict=True):
        assert level["load"] == beside["load"] == cost["load"]
        ratio = level["throughput_per_s"] / beside["throughput_per_s"]
        assert cost["throughput_ratio"] == pytest.approx(ratio, abs=1e-3)
        milliseconds = (level["latency"]["p50_us"] - beside["latency"]["p50_us"]) / 1000
        assert cost["p50_ms"] == pytest.approx(milliseconds, abs=1e-3)
        assert cost["cpu_us"] > cost["generator_cpu_us"] > 0
        assert level["compute_us"] > 0
    assert "--through sdk-python --generator python" in document["command"]
    page = Path(document["report"]["html"]).read_text()
    assert "What the client library costs" in page
    assert page.count("<svg") == 4


def test_the_table_shows_the_overhead(tritonpack, url, tmp_path):
    arguments = ["--through", "sdk-python-async", "--concurrency", "2", "--duration", 0.9, "--report", tmp_path]
    done = tritonpack("bench", "hash", *arguments, "--url", url)
    assert done.returncode == 0, done.stderr
    assert "for Python, asyncio, beside perf_analyzer" in " ".join(done.stdout.split())


def test_where_there_is_no_perf_analyzer_the_generator_in_python_sends(url):
    plan = LoadPlan("hash", (2,), 0.6, url, through=find_sdk("sdk-python"))
    test = run_load_test(None, plan, ["text"])
    assert test.beside.generator.startswith("tritonpack ")
    assert len(test.overheads) == 1


@pytest.mark.parametrize("plan", [{"loads": (Arrivals(10.0),)}, {"slo": parse_slo("p99<=25ms")}])
def test_rates_are_refused(plan):
    with pytest.raises(ConfigurationError, match="closed loops"):
        check_plan(LoadPlan("hash", (1,), through=find_sdk("sdk-python"), **plan))


def test_a_library_that_is_not_installed_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(through, "_CHECKOUT", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnsupportedError, match="tritonpack-client-load on PATH, and no node") as raised:
        find_sdk("sdk-typescript")
    assert raised.value.exit_code == 3
    assert "make typescript" in raised.value.hint


def test_a_program_on_the_path_comes_first(monkeypatch, tmp_path):
    program = tmp_path / "tritonpack-client-load"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert find_sdk("sdk-typescript").command == (str(program),)
