"""What is shared, and what becomes of a region: steps without a server, on real memory."""

import logging
import os

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from tritonpack_client import Client, ModelLimits, TensorSpec, TritonClientError, regions, sharing
from tritonpack_client.regions import FOLDER, IN_USE, Region, left_behind
from tritonpack_client.sharing import LEAST_BYTES, layout_of
from tritonpack_client.steps import Failure, Pause
from tritonpack_client.tensors import contents_from_arrays

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="this machine has no /dev/shm")

LARGE = LEAST_BYTES // 4
LIMITS = ModelLimits(
    "large",
    4,
    (TensorSpec("x", "FP32", (-1,)), TensorSpec("text", "BYTES", (1,))),
    (TensorSpec("y", "FP32", (LARGE,)), TensorSpec("free", "FP32", (-1,)), TensorSpec("text", "BYTES", (LARGE,))),
)
ARRAYS = {"x": np.arange(LARGE, dtype=np.float32).reshape(1, -1), "text": np.array([["a"]])}


def contents():
    return contents_from_arrays(LIMITS, ARRAYS)


@pytest.fixture
def shared():
    """A client's regions, without a connection."""
    client = Client("127.0.0.1:1", shared_memory=True)
    yield client._calls._sharing
    client.close()
    assert set() == IN_USE
    assert not [*FOLDER.glob("tritonpack-client.*")]


def carry(steps, answer):
    """Carry steps out; ``answer`` gives the outcome of each message. Returns the result, and what was sent."""
    sent, outcome = [], None
    while True:
        try:
            effect = steps.send(outcome)
        except StopIteration as end:
            return end.value, sent
        if isinstance(effect, Pause):
            outcome = None
            continue
        message = type(effect.message)()
        message.CopyFrom(effect.message)
        sent.append((effect.method, message))
        outcome = answer(effect.method, effect.message)


def server(fail=()):
    """Answers as a server does, but for the first requests of some methods, which fail."""
    fail = list(fail)

    def answer(method, message):
        if fail and fail[0][0] == method:
            return fail.pop(0)[1]
        if method == "SystemSharedMemoryStatus":
            return service_pb2.SystemSharedMemoryStatusResponse()
        if method != "ModelInfer":
            return service_pb2.SystemSharedMemoryRegisterResponse()
        response = service_pb2.ModelInferResponse()
        response.outputs.add(name="y", datatype="FP32", shape=[1, LARGE])
        shared = "shared_memory_region" in message.outputs[0].parameters
        response.raw_output_contents.append(b"" if shared else ARRAYS["x"].tobytes())
        return response

    return answer


def methods(sent):
    return [method.removeprefix("SystemSharedMemory") for method, _ in sent]


def test_large_tensors_of_known_size_are_shared():
    layout = layout_of(LIMITS, contents())
    assert layout.inputs == {"x": (0, LEAST_BYTES)}
    assert layout.outputs == {"y": (LEAST_BYTES, LEAST_BYTES)}
    assert layout.size == 2 * LEAST_BYTES
    small = contents_from_arrays(LIMITS, {"x": ARRAYS["x"][:, 1:], "text": ARRAYS["text"]})
    assert layout_of(LIMITS, small).inputs == {}


def test_the_request_says_where_its_tensors_lie(shared):
    outputs, sent = carry(shared.infer(LIMITS, contents(), 5, None), server())
    assert methods(sent) == ["Status", "Register", "ModelInfer"]
    register, infer = sent[1][1], sent[2][1]
    assert (register.key, register.byte_size) == (f"/{register.name}", 2 * LEAST_BYTES)
    parameters = infer.inputs[0].parameters
    assert parameters["shared_memory_region"].string_param == register.name
    assert parameters["shared_memory_byte_size"].int64_param == LEAST_BYTES
    assert infer.outputs[0].parameters["shared_memory_offset"].int64_param == LEAST_BYTES
    # The small one goes as it is.
    assert len(infer.raw_input_contents) == 1
    # The region holds the input, and the server of this test wrote no output.
    assert shared._idle[0].read(0, LEAST_BYTES) == ARRAYS["x"].tobytes()
    assert not outputs["y"].any()
    _, sent = carry(shared.infer(LIMITS, contents(), 5, None), server())
    assert methods(sent) == ["ModelInfer"]


