"""The client against a real Triton."""

import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from tritonpack_client import (
    Client,
    DeadlineExceededError,
    InvalidInputError,
    InvalidRequestError,
    ModelNotFoundError,
    ServerFailureError,
)

pytestmark = pytest.mark.server


@pytest.fixture
def client(server_url):
    with Client(server_url, timeout_s=20) as client:
        yield client


def vector(text: str) -> np.ndarray:
    """What the served models compute, computed here."""
    features = np.random.default_rng(zlib.crc32(text.encode())).standard_normal(8).astype(np.float32)
    return features / np.linalg.norm(features)


def test_the_server_and_its_models_are_ready(client):
    client.wait_ready(10, "hash")
    assert client.is_ready()
    assert not client.is_ready("nosuch")
    assert client.server().startswith("triton 2.")
    assert [(state.name, state.state) for state in client.models()] == [
        ("hash", "READY"),
        ("hash_text", "READY"),
        ("hash_vector", "READY"),
        ("patient", "READY"),
    ]


def test_limits_come_from_the_configuration(client):
    limits = client.limits("hash")
    assert limits.max_batch_size == 4
    assert (limits.inputs[0].name, limits.inputs[0].datatype, limits.inputs[0].dims) == ("text", "BYTES", (1,))
    assert (limits.outputs[0].name, limits.outputs[0].datatype, limits.outputs[0].dims) == ("embedding", "FP32", (8,))
    assert client.limits("hash") is limits


@pytest.mark.parametrize("count", [0, 1, 4, 5, 203])
def test_every_text_gets_its_own_vector(client, count):
    texts = [f"text {index} " + "x" * (index * 7 % 31) for index in range(count)]
    vectors = client.embed("hash", texts)
    assert (vectors.shape, vectors.dtype) == ((count, 8), np.float32)
    np.testing.assert_allclose(vectors, np.array([vector(text) for text in texts]).reshape(count, 8), atol=1e-6)


def test_ten_thousand_texts(client):
    texts = [str(index) for index in range(10_000)]
    vectors = client.embed("hash", texts)
    assert vectors.shape == (10_000, 8)
    for index in (0, 1, 4999, 9999):
        np.testing.assert_allclose(vectors[index], vector(texts[index]), atol=1e-6)


@pytest.mark.parametrize("text", ["", " ", "\0", "é", "日本語", "👩‍🚀", "a" * 100_000, "line\nbreak"])
def test_any_text_arrives_as_it_is(client, text):
    np.testing.assert_allclose(client.embed("hash", [text])[0], vector(text), atol=1e-6)


def test_raw_tensors(client):
    for texts in (np.array([["a"], ["b"]]), np.array([[b"a"], [b"b"]]), np.array([["a"], [b"b"]], dtype=object)):
        outputs = client.infer("hash", {"text": texts})
        assert list(outputs) == ["embedding"]
        np.testing.assert_allclose(outputs["embedding"], [vector("a"), vector("b")], atol=1e-6)


def test_an_unknown_model(client):
    with pytest.raises(ModelNotFoundError, match="'nosuch' at 127"):
        client.embed("nosuch", ["text"])


def test_a_model_that_does_not_embed(client):
    with pytest.raises(InvalidInputError, match=r"features FP32 \[8\]"):
        client.embed("hash_vector", ["text"])


def test_a_batch_over_the_maximum(client):
    with pytest.raises(InvalidRequestError, match="batch-size must be <= 4"):
        client.infer("hash", {"text": np.array([["a"]] * 5)})


def test_an_input_that_the_model_does_not_have(client):
    with pytest.raises(InvalidInputError, match="no input named 'txt'; the inputs are text"):
        client.infer("hash", {"txt": np.array([["a"]])})


def test_one_failed_request_fails_the_call(client):
    with pytest.raises(ServerFailureError, match="asked to fail"):
        client.embed("hash", [*("text " * 20).split(), "fail"])


def test_a_deadline_ends_the_call_and_not_the_client(server_url):
    with Client(server_url, timeout_s=0.2) as hurried:
        with pytest.raises(DeadlineExceededError, match="model 'hash'"):
            hurried.embed("hash", ["sleep"])
        hurried.wait_ready(10)
    with Client(server_url) as client:
        np.testing.assert_allclose(client.embed("hash", ["after"])[0], vector("after"), atol=1e-6)


def test_threads_share_a_client(client):
    def embed(number: int) -> bool:
        texts = [f"{number}-{index}" for index in range(30)]
        return np.allclose(client.embed("hash", texts), [vector(text) for text in texts], atol=1e-6)

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(embed, range(12)))
