"""Triton's own spans join the client's trace; streams are watched as requests are."""

import asyncio
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import prometheus_client
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tritonpack_client import AsyncClient, Client
from tritonpack_client.telemetry import Metrics, Traces

pytestmark = pytest.mark.server

# Triton may lose the context of one request in fifty: it reads the header without regard to its length.
# https://github.com/triton-inference-server/server/blob/v2.51.0/src/grpc/infer_handler.h (GrpcServerCarrier)
REQUESTS = 20
JOINED = 10


@pytest.fixture(scope="module")
def collector():
    """What OTLP over HTTP brought: a list of spans, as JSON."""
    spans = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            for resource in body["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    spans.extend(scope["spans"])
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/v1/traces", spans
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def traced_url(collector, start_server):
    arguments = [
        "--trace-config=mode=opentelemetry",
        f"--trace-config=opentelemetry,url={collector[0]}",
        "--trace-config=opentelemetry,bsp_schedule_delay=100",
        "--trace-config=rate=0",
        "--trace-config=level=TIMESTAMPS",
    ]
    with start_server(*arguments, models=("hash", "words")) as server:
        yield server.grpc_url


@pytest.fixture
def traces():
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return Traces(provider), exporter


def joined(collector, exporter, method, wanted):
    """How many of the client's spans have a child in Triton."""
    mine = {
        (f"{span.context.trace_id:032x}", f"{span.context.span_id:016x}")
        for span in exporter.get_finished_spans()
        if span.name.endswith("/" + method)
    }
    assert len(mine) == REQUESTS
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        children = [span for span in collector[1] if (span["traceId"], span.get("parentSpanId")) in mine]
        if len(children) >= wanted:
            return children
        time.sleep(0.05)
    raise AssertionError(f"{len(children)} of {REQUESTS} spans have a child in Triton")


def test_the_spans_of_triton_are_children_of_the_clients(collector, traced_url, traces):
    with Client(traced_url, observers=[traces[0]]) as client:
        for number in range(REQUESTS):
            client.embed("hash", [f"text {number}"])
    children = joined(collector, traces[1], "ModelInfer", JOINED)
    assert {child["name"] for child in children} == {"InferRequest"}
    # Below them stands the model.
    parents = {child["spanId"]: child["traceId"] for child in children}
    models = [span for span in collector[1] if span.get("parentSpanId") in parents]
    assert {span["name"] for span in models} == {"hash"}
    assert all(span["traceId"] == parents[span["parentSpanId"]] for span in models)


def test_streams_take_the_trace_along(collector, traced_url, traces):
    text = {"text": np.array(["one two three"], object)}
    registry = prometheus_client.CollectorRegistry()
    with Client(traced_url, observers=[traces[0], Metrics(registry)]) as client:
        for _ in range(REQUESTS):
            assert len([*client.stream("words", text)]) == 3
    joined(collector, traces[1], "ModelStreamInfer", JOINED)
    labels = {"model": "words", "method": "ModelStreamInfer"}
    assert registry.get_sample_value("tritonpack_client_request_seconds_count", labels) == REQUESTS


async def given_up(url, observer, text):
    async with AsyncClient(url, observers=[observer]) as client:
        stream = client.stream("words", text)
        async for _ in stream:
            break
        await stream.aclose()


def test_a_stream_that_is_left_behind_ends_its_span(traced_url, traces):
    text = {"text": np.array(["one two three"], object)}
    with Client(traced_url, observers=[traces[0]]) as client:
        stream = client.stream("words", text)
        next(stream)
        assert all(not span.name.endswith("/ModelStreamInfer") for span in traces[1].get_finished_spans())
        stream.close()
    asyncio.run(given_up(traced_url, traces[0], text))
    streams = [span for span in traces[1].get_finished_spans() if span.name.endswith("/ModelStreamInfer")]
    assert [span.attributes["error.type"] for span in streams] == ["RequestCancelledError"] * 2