def test_an_attempt_after_a_broken_one_does_not_share(shared):
    broken = server([("ModelInfer", Failure("UNAVAILABLE", "gone"))])
    outputs, sent = carry(shared.infer(LIMITS, contents(), 5, None), broken)
    assert methods(sent) == ["Status", "Register", "ModelInfer", "ModelInfer"]
    again = sent[3][1]
    assert len(again.raw_input_contents) == 2
    assert not again.inputs[0].parameters
    np.testing.assert_array_equal(outputs["y"], ARRAYS["x"])
    assert shared._idle == []
    assert [*shared._retired] == [sent[1][1].name]


@pytest.mark.parametrize(
    ("failure", "kept"),
    [
        (Failure("DEADLINE_EXCEEDED", "late"), 0),
        (Failure("CANCELLED", "given up"), 0),
        (Failure("INTERNAL", "the model broke"), 0),
        (Failure("UNAVAILABLE", "Exceeds maximum queue size"), 1),
        (Failure("INVALID_ARGUMENT", "unexpected shape"), 1),
    ],
    ids=lambda value: str(getattr(value, "status", value)),
)
def test_a_region_is_used_again_if_the_server_is_done_with_it(shared, failure, kept):
    with pytest.raises(TritonClientError):
        carry(shared.infer(LIMITS, contents(), 5, None), server([("ModelInfer", failure)]))
    assert (len(shared._idle), len(shared._retired)) == (kept, 1 - kept)


def test_a_request_that_is_given_up_keeps_its_region(shared):
    steps = shared.infer(LIMITS, contents(), 5, None)
    outcome = None
    while (effect := steps.send(outcome)).method != "ModelInfer":
        outcome = server()(effect.method, effect.message)
    steps.close()
    assert (len(shared._idle), len(shared._retired)) == (0, 1)


def test_a_region_that_is_still_used_is_unregistered_later(shared):
    late = server([("ModelInfer", Failure("DEADLINE_EXCEEDED", "late"))])
    with pytest.raises(TritonClientError):
        carry(shared.infer(LIMITS, contents(), 5, None), late)
    used = server([("SystemSharedMemoryUnregister", Failure("INTERNAL", "it is currently in use."))])
    _, sent = carry(shared.infer(LIMITS, contents(), 5, None), used)
    assert methods(sent) == ["Unregister", "Register", "ModelInfer"]
    _, sent = carry(shared.infer(LIMITS, contents(), 5, None), used)
    assert methods(sent) == ["Unregister", "ModelInfer"]
    _, sent = carry(shared.infer(LIMITS, contents(), 5, None), used)
    assert methods(sent) == ["ModelInfer"]


def test_a_region_that_the_server_lost_is_made_again(shared):
    carry(shared.infer(LIMITS, contents(), 5, None), server())
    lost = server([("ModelInfer", Failure("NOT_FOUND", "Unable to find shared memory region: 'x'"))])
    _, sent = carry(shared.infer(LIMITS, contents(), 5, None), lost)
    assert methods(sent) == ["ModelInfer", "Unregister", "Register", "ModelInfer"]
    assert sent[2][1].name == sent[3][1].inputs[0].parameters["shared_memory_region"].string_param


