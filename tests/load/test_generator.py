"""The generator in Python against a real gRPC server, whose answers are known."""

import threading
import time
from concurrent import futures

import grpc
import numpy as np
import pytest

from tritonpack.core.errors import ConfigurationError, LoadTestError
from tritonpack.loadtest.generator import generate, record
from tritonpack.loadtest.traffic import Arrivals, Closed
from tritonpack.server.embedded import free_ports

pytestmark = pytest.mark.load
METHOD = "/test.Service/Answer"
ONE_AT_A_TIME = threading.Lock()


def answer(request, context):
    if request == b"refused":
        context.abort(grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size é%")
    if request == b"turn":
        with ONE_AT_A_TIME:
            time.sleep(0.1)
    if request == b"slow":
        time.sleep(0.6)
    return b"x" * (1_000_000 if request == b"large" else 10)


class Handler(grpc.GenericRpcHandler):
    def service(self, details):
        return grpc.unary_unary_rpc_method_handler(answer) if details.method == METHOD else None


@pytest.fixture(scope="module")
def url():
    server = grpc.server(
        futures.ThreadPoolExecutor(16), handlers=(Handler(),), options=[("grpc.max_receive_message_length", -1)]
    )
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def measured(url, requests, load, **options):
    options = {"warm_up_s": 0.1, "method": METHOD} | options
    return generate(url, requests, load, 0.5, **options)


@pytest.mark.parametrize("processes", [1, 2])
def test_a_closed_loop_keeps_requests_in_flight(url, processes):
    level = measured(url, [b"a", b"b"], Closed(3), processes=processes)
    assert (level.concurrency, level.load, level.offered_per_s) == (3, "closed:3", 0.0)
    assert level.requests == pytest.approx(level.throughput_per_s * 0.5)
    assert level.requests == sum(part.answered for part in level.slices) > 10
    assert sum(level.window_throughput_per_s) / 3 == pytest.approx(level.throughput_per_s, rel=0.02)
    # Little's law: what is in flight is what arrives in the time that one takes.
    assert level.throughput_per_s * level.latency.mean_us / 1e6 == pytest.approx(3, rel=0.3)
    assert 0 < level.client_cpu <= processes
    assert level.failures == ()


def test_an_open_loop_sends_what_is_due(url):
    level = measured(url, [b"a"], Arrivals(100.0, poisson=False))
    assert (level.concurrency, level.load, level.offered_per_s) == (0, "constant:100", 100.0)
    assert level.requests == 50


def test_a_request_that_waited_for_its_turn_counts_from_when_it_was_due(url):
    records = record(url, [b"turn"], Arrivals(30.0, poisson=False), 0.5, warm_up_s=0.0, method=METHOD)
    assert len(records.due) == 15
    # Ten a second are served: the last, due after half a second, is answered after one and a half.
    assert max(records.answered) >= 1.5
    assert max(records.answered - records.due) >= 1.0
    assert np.all(records.sent >= records.due)


def test_failures_are_counted_by_status_and_leave_the_latency_alone(url):
    level = measured(url, [b"a", b"refused"], Closed(2))
    (failure,) = level.failures
    assert (failure.status, failure.message) == ("UNAVAILABLE", "Exceeds maximum queue size é%")
    assert failure.count == sum(part.failed for part in level.slices)
    assert abs(failure.count - level.requests) <= 3
    assert failure.p50_us > 0


def test_a_deadline_is_a_failure(url):
    level = measured(url, [b"slow", *[b"a"] * 9], Arrivals(40.0, poisson=False), timeout_s=0.2)
    assert [(failure.status, failure.count) for failure in level.failures] == [("DEADLINE_EXCEEDED", 2)]
    assert level.requests == 18


@pytest.mark.parametrize("request_", [b"large", b"y" * 100_000], ids=["large answer", "large request"])
def test_messages_may_be_large(url, request_):
    assert measured(url, [request_], Closed(2)).requests > 2


def test_nothing_answered_is_an_error_with_the_servers_words(url):
    with pytest.raises(LoadTestError, match=r"no request was answered under closed:1 .* UNAVAILABLE: Exceeds maximum"):
        measured(url, [b"refused"], Closed(1))
    with pytest.raises(LoadTestError, match="UNIMPLEMENTED"):
        measured(url, [b"a"], Closed(1), method="/test.Service/Other")


def test_nobody_there_is_an_error_with_what_to_do():
    (port,) = free_ports(1)
    with pytest.raises(LoadTestError, match="no gRPC server answers") as raised:
        measured(f"127.0.0.1:{port}", [b"a"], Closed(1))
    assert "--url" in raised.value.hint


@pytest.mark.parametrize(
    ("requests", "load", "options", "words"),
    [
        ([], Closed(1), {}, "no request to send"),
        ([b"a"], Closed(0), {}, "concurrency must be at least 1, not 0"),
        ([b"a"], Arrivals(0.0), {}, "rate must be above 0"),
        ([b"a"], Closed(1), {"processes": 0}, "processes at least 1"),
        ([b"a"], Closed(1), {"timeout_s": 0.0}, "timeout_s must be above 0"),
    ],
)
def test_arguments_that_make_no_sense(requests, load, options, words):
    with pytest.raises(ConfigurationError, match=words):
        measured("127.0.0.1:1", requests, load, **options)
