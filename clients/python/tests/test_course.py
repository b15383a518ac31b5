"""The course of a request under a clock of its own: steps are carried out here, and nothing sleeps."""

import math
import threading

import pytest
from tritonclient.grpc import model_config_pb2, service_pb2

from tritonpack_client import Client, Retries, errors
from tritonpack_client.calls import Calls
from tritonpack_client.course import Course
from tritonpack_client.retries import Budget
from tritonpack_client.steps import Failure, Pause, Send

AWAY = Failure("UNAVAILABLE", "failed to connect")
FULL = Failure("UNAVAILABLE", "[request id: <id_unknown>] Exceeds maximum queue size")
ANSWER = service_pb2.ServerReadyResponse(ready=True)


class World:
    """A clock, and servers that answer what the script says: a pair of seconds and an outcome for each message."""

    def __init__(self, script=(), url="host:1", **arguments):
        with Client(url, **arguments) as client:
            self.options = client.options
        self.now = 100.0
        self.script = list(script)
        self.sent = []
        self.pauses = []
        self.course = Course(self.options, lambda: self.now)
        self.calls = Calls(self.options, self.course)

    def carry_out(self, steps):
        outcome = None
        while True:
            try:
                effect = steps.send(outcome)
            except StopIteration as end:
                return end.value
            outcome = self.perform(effect)

    def perform(self, effect):
        if isinstance(effect, Pause):
            self.pauses.append(effect.seconds)
            self.now += effect.seconds
            return None
        if isinstance(effect, Send):
            self.sent.append(effect)
            took_s, outcome = self.script.pop(0)
            self.now += took_s
            return outcome
        return [self.carry_out(part) for part in effect.parts]

    def request(self, **arguments):
        message = arguments.pop("message", service_pb2.ServerReadyRequest())
        return self.carry_out(self.course.request("ServerReady", message, **{"timeout_s": 10.0, **arguments}))


class Recorder:
    """An observer and its own watch."""

    def __init__(self, headers=None):
        self.headers = headers or {}
        self.seen = []

    def began(self, request):
        self.seen.append(("began", request.method, request.model))
        return self

    def attempt_began(self, endpoint, attempt):
        self.seen.append(("attempt", endpoint, attempt))

    def attempt_failed(self, error, pause_s):
        self.seen.append(("failed", type(error), error.attempts, pause_s))

    def ended(self, error):
        self.seen.append(("ended", type(error)))


@pytest.fixture(autouse=True)
def longest_pauses(monkeypatch):
    """A pause is as long as it may be."""
    pause_s = Retries.pause_s
    monkeypatch.setattr(Retries, "pause_s", lambda self, failed: pause_s(self, failed, lambda: 1.0))


def test_an_answer_is_the_first():
    world = World([(0.5, ANSWER)])
    assert world.request() is ANSWER
    assert [send.timeout_s for send in world.sent] == [10.0]
    assert world.pauses == []


def test_a_server_that_comes_back_is_asked_again_after_pauses_that_grow():
    world = World([(0, AWAY), (0, AWAY), (0, AWAY), (0, ANSWER)])
    assert world.request() is ANSWER
    assert world.pauses == pytest.approx([0.1, 0.2, 0.4])
    assert [send.timeout_s for send in world.sent] == pytest.approx([10, 9.9, 9.7, 9.3])


def test_the_last_error_says_how_often_it_was_tried():
    world = World([(0, AWAY)] * 5)
    with pytest.raises(errors.ServerUnavailableError, match=r"model 'm' at host:1, attempt 5 of 5") as caught:
        world.request(model="m")
    assert (caught.value.attempts, caught.value.max_attempts) == (5, 5)


def test_one_deadline_holds_for_all_attempts_and_pauses():
    world = World([(0.4, AWAY), (0.4, AWAY), (0.1, Failure("DEADLINE_EXCEEDED", "late"))])
    with pytest.raises(errors.DeadlineExceededError, match="attempt 3 of 5"):
        world.request(timeout_s=1.2)
    assert [send.timeout_s for send in world.sent] == pytest.approx([1.2, 0.7, 0.1])


