"""From a PyTorch model to an application's answer: what the server returns is what PyTorch computes."""

from __future__ import annotations

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tiny_bert import WORDS, recipe_document, tiny_model, write_bert, write_recipe, write_texts

import tritonpack
from tritonpack.server.embedded import ServerOptions, free_ports, start
from tritonpack_client import Client

pytestmark = [
    pytest.mark.server,
    # torch's exporter uses a tree API that its own next release renames.
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]

TEXTS = ["", *(" ".join(WORDS[(row * 5 + i) % len(WORDS)] for i in range(1 + row * 7 % 60)) for row in range(120))]
MAX_LENGTH = 48


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """The tiny BERT, built in FP32 and served; its response cache is on."""
    folder = tmp_path_factory.mktemp("end-to-end")
    document = recipe_document(
        write_bert(folder / "model"),
        write_texts(folder),
        targets={"cpu": {"engine": "onnxruntime", "precision": "fp32"}},
        calibration=None,
        serving={"max_batch": 8, "threads": 1, "response_cache": True},
    )
    recipe = tritonpack.load_recipe(write_recipe(folder / "tiny.yaml", document))
    tritonpack.build(recipe, repository=folder / "models", store=folder / "store")
    with start(ServerOptions(folder / "models", *free_ports())) as server, Client(server.grpc_url) as client:
        yield folder, client, server


@pytest.fixture(scope="module")
def expected(served):
    """Mean-pooled, normalised vectors of `transformers` in PyTorch, one text at a time."""
    import torch
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(served[0] / "model" / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_LENGTH)
    model, vectors = tiny_model(), []
    for text in TEXTS:
        ids = torch.tensor([tokenizer.encode(text).ids])
        with torch.no_grad():
            hidden = model(input_ids=ids).last_hidden_state
        vectors.append(torch.nn.functional.normalize(hidden.mean(dim=1), dim=-1)[0].numpy())
    return np.stack(vectors)


def test_many_texts_in_one_call_are_split_and_answered_in_order(served, expected):
    vectors = served[1].embed("tiny", TEXTS)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=2e-5)


def test_texts_of_different_length_at_once_give_what_each_gives_alone(served, expected):
    with ThreadPoolExecutor(16) as pool:
        vectors = np.concatenate(list(pool.map(lambda text: served[1].embed("tiny", [text]), TEXTS)))
    np.testing.assert_allclose(vectors, expected, atol=2e-5)


def test_a_repeated_text_is_answered_from_the_cache(served):
    first, second = (served[1].embed("tiny", ["how do i deploy a model"]) for _ in range(2))
    assert (first == second).all()
    with urllib.request.urlopen(f"{served[2].http_url}/v2/models/tiny/stats") as response:  # noqa: S310
        statistics = json.load(response)["model_stats"][0]["inference_stats"]
    assert statistics["cache_hit"]["count"] >= 1
