"""From every request to a level: what counts, and to which time."""

import os

import numpy as np
import psutil
import pytest

from tritonpack.core.errors import LoadTestError
from tritonpack.loadtest.memory import MemoryLog, resident_mb, server_process
from tritonpack.loadtest.payloads import payloads_from_rows
from tritonpack.loadtest.records import Records, level_from_records
from tritonpack.loadtest.traffic import Arrivals, Closed


def records(*rows, duration_s=10.0, messages=None):
    """Rows of due, sent, answered (s) and status."""
    due, sent, answered, status = np.array(rows, dtype=np.float64).T
    return Records(due, sent, answered, status.astype(np.int64), messages or {}, duration_s, 0.25)


def test_a_closed_loops_requests_count_when_they_are_answered():
    level = level_from_records(
        records((-1, -1, -0.5, 0), (-0.5, -0.5, 0.5, 0), (0.5, 0.5, 2, 0), (9.5, 9.5, 10.5, 0)), Closed(1)
    )
    assert level.requests == 2
    assert level.throughput_per_s == 0.2
    assert (level.latency.p50_us, level.latency.mean_us) == (1_250_000, 1_250_000)


def test_an_open_loops_requests_count_when_they_are_due():
    level = level_from_records(
        records((-1, -1, 0.5, 0), (0, 0, 1, 0), (9, 9.25, 12, 0), (9.5, 9.5, 10, 14), messages={14: "full"}),
        Arrivals(0.3),
    )
    assert level.requests == 2
    assert level.offered_per_s == 0.3
    # Two were answered inside the ten seconds, one of them asked for before.
    assert level.throughput_per_s == 0.2
    assert level.latency.mean_us == 2_000_000
    assert level.lag_p99_us == pytest.approx(250_000, rel=0.05)
    (failure,) = level.failures
    assert (failure.status, failure.count, failure.message, failure.p50_us) == ("UNAVAILABLE", 1, "full", 500_000)
    assert [(part.answered, part.failed) for part in level.slices] == [(1, 0)] + [(0, 0)] * 8 + [(1, 1)]
    assert level.slices[1].quantiles_us == ()
    assert level.client_cpu == 0.25


def test_long_measurements_have_more_slices():
    rows = [(second, second, second + 0.5, 0) for second in range(1200)]
    level = level_from_records(records(*rows, duration_s=1200.0), Arrivals(1.0))
    assert [part.answered for part in level.slices] == [20] * 60


def test_failures_alone_are_an_error():
    with pytest.raises(LoadTestError, match=r"under poisson:1 in 10 s \(2 INTERNAL: broken; 1 UNAVAILABLE: full\)"):
        level_from_records(
            records((1, 1, 2, 13), (2, 2, 3, 13), (3, 3, 4, 14), messages={13: "broken", 14: "full"}), Arrivals(1.0)
        )


def test_payloads_are_requests_in_a_fixed_order_without_a_pattern():
    from tritonclient.grpc import service_pb2

    rows = [{"question": f"é{index}", "context": "c"} for index in range(50)]
    payloads = payloads_from_rows("qa", rows)
    assert payloads == payloads_from_rows("qa", rows)
    parsed = [service_pb2.ModelInferRequest.FromString(payload) for payload in payloads]
    texts = [request.raw_input_contents[0][4:].decode() for request in parsed]
    assert sorted(texts) == sorted(row["question"] for row in rows)
    assert texts != [row["question"] for row in rows]
    first = parsed[0]
    assert first.model_name == "qa"
    assert [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in first.inputs] == [
        ("question", "BYTES", [1, 1]),
        ("context", "BYTES", [1, 1]),
    ]
    plain = payloads_from_rows("qa", rows, shuffled=False)
    assert [service_pb2.ModelInferRequest.FromString(one).raw_input_contents[0][4:].decode() for one in plain] == [
        row["question"] for row in rows
    ]


def test_memory_is_sampled_at_intervals():
    log = MemoryLog(psutil.Process(os.getpid()), 1.0)
    for elapsed_s in (0.0, 0.5, 1.0, 1.9, 2.0):
        log.sample(elapsed_s)
    assert [moment for moment, _ in log.samples] == [0.0, 1.0, 2.0]
    assert all(size > 1 for _, size in log.samples)
    assert resident_mb(psutil.Process(os.getpid())) > 1
    nobody = MemoryLog(None, 1.0)
    nobody.sample(0.0)
    assert nobody.samples == []


def test_a_server_elsewhere_has_no_process_here():
    assert server_process("203.0.113.1:8001") is None
    assert server_process("127.0.0.1:http") is None
    assert server_process("127.0.0.1:1") is None
