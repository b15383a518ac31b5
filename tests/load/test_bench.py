"""`tritonpack bench` and `infer` as a person calls them: the real perf_analyzer against a real Triton."""

import json
import re
from pathlib import Path

import pytest

from tritonpack.core.errors import ConfigurationError, LoadTestError, ServerError
from tritonpack.loadtest.driver import LoadPlan, run_load_test
from tritonpack.loadtest.install import ensure_perf_analyzer
from tritonpack.server.embedded import free_ports

pytestmark = [pytest.mark.server, pytest.mark.load]


def test_bench_measures_and_reports(tritonpack, url, tmp_path):
    done = tritonpack("bench", "hash", "--concurrency", "1,3", "--duration", 1.5, "--url", url, "--report", tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"report  {tmp_path}/hash-bench.html" in done.stdout
    document = json.loads((tmp_path / "hash-bench.json").read_text())
    assert [level["concurrency"] for level in document["levels"]] == [1, 3]
    for level in document["levels"]:
        check_level(level)
    assert document["machine"]["cores"] >= 1
    check_page((tmp_path / "hash-bench.html").read_text())


def check_level(level):
    latency = level["latency"]
    assert level["throughput_per_s"] > 0
    assert level["requests"] > 0
    assert len(level["window_throughput_per_s"]) == 3
    assert 0 < latency["p50_us"] <= latency["p90_us"] <= latency["p95_us"] <= latency["p99_us"]
    assert latency["quantiles_us"] == sorted(latency["quantiles_us"])
    # The table and the record of every request are two accounts of the same run.
    assert latency["quantiles_us"][50] == pytest.approx(latency["p50_us"], rel=0.1)
    assert [stage["model"] for stage in level["stages"]] == ["hash_text", "hash_vector"]
    assert level["compute_us"] == pytest.approx(sum(stage["compute_us"] for stage in level["stages"]))
    assert level["compute_us"] > 1000  # the second stage sleeps a millisecond
    assert level["queue_us"] + level["compute_us"] < 1.2 * latency["mean_us"]


def check_page(page):
    assert page.count("<svg") == 4
    assert not re.search(r"(?:src|href)\s*=|url\(|@import|<script|<link", page)
    assert "http" not in re.sub(r"127\.0\.0\.1:\d+", "", page)
    assert len(page) < 100_000


def test_bench_json_is_one_document(tritonpack, url, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text('with "quotes" and \\ and é\n\nsecond\n')
    done = tritonpack(
        "bench", "hash", "--concurrency", 2, "--duration", 0.6, "--url", url, "--texts", texts,
        "--report", tmp_path, "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["texts"] == {"source": "texts.txt", "count": 2, "words_mean": 3.5, "words_max": 6, "lengths": ""}
    assert Path(document["report"]["html"]).is_file()


def test_infer_shows_how_alike_texts_are(tritonpack, url):
    done = tritonpack("infer", "hash", "same", "same", "other", "--url", url, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["dimension"] == 8
    similarity = document["cosine_similarity"]
    assert similarity[0][1] == pytest.approx(1.0, abs=1e-5)
    assert similarity[0][2] < 0.999
    assert "[bold]same" in tritonpack("infer", "hash", "[bold]same", "--url", url).stdout


def test_an_unknown_model_is_answered_with_those_that_are_there(tritonpack, url):
    for command in ("bench", "infer"):
        done = tritonpack(command, "hsh", *(["text"] if command == "infer" else []), "--url", url)
        assert done.returncode == 2
        assert "it has: hash, hash_text, hash_vector" in " ".join(done.stderr.split())
        assert "Did you mean 'hash'?" in done.stderr


def test_a_model_without_texts_is_refused(url):
    with pytest.raises(ConfigurationError, match=r"takes features FP32 \[8\]"):
        run_load_test(ensure_perf_analyzer(), LoadPlan("hash_vector", (1,), 0.6, url), ["text"])


def test_a_failing_request_is_reported_before_perf_analyzer_runs(url):
    with pytest.raises(ServerError, match="asked to fail"):
        run_load_test(ensure_perf_analyzer(), LoadPlan("hash", (1,), 0.6, url), ["fail"])


def test_windows_without_an_answer_are_reported(url):
    with pytest.raises(LoadTestError, match="closed:1"):
        run_load_test(ensure_perf_analyzer(), LoadPlan("hash", (1,), 0.03, url), ["sleep"])


def test_no_server_is_one_clear_error(tritonpack, tmp_path):
    (port,) = free_ports(1)
    done = tritonpack("bench", "hash", "--url", f"127.0.0.1:{port}", "--report", tmp_path)
    assert done.returncode == 6
    assert "no Triton server answers at" in done.stderr
    assert "tritonpack serve" in done.stderr
    assert not list(tmp_path.iterdir())
