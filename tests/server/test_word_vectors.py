"""Word vectors from their file to an application: a tokenizer without special tokens gives rows of no tokens."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import tritonpack
from tritonpack.recipe import recipe_from_document
from tritonpack.server.embedded import ServerOptions, free_ports, start
from tritonpack_client import Client

pytestmark = [
    pytest.mark.server,
    # torch's exporter uses a tree API that its own next release renames.
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]

WORDS = [f"w{number}" for number in range(40)]
VECTORS = np.random.default_rng(5).normal(size=(len(WORDS), 6)).astype(np.float32)
EMPTY = ["", " ", "\t\n"]
UNKNOWN = ["nothing", "never heard of"]


def text_of(seed: int) -> str:
    rng = np.random.default_rng(seed)
    return " ".join(rng.choice([*WORDS, "unheard", "W7"], rng.integers(1, 12)))


def embed(text: str) -> np.ndarray:
    """The mean of the known words' vectors; zeros where there is none."""
    rows = [WORDS.index(word) for word in text.lower().split() if word in WORDS]
    return VECTORS[rows].mean(axis=0) if rows else np.zeros(6)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    lines = [f"{word} {' '.join(map(repr, vector.tolist()))}" for word, vector in zip(WORDS, VECTORS, strict=True)]
    (folder / "vectors.txt").write_text("\n".join([f"{len(WORDS)} 6", *lines]), encoding="utf-8")
    document = {
        "name": "words",
        "source": {"kind": "word_vectors", "file": str(folder / "vectors.txt")},
        "task": {"kind": "embedding", "normalize": False},
        "export": {"max_length": 32},
        "targets": {"cpu": {"engine": "onnxruntime", "precision": "fp32"}},
        "serving": {"max_batch": 16, "threads": 1, "queue_delay_us": 3000},
    }
    tritonpack.build(recipe_from_document(document), repository=folder / "models", store=folder / "store")
    with start(ServerOptions(folder / "models", *free_ports())) as server, Client(server.grpc_url) as client:
        yield client


@pytest.mark.parametrize("text", [*EMPTY, *UNKNOWN, "w3", "w3 w3 W5 unheard"])
def test_a_text_alone_is_the_mean_of_its_known_words(client, text):
    np.testing.assert_allclose(client.embed("words", [text]), [embed(text)], rtol=1e-5, atol=1e-6)


def test_rows_without_a_token_stand_among_others(client):
    texts = [text_of(0), "", "w1", *EMPTY, text_of(1), *UNKNOWN]
    np.testing.assert_allclose(client.embed("words", texts), [embed(text) for text in texts], rtol=1e-5, atol=1e-6)


def test_a_request_of_rows_without_a_token_is_answered(client):
    np.testing.assert_array_equal(client.embed("words", EMPTY), np.zeros((3, 6)))


def test_requests_without_a_token_are_joined_with_others(client):
    texts = [text_of(number) if number % 3 else EMPTY[number % 2] for number in range(120)]
    with ThreadPoolExecutor(16) as pool:
        vectors = np.concatenate(list(pool.map(lambda text: client.embed("words", [text]), texts)))
    np.testing.assert_allclose(vectors, [embed(text) for text in texts], rtol=1e-5, atol=1e-6)
