"""Reading what perf_analyzer writes; the files under data/ were recorded from perf_analyzer 2.50."""

import json
import shutil
from pathlib import Path

import pytest

from tritonpack.core.errors import LoadTestError
from tritonpack.loadtest.perf_files import level_from_files, mean_batches_from_summary
from tritonpack.loadtest.traffic import Arrivals, Closed

RECORDED = Path(__file__).parent / "data/perf_analyzer-2.50"
FOUR = Closed(4)


@pytest.fixture
def recorded(tmp_path):
    shutil.copytree(RECORDED, tmp_path, dirs_exist_ok=True)
    return tmp_path


def read(folder, load=FOUR):
    return level_from_files(
        folder / "level.csv", folder / "profile.json", (folder / "output.txt").read_text(encoding="utf-8"), load
    )


def test_the_model_itself(recorded):
    level = read(recorded)
    assert (level.load, level.concurrency, level.throughput_per_s) == ("closed:4", 4, 209.848)
    latency = level.latency
    assert (latency.p50_us, latency.p90_us, latency.p95_us, latency.p99_us) == (14595, 23784, 35921, 107077)
    # The parts of a request add up to what the summary calls its average latency, 18653 us.
    assert latency.mean_us == pytest.approx(18653, abs=5)


def test_the_stages_of_the_ensemble(recorded):
    level = read(recorded)
    assert [(s.model, s.queue_us, s.compute_us) for s in level.stages] == [
        ("minilm_encoder", 4103, 42 + 6769 + 392),
        ("minilm_tokenizer", 184, 33 + 453 + 57),
    ]
    assert [s.mean_batch for s in level.stages] == [154 / 86, 157 / 127]
    # The summary: "overhead 125 usec + queue 4287 usec + compute 7746 usec".
    assert level.queue_us == pytest.approx(4287, abs=2)
    assert level.compute_us == pytest.approx(7746, abs=2)


def test_the_record_of_every_request(recorded):
    level = read(recorded)
    assert level.requests == 153
    assert len(level.window_throughput_per_s) == 3
    assert sum(level.window_throughput_per_s) / 3 == pytest.approx(level.throughput_per_s, rel=0.05)
    assert len(level.latency.quantiles_us) == 101
    assert level.latency.quantiles_us[50] == pytest.approx(level.latency.p50_us, rel=0.02)


def test_slices_share_the_requests_out(recorded):
    level = read(recorded)
    assert len(level.slices) == 10
    assert sum(part.answered for part in level.slices) == level.requests
    seconds = sum(part.duration_s for part in level.slices)
    assert seconds == pytest.approx(level.requests / level.throughput_per_s, rel=0.05)
    assert all(len(part.quantiles_us) == (101 if part.answered else 0) for part in level.slices)


def test_a_rate_says_what_was_sent(recorded):
    level = read(recorded, Arrivals(250.0))
    assert (level.load, level.concurrency, level.offered_per_s) == ("poisson:250", 0, 250.0)


def test_a_single_model_has_no_stages(recorded):
    for path in recorded.glob("*_v1.level.csv"):
        path.unlink()
    level = level_from_files(recorded / "level.csv", None, "", Closed(4))
    assert (level.stages, level.queue_us, level.compute_us) == ((), 1, 75 + 7218 + 449)
    assert (level.requests, level.window_throughput_per_s, level.latency.quantiles_us) == (0, (), ())


def test_columns_that_newer_versions_add_do_no_harm(recorded):
    header, row = (recorded / "level.csv").read_text(encoding="utf-8").splitlines()
    wider = f"Response Throughput,{header},Avg GPU Utilization\n9.5,{row},0.5\n"
    (recorded / "level.csv").write_text(wider, encoding="utf-8")
    assert read(recorded).throughput_per_s == 209.848


def test_a_missing_column_is_named(recorded):
    text = (recorded / "level.csv").read_text(encoding="utf-8").replace("p99 latency", "p999 latency")
    (recorded / "level.csv").write_text(text, encoding="utf-8")
    with pytest.raises(LoadTestError, match="no number under 'p99 latency'") as raised:
        read(recorded)
    assert raised.value.context == {"column": "p99 latency"}


@pytest.mark.parametrize("content", ["", "Concurrency\n", "Concurrency\n1\n2\n"])
def test_a_table_of_another_length_is_refused(recorded, content):
    (recorded / "level.csv").write_text(content, encoding="utf-8")
    with pytest.raises(LoadTestError, match="rows, not one"):
        read(recorded)


def test_a_missing_table_is_refused(recorded):
    (recorded / "level.csv").unlink()
    with pytest.raises(LoadTestError, match=r"wrote no level\.csv"):
        read(recorded)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"experiments": []}', '{"experiments": [{"requests": [{}]}]}'])
def test_a_profile_of_another_format_is_refused(recorded, content):
    (recorded / "profile.json").write_text(content, encoding="utf-8")
    with pytest.raises(LoadTestError, match="isn't a profile"):
        read(recorded)


def test_requests_without_an_answer_do_not_count(recorded):
    profile = json.loads((recorded / "profile.json").read_bytes())
    for request in profile["experiments"][0]["requests"]:
        request["response_timestamps"] = []
    (recorded / "profile.json").write_text(json.dumps(profile), encoding="utf-8")
    assert read(recorded).requests == 0


def test_a_model_that_never_ran_has_no_mean_batch():
    summary = "  idle, version: 1\n      Inference count: 0\n      Execution count: 0\n"
    assert mean_batches_from_summary(summary) == {}
