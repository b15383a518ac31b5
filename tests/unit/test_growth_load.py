"""How long growth measures a load: until enough was answered."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np
import pytest
from tritonclient.grpc import service_pb2

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from growing import load

from tritonpack.core.errors import LoadTestError


@pytest.fixture
def generated(monkeypatch):
    """Answers of the generator, one after another, and for how many seconds it was asked."""
    answers, asked = [], []

    def generate(_url, _requests, closed, duration_s, *, warm_up_s):
        asked.append((closed.concurrency, duration_s, warm_up_s))
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(load, "generate", generate)
    return answers, asked


def level(requests, failures=()):
    latency = SimpleNamespace(p50_us=4000.0, p99_us=9000.0)
    return SimpleNamespace(requests=requests, throughput_per_s=50.0, latency=latency, failures=failures)


def test_a_load_is_measured_once_where_enough_is_answered(generated):
    answers, asked = generated
    answers.append(level(96))
    assert load.closed_loop("url", [b""], 32, 2.0) == load.Answered(50.0, 4.0, 9.0)
    assert asked == [(32, 2.0, 0.5)]


def test_a_load_is_measured_longer_where_little_or_nothing_is_answered(generated):
    answers, asked = generated
    answers += [LoadTestError("no request was answered"), level(95), level(400)]
    load.closed_loop("url", [b""], 32, 2.0)
    assert asked == [(32, 2.0, 0.5), (32, 8.0, 2.0), (32, 32.0, 8.0)]


def test_a_server_that_never_answers_is_an_error(generated):
    answers, _ = generated
    answers += [LoadTestError("nobody answers")] * 3
    with pytest.raises(LoadTestError, match="nobody answers"):
        load.closed_loop("url", [b""], 1, 2.0)


def test_a_refused_request_is_an_error(generated):
    answers, _ = generated
    answers.append(level(100, failures=("UNAVAILABLE: full",)))
    with pytest.raises(click.ClickException, match="UNAVAILABLE: full"):
        load.closed_loop("url", [b""], 1, 2.0)


def test_a_request_of_texts_is_what_triton_takes():
    request = service_pb2.ModelInferRequest.FromString(load.text_request("minilm", ["a", "bc"]))
    assert (request.model_name, request.inputs[0].datatype, list(request.inputs[0].shape)) == (
        "minilm",
        "BYTES",
        [2, 1],
    )
    assert request.raw_input_contents[0] == b"\x01\0\0\0a\x02\0\0\0bc"


def test_a_request_of_numbers_is_what_triton_takes():
    rows = np.arange(4, dtype=np.float32).reshape(2, 2)
    request = service_pb2.ModelInferRequest.FromString(load.request_of("weights", "x", rows))
    assert (request.inputs[0].datatype, list(request.inputs[0].shape)) == ("FP32", [2, 2])
    assert request.raw_input_contents[0] == rows.tobytes()
