"""What observers see of requests; no server is needed: a request to nobody is tried again, and fails."""

import logging
import subprocess
import sys

import prometheus_client
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tritonpack_client import Client, InvalidInputError, Retries, ServerUnavailableError
from tritonpack_client.errors import DeadlineExceededError, RequestCancelledError, error_from_status
from tritonpack_client.observing import Request
from tritonpack_client.telemetry import Logs, Metrics, Traces

NOBODY = "127.0.0.1:1"
REQUEST = Request("ModelInfer", "minilm")
BROKEN = error_from_status("UNAVAILABLE", "gone", model="minilm", endpoint=NOBODY, attempts=1, max_attempts=3)
LATE = error_from_status("DEADLINE_EXCEEDED", "late", model="minilm", endpoint=NOBODY, attempts=2, max_attempts=3)


@pytest.fixture
def spans():
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider, exporter.get_finished_spans


def course(observer, error=None):
    """Watch a request whose first attempt fails."""
    watch = observer.began(REQUEST)
    watch.attempt_began(NOBODY, 1)
    watch.attempt_failed(BROKEN, 0.25)
    watch.attempt_began("[::1]:8001", 2)
    watch.ended(error)
    return watch


def fail(observer):
    retries = Retries(attempts=3, first_pause_s=0.001)
    with (
        Client(NOBODY, retries=retries, observers=[observer]) as client,
        pytest.raises(ServerUnavailableError),
    ):
        client.embed("minilm", ["text"])


def test_a_retry_a_failure_and_a_success_are_one_record_each(caplog):
    caplog.set_level(logging.DEBUG, "tritonpack_client")
    course(Logs())
    course(Logs(), LATE)
    assert [record.levelname for record in caplog.records] == ["WARNING", "DEBUG", "WARNING", "ERROR"]
    fields = [record.tritonpack for record in caplog.records]
    assert all((field["model"], field["method"]) == ("minilm", "ModelInfer") for field in fields)
    assert [(field["endpoint"], field["attempt"]) for field in fields[:2]] == [(NOBODY, 1), ("[::1]:8001", 2)]
    assert (fields[0]["error"], fields[0]["pause_s"]) == ("ServerUnavailableError", 0.25)
    assert fields[3]["error"] == "DeadlineExceededError"
    assert fields[1]["took_s"] >= 0
    assert "ModelInfer of 'minilm' failed and is sent again in 0.25 s: gone" in caplog.text


def test_what_nobody_needs_to_hear_is_for_debugging(caplog):
    caplog.set_level(logging.DEBUG, "tritonpack_client")
    Logs().began(REQUEST).ended(RequestCancelledError("given up"))
    with Client(NOBODY, observers=[Logs()]) as client:
        assert not client.is_ready()
    assert {record.levelname for record in caplog.records} == {"DEBUG"}


def test_logs_go_where_they_are_told(caplog):
    caplog.set_level(logging.INFO)
    fail(Logs(logging.getLogger("mine")))
    assert [(record.name, record.levelname) for record in caplog.records] == [
        ("mine", "WARNING"),
        ("mine", "WARNING"),
        ("mine", "ERROR"),
    ]
    assert [record.tritonpack["attempt"] for record in caplog.records] == [1, 2, 3]


def test_a_request_is_one_span_and_a_retry_is_its_event(spans):
    provider, finished = spans
    with provider.get_tracer("test").start_as_current_span("parent"):
        watch = course(Traces(provider))
    span = finished()[0]
    assert (span.name, span.kind) == ("inference.GRPCInferenceService/ModelInfer", trace.SpanKind.CLIENT)
    assert span.parent.span_id == finished()[1].context.span_id
    assert watch.headers["traceparent"].startswith(f"00-{span.context.trace_id:032x}-{span.context.span_id:016x}-")
    assert dict(span.attributes) == {
        "rpc.system.name": "grpc",
        "rpc.method": "inference.GRPCInferenceService/ModelInfer",
        "rpc.response.status_code": "OK",
        "triton.model_name": "minilm",
        "server.address": "::1",
        "server.port": 8001,
    }
    (event,) = span.events
    assert (event.name, event.attributes["error.type"], event.attributes["tritonpack.attempt"]) == (
        "retry",
        "UNAVAILABLE",
        1,
    )
    assert span.status.is_unset


def test_a_span_says_how_its_request_failed(spans):
    provider, finished = spans
    course(Traces(provider), LATE)
    Traces(provider).began(REQUEST).ended(RequestCancelledError("given up"))
    late, given_up = finished()
    assert (late.status.status_code, late.status.description) == (trace.StatusCode.ERROR, "late")
    assert late.attributes["rpc.response.status_code"] == late.attributes["error.type"] == "DEADLINE_EXCEEDED"
    assert late.attributes["tritonpack.error"] == "DeadlineExceededError"
    assert given_up.attributes["error.type"] == "RequestCancelledError"
    assert "rpc.response.status_code" not in given_up.attributes


def test_requests_are_counted_by_outcome():
    registry = prometheus_client.CollectorRegistry()
    course(Metrics(registry))
    # A second client of the same registry counts on.
    course(Metrics(registry), DeadlineExceededError("late"))
    fail(Metrics(registry))
    labels = {"model": "minilm", "method": "ModelInfer"}
    value = registry.get_sample_value
    assert value("tritonpack_client_requests_total", {**labels, "outcome": "ok"}) == 1
    assert value("tritonpack_client_requests_total", {**labels, "outcome": "DeadlineExceededError"}) == 1
    assert value("tritonpack_client_retries_total", labels) == 2
    assert value("tritonpack_client_request_seconds_count", labels) == 2
    labels = {"model": "minilm", "method": "ModelConfig"}
    assert value("tritonpack_client_requests_total", {**labels, "outcome": "ServerUnavailableError"}) == 1
    assert value("tritonpack_client_retries_total", labels) == 2


@pytest.mark.parametrize(("observer", "module"), [(Traces, "opentelemetry"), (Metrics, "prometheus_client")])
def test_a_missing_library_is_named(monkeypatch, observer, module):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InvalidInputError, match=f"pip install {module.split('_')[0]}"):
        observer()


def test_the_client_and_its_telemetry_are_imported_without_the_libraries():
    code = (
        "import sys, tritonpack_client, tritonpack_client.telemetry; "
        "sys.exit(any(m.split('.')[0] in {'opentelemetry', 'prometheus_client'} for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
