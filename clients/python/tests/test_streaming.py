"""A stream is one watched request, and the balancer hears of it once."""

import pytest
from tritonclient.grpc import service_pb2

from tritonpack_client.endpoints import Balancer
from tritonpack_client.errors import RequestCancelledError, ServerFailureError, ServerUnavailableError
from tritonpack_client.steps import Failure, Send
from tritonpack_client.streaming import Streaming


class Watch:
    headers = {}  # noqa: RUF012 (as the protocol has it)

    def __init__(self):
        self.heard = []

    def attempt_began(self, endpoint, attempt):
        self.heard.append((endpoint, attempt))

    def ended(self, error):
        self.heard.append(error)


def answer(error="", *words):
    message = service_pb2.ModelStreamInferResponse(error_message=error)
    for word in words:
        message.infer_response.outputs.add(name=word, datatype="INT8", shape=[1])
        message.infer_response.raw_output_contents.append(b"\1")
    return message


@pytest.fixture
def parts():
    balancer, watch = Balancer(["one:1", "other:2"], lambda: 0.0), Watch()
    endpoint = balancer.pick()
    send = Send(endpoint.place, "ModelStreamInfer", None, 5.0)
    return Streaming(send, "words", endpoint, balancer, [watch]), endpoint, watch


def test_a_stream_counts_as_in_flight_until_its_first_answer(parts):
    streaming, endpoint, watch = parts
    with streaming:
        assert endpoint.in_flight == 1
        assert list(streaming.outputs(answer("", "a"))) == ["a"]
        assert endpoint.in_flight == 0
        assert streaming.outputs(answer("", "b")) is not None
        assert streaming.outputs(answer()) is None
    assert endpoint.in_flight == 0
    assert watch.heard == [(endpoint.url, 1), None]


def test_an_answer_may_be_an_error(parts):
    streaming, endpoint, watch = parts
    with pytest.raises(ServerFailureError, match=rf"broke \(model 'words' at {endpoint.url}"), streaming:
        streaming.outputs(answer("broke"))
    assert isinstance(watch.heard[1], ServerFailureError)
    assert (endpoint.in_flight, endpoint.failures) == (0, 0)


def test_an_endpoint_at_which_nobody_answers_is_left_alone(parts):
    streaming, endpoint, watch = parts
    with pytest.raises(ServerUnavailableError), streaming:
        streaming.outputs(Failure("UNAVAILABLE", "gone"))
    assert isinstance(watch.heard[1], ServerUnavailableError)
    assert (endpoint.in_flight, endpoint.failures) == (0, 1)


@pytest.mark.parametrize("answers", [0, 1])
def test_a_stream_that_is_given_up_says_nothing_of_the_endpoint(parts, answers):
    streaming, endpoint, watch = parts

    def given():
        with streaming:
            for _ in range(answers):
                yield streaming.outputs(answer("", "a"))
            yield None

    stream = given()
    for _ in range(answers + 1):
        next(stream)
    stream.close()
    assert isinstance(watch.heard[1], RequestCancelledError)
    assert (endpoint.in_flight, endpoint.failures) == (0, 0)
