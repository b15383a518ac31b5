from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_pipelines import SPECIAL, byte_level, sentence, unigram, wordpiece

from tritonpack.repository.python_models.vocabulary import Stage

# One vocabulary that is searched as a whole and one that is searched in stripes.
TOKENIZERS = {"byte_level": byte_level, "unigram": unigram, "large": lambda: wordpiece(4000)}


@pytest.fixture(scope="module", params=TOKENIZERS)
def writer(request, tmp_path_factory):
    """A tokenizer and the folder that it lies in."""
    tokenizer = TOKENIZERS[request.param]()
    folder = tmp_path_factory.mktemp(request.param)
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    return tokenizer, folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    at = tmp_path_factory.mktemp("tokenizer")
    wordpiece().backend_tokenizer.save(str(at / "tokenizer.json"))
    return at


def stage(folder: Path, **parameters: Any) -> Stage:
    return Stage(folder, {name: str(value) for name, value in parameters.items()})


def answer(made: Stage, logits: np.ndarray) -> dict[str, np.ndarray]:
    (found,) = made.run([{"logits_output": logits}])
    assert not isinstance(found, str), found
    return found


def rows_of(found: dict[str, np.ndarray]) -> list[list[tuple[Any, ...]]]:
    arrays_of_row = zip(found["tokens"], found["token_ids"], found["scores"], strict=True)
    return [[(text.decode(), token, score) for text, token, score in zip(*row, strict=True)] for row in arrays_of_row]


def reference(tokenizer: Any, logits: np.ndarray, top_k: int) -> list[list[tuple[Any, ...]]]:
    import torch

    scores, ids = torch.from_numpy(logits).softmax(dim=-1).topk(top_k)
    # torch's softmax sums in another order.
    return [
        [
            (tokenizer.decode([token], clean_up_tokenization_spaces=False), token, pytest.approx(score, rel=2e-6))
            for token, score in zip(*row, strict=True)
        ]
        for row in zip(ids.tolist(), scores.tolist(), strict=True)
    ]


@pytest.mark.parametrize("top_k", [1, 5, 60])
@pytest.mark.parametrize("scale", [0.5, 6])
def test_random_logits(writer, top_k, scale):
    tokenizer, folder = writer
    logits = np.random.default_rng(top_k).normal(scale=scale, size=(8, len(tokenizer))).astype(np.float32)
    assert rows_of(answer(stage(folder, top_k=top_k), logits)) == reference(tokenizer, logits, top_k)


def test_a_models_own_logits(writer):
    import torch
    import transformers

    tokenizer, folder = writer
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = transformers.GPT2Config(
            vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=256, initializer_range=0.7
        )
        model = transformers.AutoModelForCausalLM.from_config(config).eval()
    rng = np.random.default_rng(4)
    with torch.no_grad():
        encoded = [torch.tensor([tokenizer(sentence(rng))["input_ids"]]) for _ in range(5)]
        logits = np.concatenate([model(ids).logits[:, -1].numpy() for ids in encoded])
        greedy = [model.generate(ids, max_new_tokens=1, do_sample=False, pad_token_id=0)[0, -1] for ids in encoded]
    found = answer(stage(folder), logits)
    assert rows_of(found) == reference(tokenizer, logits, 5)
    assert found["token_ids"][:, 0].tolist() == [int(token) for token in greedy]


def test_dtypes_and_shapes(folder):
    found = answer(stage(folder, top_k=4), np.zeros((2, 10), np.float32))
    assert {name: (array.dtype.name, array.shape) for name, array in found.items()} == {
        "tokens": ("object", (2, 4)),
        "token_ids": ("int32", (2, 4)),
        "scores": ("float32", (2, 4)),
    }
    assert found["tokens"].tolist() == [[token.encode() for token in SPECIAL[:4]]] * 2


def test_a_space_before_a_word_stays_and_part_of_a_character_is_marked(tmp_path):
    tokenizer = byte_level()
    tokenizer.backend_tokenizer.save(str(tmp_path / "tokenizer.json"))
    (the,) = tokenizer(" the", add_special_tokens=False)["input_ids"]
    part = tokenizer("\u4e2d", add_special_tokens=False)["input_ids"][0]
    logits = np.zeros((1, len(tokenizer)), np.float32)
    logits[0, [the, part]] = [9, 8]
    assert answer(stage(tmp_path, top_k=2), logits)["tokens"].tolist() == [[b" the", "\ufffd".encode()]]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_isnt_a_number_fails_its_own_request_in_words(folder, bad):
    good, broken = np.zeros((1, 10), np.float32), np.zeros((2, 10), np.float32)
    broken[1, 3] = bad
    first, second, third = stage(folder).run([{"logits_output": logits} for logits in (good, broken, good)])
    assert not isinstance(first, str)
    assert second == "the model's logits of row 1 aren't finite numbers"
    assert not isinstance(third, str)


def test_a_token_ruled_out_has_no_chance(folder):
    logits = np.full((1, 10), -np.inf, np.float32)
    logits[0, 4] = -50
    assert rows_of(answer(stage(folder, top_k=2), logits))[0] == [("[MASK]", 4, 1.0), ("[PAD]", 0, 0.0)]
    logits[0, 4] = -np.inf
    assert stage(folder).run([{"logits_output": logits}]) == ["the model's logits of row 0 aren't finite numbers"]


def test_bad_parameters_and_no_tokenizer(folder, tmp_path):
    with pytest.raises(ValueError, match="top_k: at least 1"):
        stage(folder, top_k=0)
    with pytest.raises(ValueError, match="there is no tokenizer file"):
        stage(tmp_path)
