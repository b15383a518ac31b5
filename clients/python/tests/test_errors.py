"""Every gRPC status has its error, and an error says where and what to do."""

import copy
import pickle

import grpc
import pytest

from tritonpack_client import errors
from tritonpack_client.errors import ERROR_FROM_STATUS, TritonClientError, error_from_status


def test_every_grpc_status_is_mapped():
    assert set(ERROR_FROM_STATUS) == {status.name for status in grpc.StatusCode}


@pytest.mark.parametrize("status", list(grpc.StatusCode), ids=str)
def test_a_status_gives_an_error_with_the_facts(status):
    error = error_from_status(
        status.name, "some words.", model="minilm", endpoint="127.0.0.1:8001", attempts=2, max_attempts=5
    )
    assert isinstance(error, TritonClientError)
    assert (error.message, error.model, error.endpoint) == ("some words", "minilm", "127.0.0.1:8001")
    assert (error.attempts, error.max_attempts) == (2, 5)
    assert str(error).startswith("some words (model 'minilm' at 127.0.0.1:8001, attempt 2 of 5)")
    assert error.hint in str(error)


@pytest.mark.parametrize("status", list(grpc.StatusCode), ids=str)
@pytest.mark.parametrize("moved", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])  # noqa: S301 (our own)
def test_an_error_travels_whole(status, moved):
    error = error_from_status(status.name, "some words", model="minilm", endpoint="host:1", attempts=1, max_attempts=3)
    other = moved(error)
    assert type(other) is type(error)
    assert (str(other), vars(other)) == (str(error), vars(error))


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({}, "what"),
        ({"model": "m"}, "what (model 'm')"),
        ({"endpoint": "h:1"}, "what (at h:1)"),
        ({"attempts": 1, "max_attempts": 1}, "what (attempt 1 of 1)"),
        ({"hint": "Do so"}, "what. Do so"),
        ({"model": "m", "endpoint": "h:1", "hint": "Do so"}, "what (model 'm' at h:1). Do so"),
    ],
)
def test_a_message_says_what_is_known(facts, words):
    assert str(TritonClientError("what", **facts)) == words


def test_an_unknown_status_is_still_an_error_of_ours():
    assert isinstance(error_from_status("", "what?"), errors.ServerFailureError)


def test_a_model_that_is_not_served_is_told_apart_from_a_dead_server():
    words = "Request for unknown model: 'minilm' has no available versions"
    assert isinstance(error_from_status("UNAVAILABLE", words), errors.ModelNotFoundError)
    assert isinstance(error_from_status("UNAVAILABLE", "refused"), errors.ServerUnavailableError)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("[request id: <id_unknown>] Exceeds maximum queue size", errors.OverloadedError),
        ("in ensemble 'minilm', [request id: 7] Exceeds maximum queue size", errors.OverloadedError),
        ("Request timeout expired", errors.QueueTimeoutError),
        ("in ensemble 'minilm', Request timeout expired", errors.QueueTimeoutError),
    ],
)
def test_a_refused_request_is_told_apart_from_a_dead_server(words, kind):
    error = error_from_status("UNAVAILABLE", words, model="minilm")
    assert type(error) is kind
    assert isinstance(error, errors.OverloadedError)
    assert "try again after a pause" in str(error)


def test_an_unnamed_request_is_not_announced():
    error = error_from_status("INVALID_ARGUMENT", "[request id: <id_unknown>] batch-size must be <= 32")
    assert error.message == "batch-size must be <= 32"


def test_the_tree_in_the_docstring_is_complete():
    classes = [name for name, item in vars(errors).items() if isinstance(item, type)]
    assert classes
    assert [name for name in classes if name not in (errors.__doc__ or "")] == []
