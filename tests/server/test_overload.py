"""A full queue: what is refused, how, what comes first, and that nobody is forgotten."""

from __future__ import annotations

import threading
import urllib.request
from dataclasses import replace

import numpy as np
import onnx
import pytest
import tritonclient.grpc as triton
from onnx import TensorProto, helper, numpy_helper
from tiny_ensemble import embed, text_of_words, write_ensemble
from tritonclient.utils import InferenceServerException

from tritonpack.repository.config import DynamicBatching, QueuePolicy
from tritonpack.repository.pbtxt import parse, render
from tritonpack.server.embedded import ServerOptions, free_ports, start
from tritonpack_client.errors import OverloadedError, QueueTimeoutError, error_from_status

pytestmark = pytest.mark.server

SIZE = 8
POLICY = QueuePolicy(default_timeout_microseconds=60_000_000, allow_timeout_override=True, max_queue_size=SIZE)
TEXT = text_of_words(5)


@pytest.fixture(scope="module", params=["one process", "steps"])
def server(request, tmp_path_factory):
    """A server whose encoder takes its time and lets few requests wait."""
    repository = write_ensemble(tmp_path_factory.mktemp("models"))
    slow_down(repository / "tiny_encoder" / "1" / "cpu.onnx")
    file = repository / "tiny_encoder" / "config.pbtxt"
    batching = DynamicBatching(0, 2, 2, POLICY, {1: POLICY, 2: POLICY})
    file.write_text(render(replace(parse(file.read_text()), dynamic_batching=batching)))
    with start(ServerOptions(repository, *free_ports(), one_process=request.param == "one process")) as running:
        yield running


def slow_down(file, products=12, size=512):
    """Let every call of a graph multiply large matrices, whose result is nothing."""
    model = onnx.load(file)
    graph = model.graph
    weights = np.full((size, size), 1 / size, np.float32)
    graph.initializer.extend([numpy_helper.from_array(weights, "busy_0"), numpy_helper.from_array(weights, "busy")])
    graph.initializer.append(numpy_helper.from_array(np.float32(0), "nothing"))
    for node in graph.node:
        node.output[:] = ["quick" if name == "embedding_output" else name for name in node.output]
    graph.node.extend([
        helper.make_node("ReduceMax", ["quick"], ["highest"], keepdims=0),
        helper.make_node("Mul", ["highest", "nothing"], ["none"]),
        helper.make_node("Add", ["busy_0", "none"], ["busy_1"]),
        *(helper.make_node("MatMul", [f"busy_{i}", "busy"], [f"busy_{i + 1}"]) for i in range(1, products)),
        helper.make_node("ReduceMax", [f"busy_{products}"], ["spent"], keepdims=0),
        helper.make_node("Mul", ["spent", "nothing"], ["added"]),
        helper.make_node("Add", ["quick", "added"], ["embedding_output"]),
    ])  # fmt: skip
    assert graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    onnx.save(model, file)


class Flood:
    """Requests that are sent without waiting; their answers in the order in which they come."""

    def __init__(self, client):
        self.client = client
        self.answers = []
        self.changed = threading.Condition()

    def send(self, label, text=TEXT, **options):
        def answered(result, error):
            with self.changed:
                self.answers.append((label, error or result.as_numpy("embedding")))
                self.changed.notify()

        tensor = triton.InferInput("text", [1, 1], "BYTES")
        tensor.set_data_from_numpy(np.array([[text]], dtype=object))
        self.client.async_infer("tiny", [tensor], answered, client_timeout=60, **options)

    def wait(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.answers) >= count, 90)
        return list(self.answers)


@pytest.fixture
def flood(server):
    with triton.InferenceServerClient(server.grpc_url) as client:
        yield Flood(client)


def refused(answers):
    return [answer for _, answer in answers if isinstance(answer, InferenceServerException)]


def as_client_error(error):
    return error_from_status(error.status().removeprefix("StatusCode."), error.message(), model="tiny")


def successes(server, model):
    with triton.InferenceServerClient(server.grpc_url) as client:
        return client.get_inference_statistics(model).model_stats[0].inference_stats.success.count


def test_what_the_queue_has_no_room_for_is_refused_while_the_rest_is_answered(server, flood):
    before, sent = successes(server, "tiny"), 200
    texts = [text_of_words(number % 12, seed=number) for number in range(sent)]
    for number, text in enumerate(texts):
        flood.send(number, text)
    answers = flood.wait(sent)
    errors = refused(answers)
    assert SIZE < sent - len(errors) < sent
    assert {type(as_client_error(error)) for error in errors} == {OverloadedError}
    for error in errors:
        assert error.status() == "StatusCode.UNAVAILABLE"
        assert "Exceeds maximum queue size" in error.message()
    # Refusals don't wait for those who have a place.
    kinds = [isinstance(answer, InferenceServerException) for _, answer in answers]
    assert kinds[-1] is False
    for number, answer in answers:
        if not isinstance(answer, InferenceServerException):
            np.testing.assert_allclose(answer, [embed(texts[number])], rtol=1e-5, atol=1e-5)
    assert successes(server, "tiny") - before == sent - len(errors)
    # And afterwards there is room again.
    flood.send("after")
    np.testing.assert_allclose(flood.wait(sent + 1)[-1][1], [embed(TEXT)], rtol=1e-5, atol=1e-5)


def test_the_first_priority_has_a_queue_of_its_own_and_is_served_first(flood):
    sent = 60
    for number in range(sent):
        flood.send(number)
    flood.send("urgent", priority=1)
    answers = flood.wait(sent + 1)
    assert refused(answers)
    assert not refused([answer for answer in answers if answer[0] == "urgent"])
    served = [label for label, answer in answers if not isinstance(answer, InferenceServerException)]
    assert served[-1] != "urgent"


def test_a_request_that_waited_too_long_says_so(flood):
    flood.send("busy")
    for number in range(4):
        flood.send(number, timeout=1)
    errors = refused(flood.wait(5))
    assert len(errors) == 4
    assert {type(as_client_error(error)) for error in errors} == {QueueTimeoutError}
    assert {error.status() for error in errors} == {"StatusCode.UNAVAILABLE"}


def test_what_wakes_the_batcher_is_refused_and_never_executed(server, flood):
    batching = "tiny" if server.state.stubs.get("tiny") else "tiny_encoder"
    before = successes(server, batching)
    flood.send("one")
    assert not refused(flood.wait(1))
    heard = f'nv_inference_request_failure{{model="{batching}",reason="REJECTED",version="1"}}'
    rejected = 0.0
    while not rejected:
        with urllib.request.urlopen(server.metrics_url) as page:  # noqa: S310  the test's own server
            lines = page.read().decode().splitlines()
        rejected = next(float(line.split()[-1]) for line in lines if line.startswith(heard))
    assert successes(server, batching) - before == 1


def test_pairs_of_requests_are_all_answered(flood):
    """The second of two comes while the first is run, so it's up to the bell that it isn't forgotten."""
    for pair in range(20):
        flood.send(2 * pair)
        flood.send(2 * pair + 1)
        assert not refused(flood.wait(2 * pair + 2))
