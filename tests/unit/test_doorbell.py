"""The request that wakes Triton's batcher: what is sent, when it's sent again, and when there is no bell."""

from __future__ import annotations

import json
import select
import socket
import sys
import threading
from pathlib import Path

import pytest

from tritonpack import server

sys.path.insert(0, str(Path(server.__file__).parent / "backends" / "onnxruntime"))  # as the stub imports it

import doorbell as doorbell_module
from doorbell import Doorbell, doorbell_for, ring_request

CONFIG = {
    "name": "tiny",
    "max_batch_size": 8,
    "input": [
        {"name": "ids", "data_type": "TYPE_INT64", "dims": [-1]},
        {"name": "text", "data_type": "TYPE_STRING", "dims": [1]},
        {"name": "sound", "data_type": "TYPE_FP32", "dims": ["3"]},
    ],
}
POLICY = {"timeout_action": "REJECT", "default_timeout_microseconds": 5000, "allow_timeout_override": True}


def batching(policy):
    return {**CONFIG, "dynamic_batching": {"priority_queue_policy": {"1": policy}}}


@pytest.fixture
def endpoint():
    """A place that takes connections; the test reads and answers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(10)
        yield listening


@pytest.fixture
def bell(endpoint, monkeypatch):
    """A bell whose thread rings for nobody, so that the test rings itself."""
    monkeypatch.setattr(Doorbell, "_run", lambda _: None)
    silent = Doorbell(b"ring", endpoint.getsockname()[1])
    yield silent
    silent.close()


def test_the_request_is_a_row_of_zeros_of_the_first_priority_that_is_too_old_at_once():
    head, _, body = ring_request(CONFIG).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v2/models/tiny/infer HTTP/1.1"
    fields = dict(line.split(": ") for line in lines[1:])
    assert int(fields["Content-Length"]) == len(body)
    size = int(fields["Inference-Header-Content-Length"])
    header = json.loads(body[:size])
    assert header["parameters"] == {"priority": 1, "timeout": 1}
    assert [(i["name"], i["datatype"], i["shape"], i["parameters"]["binary_data_size"]) for i in header["inputs"]] == [
        ("ids", "INT64", [1, 1], 8),
        ("text", "BYTES", [1, 1], 4),
        ("sound", "FP32", [1, 3], 12),
    ]
    assert body[size:] == bytes(24)


def test_a_model_without_batches_gets_no_batch_axis():
    body = ring_request({**CONFIG, "max_batch_size": 0}).partition(b"\r\n\r\n")[2]
    assert b'"shape": [1]' in body
    assert b'"shape": [1, 1]' not in body


@pytest.mark.parametrize(
    ("config", "port"),
    [
        (CONFIG, "8000"),
        ({**CONFIG, "dynamic_batching": {"max_queue_delay_microseconds": 5}}, "8000"),
        (batching({**POLICY, "allow_timeout_override": False}), "8000"),
        (batching({**POLICY, "default_timeout_microseconds": 0}), "8000"),
        (batching({**POLICY, "timeout_action": "DELAY"}), "8000"),
        (batching(POLICY), ""),
        (batching(POLICY), "http"),
    ],
)
def test_there_is_no_bell_where_a_ring_would_be_executed_or_lead_nowhere(monkeypatch, config, port):
    monkeypatch.setenv(doorbell_module.PORT_VARIABLE, port)
    assert doorbell_for(config) is None


def test_the_end_of_a_batch_is_rung_for(monkeypatch, endpoint):
    monkeypatch.setenv(doorbell_module.PORT_VARIABLE, str(endpoint.getsockname()[1]))
    bell = doorbell_for(batching(POLICY))
    with bell:
        pass
    connection, _ = endpoint.accept()
    with connection:
        assert connection.recv(65536) == ring_request(CONFIG)
    bell.close()


def test_it_rings_until_it_is_heard(endpoint, bell):
    ringing = threading.Thread(target=bell._ring_until_heard)
    ringing.start()
    connections = [endpoint.accept()[0] for _ in range(3)]
    assert connections[1].recv(65536) == b"ring"
    connections[1].sendall(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
    ringing.join(10)
    assert not ringing.is_alive()
    # Triton waits for open connections when it is stopped.
    connections[1].settimeout(10)
    assert connections[1].recv(65536) == b""
    for connection in connections:
        connection.close()


def test_it_rings_only_after_a_whole_pause_without_a_batch(bell, monkeypatch):
    during = [bell.__enter__, lambda: None, bell.__exit__, bell.__enter__, bell.__exit__]
    pauses = iter(during)
    before_ring = []
    monkeypatch.setattr(doorbell_module.time, "sleep", lambda _: next(pauses, lambda: None)())
    monkeypatch.setattr(bell, "_ring", lambda: before_ring.append(next(pauses, None)))
    bell._ring_until_heard()
    assert before_ring
    assert set(before_ring) == {None}


def test_the_answer_to_an_earlier_ring_says_nothing_of_now(endpoint, bell, monkeypatch):
    """It comes when a batch has been executed since, and the batcher may sleep again."""
    pauses = iter([None, "batch", "answer", None, "answer"])
    connections = []

    def pause(_):
        what = next(pauses, None)
        if what == "batch":
            with bell:
                connections.append(endpoint.accept()[0])
        elif what == "answer":
            if len(connections) == 1:
                connections[0].sendall(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
                wait_for_answer(bell._outdated[0])
            else:
                connections[1].sendall(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
                wait_for_answer(bell._unanswered[0])
        elif connections:
            connections.append(endpoint.accept()[0])

    monkeypatch.setattr(doorbell_module.time, "sleep", pause)
    bell._ring_until_heard()
    # Rung again after the batch, in spite of the answer to the ring before it.
    assert len(connections) == 2
    for connection in connections:
        connection.close()


def wait_for_answer(connection):
    assert select.select([connection], [], [], 10)[0]


def test_a_batch_of_which_the_bell_has_not_heard_keeps_it_awake(endpoint, monkeypatch):
    """It ends between the last look and the bell's going to sleep."""
    bells = []
    watched = threading.Semaphore(0)

    def watch(bell):
        bells.append(bell)
        watched.release()
        if len(bells) == 1:
            with bell:
                return bell._moves - 1
        return bell._moves

    monkeypatch.setattr(Doorbell, "_ring_until_heard", watch)
    bell = Doorbell(b"ring", endpoint.getsockname()[1])
    with bell:
        pass
    assert watched.acquire(timeout=10)
    assert watched.acquire(timeout=10)
    bell.close()


def test_nobody_at_the_endpoint_is_no_error(endpoint, bell):
    endpoint.close()
    bell._ring_until_heard()
    assert bell._unanswered == []


def test_a_closed_connection_is_given_up(endpoint, bell):
    bell._ring()
    connection, _ = endpoint.accept()
    connection.recv(16)
    connection.close()
    while bell._unanswered:
        bell._take_answers()
    assert bell._unanswered == []