def test_with_one_region_the_server_lost_them_all(shared):
    together = [shared.infer(LIMITS, contents(), 5, None) for _ in range(3)]
    asked = []
    for steps in together:
        outcome = None
        while (effect := steps.send(outcome)).method != "ModelInfer":
            outcome = server()(effect.method, effect.message)
        asked.append(server()(effect.method, effect.message))
    for steps, outcome in zip(together, asked, strict=True):
        with pytest.raises(StopIteration):
            steps.send(outcome)
    assert len(shared._idle) == 3
    lost = server([("ModelInfer", Failure("NOT_FOUND", "Unable to find shared memory region: 'x'"))])
    _, sent = carry(shared.infer(LIMITS, contents(), 5, None), lost)
    assert methods(sent) == ["ModelInfer", "Unregister", "Register", "ModelInfer"]
    assert (len(shared._idle), len(shared._retired)) == (1, 2)


def test_a_server_that_finds_no_region_of_that_name_is_elsewhere(shared, caplog):
    elsewhere = server([("SystemSharedMemoryRegister", Failure("INTERNAL", "Unable to open shared memory region"))])
    for expected in (["Status", "Register", "ModelInfer"], ["ModelInfer"]):
        outputs, sent = carry(shared.infer(LIMITS, contents(), 5, None), elsewhere)
        assert methods(sent) == expected
        np.testing.assert_array_equal(outputs["y"], ARRAYS["x"])
    assert len(caplog.records) == 1
    assert "Unable to open" in caplog.text


def test_a_server_that_is_away_may_share_later(shared, caplog):
    away = server([("SystemSharedMemoryRegister", Failure("UNAVAILABLE", "away"))])
    carry(shared.infer(LIMITS, contents(), 5, None), away)
    _, sent = carry(shared.infer(LIMITS, contents(), 5, None), away)
    assert methods(sent) == ["Unregister", "Register", "ModelInfer"]
    assert not caplog.records


def test_without_room_tensors_go_as_they_are(shared, caplog, monkeypatch):
    def no_room(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sharing, "Region", no_room)
    _, sent = carry(shared.infer(LIMITS, contents(), 5, None), server())
    assert methods(sent) == ["Status", "ModelInfer"]
    assert "No space left" in caplog.text


def test_a_full_folder_leaves_nothing(monkeypatch):
    def no_room(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", no_room)
    with pytest.raises(OSError, match="No space"):
        Region(10)
    assert not [*FOLDER.glob("tritonpack-client.*")]
    assert set() == IN_USE


@pytest.mark.parametrize("url", ["10.0.0.1:8001", "triton.example:8001"])
def test_a_server_elsewhere_is_not_asked(url, caplog):
    caplog.set_level(logging.WARNING, "tritonpack_client")
    with Client(url, shared_memory=True) as client:
        _, sent = carry(client._calls._sharing.infer(LIMITS, contents(), 5, None), server())
    assert methods(sent) == ["ModelInfer"]
    assert "isn't on this machine" in caplog.text


def test_a_closed_client_unregisters_all_and_waits_for_what_is_used():
    client = Client("127.0.0.1:1", shared_memory=True)
    carry(client._calls._sharing.infer(LIMITS, contents(), 5, None), server())
    used = server([("SystemSharedMemoryUnregister", Failure("INTERNAL", "it is currently in use."))] * 3)
    _, sent = carry(client._calls._sharing.close(), used)
    assert methods(sent) == ["Unregister"] * 4
    assert set() == IN_USE
    client.close()


def test_who_is_gone_left_its_regions_behind():
    region = Region(10)
    prefix, namespace, number, started, _ = region.name.split(".")
    try:
        assert (FOLDER / region.name).stat().st_mode & 0o777 == 0o600
        others = [
            f"{prefix}.{namespace}.{number}.{started}.999",  # of a client that was closed
            f"{prefix}.{namespace}.{number}.1.0",  # of an earlier process with this number
            f"{prefix}.{namespace}.4194305.7.0",  # of a process that ended
        ]
        foreign = [
            f"{prefix}.1.4194305.7.0",  # somewhere that can't be seen from here
            f"{prefix}.{namespace}.1.{regions._started('1')}.0",  # of a process that lives
            "other.1.2.3.4",
            prefix,
        ]
        assert left_behind([region.name, *others, *foreign]) == others
    finally:
        region.unlink()
        region.close()
        IN_USE.discard(region.name)