def test_a_pause_that_would_end_after_the_deadline_is_not_begun():
    world = World([(0.95, AWAY)])
    with pytest.raises(errors.ServerUnavailableError, match="attempt 1 of 5"):
        world.request(timeout_s=1.0)
    assert world.pauses == []


def test_a_request_that_comes_too_late_is_not_sent():
    world = World([])
    steps = world.course.request("ServerReady", service_pb2.ServerReadyRequest(), timeout_s=-1.0)
    with pytest.raises(errors.DeadlineExceededError, match="no time left"):
        world.carry_out(steps)
    assert world.sent == []


@pytest.mark.parametrize("status", sorted(set(errors.ERROR_FROM_STATUS) - {"UNAVAILABLE"}))
def test_only_a_server_that_is_away_is_asked_again(status):
    world = World([(0, Failure(status, "no"))])
    with pytest.raises(errors.ERROR_FROM_STATUS[status][0], match=r"attempt 1 of 5"):
        world.request()
    assert len(world.sent) == 1


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Exceeds maximum queue size", errors.OverloadedError),
        ("in ensemble 'm', Request timeout expired", errors.QueueTimeoutError),
        ("Request for unknown model: 'm' is not found", errors.ModelNotFoundError),
    ],
)
def test_a_refusal_of_tritons_is_not_tried_again(words, kind):
    world = World([(0, Failure("UNAVAILABLE", words))])
    with pytest.raises(kind):
        world.request()
    assert len(world.sent) == 1


def test_retries_can_be_left_out():
    world = World([(0, AWAY)], retries=Retries(attempts=1))
    with pytest.raises(errors.ServerUnavailableError, match="attempt 1 of 1"):
        world.request()


def test_the_budget_ends_and_comes_back_with_requests():
    world = World([], retries=Retries(attempts=100, max_pause_s=0, budget=0.5))
    world.script = [(0, AWAY)] * 11
    with pytest.raises(errors.ServerUnavailableError, match="attempt 11 of 100"):
        world.request()
    # Each request puts half a retry in: the second of two has one.
    world.script = [(0, AWAY)]
    with pytest.raises(errors.ServerUnavailableError, match="attempt 1 of 100"):
        world.request()
    world.script = [(0, AWAY), (0, ANSWER)]
    assert world.request() is ANSWER


def test_the_budget_holds_ten_at_most_whoever_takes_them():
    budget = Budget(0.2)
    for _ in range(100):
        budget.request()
    taken = []
    threads = [threading.Thread(target=lambda: taken.extend(budget.take() for _ in range(50))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(taken) == 10


def test_pauses_grow_to_the_longest_and_are_drawn():
    retries = Retries(first_pause_s=0.5, growth=3, max_pause_s=4)
    assert [retries.pause_s(failed) for failed in (1, 2, 3, 4, 10_000)] == [0.5, 1.5, 4, 4, 4]


@pytest.mark.parametrize(
    "values",
    [
        {"attempts": 0},
        {"first_pause_s": -1},
        {"growth": 0.5},
        {"max_pause_s": -0.1},
        {"budget": -1},
        {"budget": math.nan},
        {"growth": math.nan},
    ],
)
def test_retries_that_make_no_sense(values):
    with pytest.raises(errors.InvalidInputError, match=f"Retries: {next(iter(values))} is"):
        Retries(**values)


def test_the_other_endpoint_is_asked_at_once():
    world = World([(0, AWAY), (0, ANSWER)], ["a:1", "b:1"])
    assert world.request() is ANSWER
    assert world.pauses == []
    assert {send.endpoint for send in world.sent} == {0, 1}


def test_where_all_endpoints_are_away_there_are_pauses():
    world = World([(0, AWAY)] * 5, ["a:1", "b:1"])
    with pytest.raises(errors.ServerUnavailableError):
        world.request()
    assert len(world.pauses) == 3


def test_nothing_stays_in_flight_whatever_happens():
    world = World([(0, AWAY), (0, Failure("INTERNAL", "no"))], ["a:1", "b:1"])
    with pytest.raises(errors.ServerFailureError):
        world.request()
    steps = world.course.request("ServerReady", service_pb2.ServerReadyRequest(), timeout_s=1.0)
    next(steps)
    steps.close()
    assert [endpoint.in_flight for endpoint in world.course._balancer.endpoints] == [0, 0]


def test_a_closed_client_sends_nothing():
    world = World([])
    world.course.closed = True
    with pytest.raises(errors.RequestCancelledError, match="the client is closed"):
        world.request()
    with pytest.raises(errors.RequestCancelledError, match="the client is closed"):
        world.course.stream(service_pb2.ModelInferRequest(), "m", 1.0)


def test_a_client_that_is_closed_meanwhile_does_not_try_again():
    world = World([(0, AWAY)])
    steps = world.course.request("ServerReady", service_pb2.ServerReadyRequest(), timeout_s=1.0)
    next(steps)
    world.course.closed = True
    with pytest.raises(errors.ServerUnavailableError):
        steps.send(AWAY)


def test_headers_are_those_of_the_client_and_of_its_watches():
    recorder = Recorder({"traceparent": "00-1"})
    world = World([(0, AWAY), (0, ANSWER)], headers={"Authorization": "Bearer x"}, observers=[recorder])
    world.request()
    assert [list(send.metadata) for send in world.sent] == [
        [("authorization", "Bearer x"), ("traceparent", "00-1")]
    ] * 2


def test_watches_see_each_request_from_its_beginning_to_its_end():
    recorders = Recorder(), Recorder()
    world = World([(0, AWAY), (0, ANSWER), (0, FULL)], observers=recorders)
    world.request(model="m")
    with pytest.raises(errors.OverloadedError):
        world.request()
    for recorder in recorders:
        assert recorder.seen == [
            ("began", "ServerReady", "m"),
            ("attempt", "host:1", 1),
            ("failed", errors.ServerUnavailableError, 1, pytest.approx(0.1)),
            ("attempt", "host:1", 2),
            ("ended", type(None)),
            ("began", "ServerReady", ""),
            ("attempt", "host:1", 1),
            ("ended", errors.OverloadedError),
        ]


@pytest.mark.parametrize("when", ["sending", "pausing"])
def test_watches_see_a_request_that_is_given_up_end_once(when):
    recorder = Recorder()
    world = World(observers=[recorder])
    steps = world.course.request("ServerReady", service_pb2.ServerReadyRequest(), timeout_s=1.0)
    next(steps)
    if when == "pausing":
        assert isinstance(steps.send(AWAY), Pause)
    steps.close()
    steps.close()
    assert recorder.seen[0] == ("began", "ServerReady", "")
    assert [seen for seen in recorder.seen if seen[0] == "ended"] == [("ended", errors.RequestCancelledError)]


def test_a_request_that_never_begins_is_not_seen():
    recorder = Recorder()
    World(observers=[recorder]).course.request("ServerReady", service_pb2.ServerReadyRequest(), timeout_s=1.0).close()
    assert recorder.seen == []


def config(**changes):
    text = {"name": "text", "data_type": "TYPE_STRING", "dims": [1]}
    vector = {"name": "embedding", "data_type": "TYPE_FP32", "dims": [2]}
    values = {"name": "m", "max_batch_size": 2, "input": [text], "output": [vector], **changes}
    return service_pb2.ModelConfigResponse(config=model_config_pb2.ModelConfig(**values))


def vectors(*rows):
    message = service_pb2.ModelInferResponse()
    message.outputs.add(name="embedding", datatype="FP32", shape=[len(rows), 2])
    message.raw_output_contents.append(b"".join(bytes([row] * 8) for row in rows))
    return message


def test_the_server_is_told_what_is_left_in_microseconds():
    seen = []
    world = World([(1.0, config()), (0.25, AWAY), (0, vectors(1))])
    perform = world.perform

    def watched(effect):
        if isinstance(effect, Send) and effect.method == "ModelInfer":
            seen.append(effect.message.parameters["timeout"].int64_param)
        return perform(effect)

    world.perform = watched
    world.carry_out(world.calls.embed("m", ["a"], 2.0))
    # The deadline is each request's; the pause of 0.1 s counts.
    assert seen == pytest.approx([2_000_000, 1_650_000], abs=2)


def test_what_a_model_remembers_is_not_sent_twice():
    world = World([(0, config(sequence_batching={})), (0, AWAY)])
    with pytest.raises(errors.ServerUnavailableError, match="attempt 1 of 1"):
        world.carry_out(world.calls.embed("m", ["a"], None))


def test_many_rows_are_many_requests_each_with_its_own_deadline():
    world = World([(0, config()), (3, vectors(2, 3)), (3, vectors(1))])
    found = world.carry_out(world.calls.embed("m", ["a", "bbb", "bb"], 4.0))
    assert [send.timeout_s for send in world.sent[1:]] == [4.0, 4.0]
    assert [vector.tobytes()[0] for vector in found] == [1, 2, 3]


def test_vectors_of_different_lengths():
    longer = service_pb2.ModelInferResponse()
    longer.outputs.add(name="embedding", datatype="FP32", shape=[1, 3])
    longer.raw_output_contents.append(bytes(12))
    world = World([(0, config()), (0, vectors(2, 3)), (0, longer)])
    with pytest.raises(errors.UnexpectedAnswerError, match="differ in length"):
        world.carry_out(world.calls.embed("m", ["a", "b", "c"], None))


def test_limits_are_asked_for_once():
    world = World([(0, config()), (0, vectors(1)), (0, vectors(1))])
    for _ in range(2):
        world.carry_out(world.calls.embed("m", ["a"], None))
    assert [send.method for send in world.sent] == ["ModelConfig", "ModelInfer", "ModelInfer"]


@pytest.mark.parametrize(
    ("given", "deadline_s"), [(None, 30.0), (0.5, 0.5), (math.inf, 365 * 86400.0), (1e300, 365 * 86400.0)]
)
def test_a_deadline_is_the_callers_or_the_clients(given, deadline_s):
    world = World([(0, service_pb2.ServerMetadataResponse(name="triton", version="2"))])
    assert world.carry_out(world.calls.server(given)) == "triton 2"
    assert world.sent[0].timeout_s == deadline_s


@pytest.mark.parametrize("timeout_s", [0, -1, math.nan])
def test_a_deadline_is_above_zero(timeout_s):
    world = World()
    for steps in (world.calls.server(timeout_s), world.calls.is_ready("m", timeout_s)):
        with pytest.raises(errors.InvalidInputError, match="timeout_s is"):
            world.carry_out(steps)


@pytest.mark.parametrize("name", ["", "\ud800", None, 3, b"m"])
def test_a_models_name_is_a_text(name):
    world = World()
    with pytest.raises(errors.InvalidInputError, match=r"model"):
        world.carry_out(world.calls.limits(name))


def test_readiness_is_asked_for_until_it_is_there():
    no = service_pb2.ServerReadyResponse(ready=False)
    world = World([(0, AWAY), (0, no), (0, ANSWER)])
    world.carry_out(world.calls.wait_ready(10.0, None))
    assert world.pauses == [0.1, 0.1]


def test_waiting_for_readiness_ends_in_time():
    world = World([(0.3, AWAY)] * 20)
    with pytest.raises(errors.ServerUnavailableError, match=r"not ready after 1 s \(model 'm' at host:1\)"):
        world.carry_out(world.calls.wait_ready(1.0, "m"))
    assert world.now - 100 < 1.5
    assert all(send.timeout_s <= 1 for send in world.sent)


def test_a_model_is_ready_where_one_of_the_servers_has_it():
    world = World([(0, AWAY), (0, ANSWER)], ["a:1", "b:1"])
    assert world.carry_out(world.calls.is_ready(None))
