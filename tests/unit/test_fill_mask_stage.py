from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_pipelines import SPECIAL, byte_level, sentence, tiny_bert, unigram, wordpiece

from tritonpack.repository.python_models.vocabulary import Stage, _best

# One vocabulary that is searched as a whole and one that is searched in stripes.
TOKENIZERS = {"wordpiece": wordpiece, "unigram": unigram, "byte_level": byte_level, "large": lambda: wordpiece(4000)}
MASK = SPECIAL.index("[MASK]")


@pytest.fixture(scope="module", params=TOKENIZERS)
def filler(request, tmp_path_factory):
    """A pipeline, and the folder with its tokenizer."""
    from transformers import pipeline

    tokenizer = TOKENIZERS[request.param]()
    folder = tmp_path_factory.mktemp(request.param)
    tokenizer.backend_tokenizer.save(str(folder / "tokenizer.json"))
    return pipeline(
        "fill-mask", model=tiny_bert("AutoModelForMaskedLM", tokenizer), tokenizer=tokenizer, device="cpu"
    ), folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    at = tmp_path_factory.mktemp("tokenizer")
    wordpiece().backend_tokenizer.save(str(at / "tokenizer.json"))
    return at


def stage(folder: Path, **parameters: Any) -> Stage:
    return Stage(folder, {name: str(value) for name, value in ({"mask_id": MASK, "max_masks": 3} | parameters).items()})


def request_of(rows: list[list[int]], logits: list[np.ndarray], max_masks: int) -> dict[str, np.ndarray]:
    """Logits (tokens, vocabulary) of each row to the inputs: those of its masks alone, nan in the other slots."""
    request = {
        "input_ids": np.zeros((len(rows), max(map(len, rows))), np.int64),
        "logits_output": np.full((len(rows), max_masks, logits[0].shape[1]), np.nan, np.float32),
    }
    for row, (ids, scores) in enumerate(zip(rows, logits, strict=True)):
        request["input_ids"][row, : len(ids)] = ids
        at = [place for place, token in enumerate(ids) if token == MASK]
        request["logits_output"][row, : len(at)] = scores[at]
    return request


def answer(made: Stage, request: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    (found,) = made.run([request])
    assert not isinstance(found, str), found
    return found


def rows_of(found: dict[str, np.ndarray]) -> list[list[list[tuple[Any, ...]]]]:
    arrays_of_row = zip(found["tokens"], found["token_ids"], found["scores"], found["counts"][:, 0], strict=True)
    return [
        [
            [(text.decode(), token, score) for text, token, score in zip(*mask, strict=True)]
            for mask in list(zip(tokens, ids, scores, strict=True))[:count]
        ]
        for tokens, ids, scores, count in arrays_of_row
    ]


def compared(want: Any) -> list[list[tuple[Any, ...]]]:
    # torch's softmax sums in another order.
    masks = [want] if isinstance(want[0], dict) else want
    return [[(one["token_str"], one["token"], pytest.approx(one["score"], rel=2e-6)) for one in mask] for mask in masks]


def test_answers_what_the_pipeline_answers(filler):
    import torch

    pipe, folder = filler
    rng = np.random.default_rng(2)
    texts = []
    for masks in (1, 2, 1, 3, 1):
        words = sentence(rng, 4, 9).split()
        for at in rng.choice(len(words), masks, replace=False):
            words[at] = "[MASK]"
        texts.append(" ".join(words))
    rows = [pipe.tokenizer(text)["input_ids"] for text in texts]
    with torch.no_grad():
        logits = [pipe.model(torch.tensor([ids])).logits[0].numpy() for ids in rows]
    found = answer(stage(folder, max_masks=4, top_k=6), request_of(rows, logits, max_masks=4))
    assert rows_of(found) == [compared(pipe(text, top_k=6)) for text in texts]
    assert found["counts"].tolist() == [[1], [2], [1], [3], [1]]


@pytest.mark.parametrize("top_k", [1, 5, 40])
def test_random_logits(filler, top_k):
    import torch
    from transformers.modeling_outputs import MaskedLMOutput

    pipe, folder = filler
    rng = np.random.default_rng(top_k)
    rows = [[2, *([MASK] * count), 9, 3] for count in (1, 2, 3)]
    vocabulary = len(pipe.tokenizer)
    logits = [rng.normal(scale=5, size=(len(ids), vocabulary)).astype(np.float32) for ids in rows]
    found = rows_of(answer(stage(folder, top_k=top_k), request_of(rows, logits, max_masks=3)))
    for ids, scores, got in zip(rows, logits, found, strict=True):
        outputs = MaskedLMOutput(logits=torch.from_numpy(scores[None]))
        outputs["input_ids"] = torch.tensor([ids])
        assert got == compared(pipe.postprocess(outputs, top_k=top_k))


def test_dtypes_shapes_and_padding(folder):
    rows = [[2, MASK, 9, MASK, 3], [2, MASK, 3]]
    request = request_of(rows, [np.zeros((len(ids), 20), np.float32) for ids in rows], max_masks=3)
    found = answer(stage(folder), request)
    assert {name: (array.dtype.name, array.shape) for name, array in found.items()} == {
        "tokens": ("object", (2, 2, 5)),
        "token_ids": ("int32", (2, 2, 5)),
        "scores": ("float32", (2, 2, 5)),
        "counts": ("int32", (2, 1)),
    }
    assert found["token_ids"].tolist() == [[[0, 1, 2, 3, 4]] * 2, [[0, 1, 2, 3, 4], [-1] * 5]]
    assert found["tokens"][0, 0].tolist() == [token.encode() for token in SPECIAL]
    assert found["tokens"][1, 1].tolist() == [b""] * 5
    assert found["scores"].tolist() == [[[pytest.approx(0.05)] * 5] * 2, [[pytest.approx(0.05)] * 5, [0] * 5]]


def test_bad_rows_fail_their_own_request(folder):
    logits = np.zeros((9, 20), np.float32)
    good = request_of([[2, MASK, 3]], [logits], 3)
    none = request_of([[2, MASK, 3], [2, 9, 3]], [logits, logits], 3)
    many = request_of([[2, MASK, 3], [MASK] * 4], [logits, logits], 4)
    narrow = request_of([[MASK] * 3], [logits], 3)
    narrow["logits_output"] = narrow["logits_output"][:, :2]
    answers = stage(folder).run([good, none, many, narrow, good])
    assert not isinstance(answers[0], str)
    assert answers[1:4] == [
        "row 1 has no mask token; if the text has one, truncation took it",
        "row 1 has 4 mask tokens; at most 3 are answered",
        "the model gives logits of 2 masks a row, not of 3; build it again",
    ]
    assert not isinstance(answers[4], str)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_isnt_a_number_fails_in_words(folder, bad):
    rows = [[2, MASK, 3], [MASK, MASK]]
    request = request_of(rows, [np.zeros((3, 20), np.float32)] * 2, 3)
    request["logits_output"][1, 1, 7] = bad
    assert stage(folder).run([request]) == ["the model's logits of row 1 aren't finite numbers"]


def test_a_token_ruled_out_has_no_chance(folder):
    request = request_of([[MASK]], [np.zeros((1, 8), np.float32)], 1)
    request["logits_output"][0, 0, :4] = -np.inf
    found = answer(stage(folder), request)
    assert found["token_ids"][0, 0].tolist() == [4, 5, 6, 7, 0]
    assert found["scores"][0, 0].tolist() == [0.25, 0.25, 0.25, 0.25, 0]


def test_half_precision_and_ids_beyond_the_tokenizer(folder):
    request = request_of([[MASK]], [np.eye(1, 900, 899, dtype=np.float32) * 9], 1)
    request["logits_output"] = request["logits_output"].astype(np.float16)
    found = answer(stage(folder, top_k=1), request)
    assert found["scores"].dtype == np.float32
    assert (found["token_ids"].item(), found["tokens"].item()) == (899, b"")


@given(
    arrays(np.float32, st.tuples(st.integers(1, 3), st.integers(1, 1500)), elements=st.sampled_from([-2, 0, 1, 3.5])),
    st.integers(1, 12),
    st.integers(0, 2**32 - 1),
)
def test_best_are_the_largest(logits, count, seed):
    logits = logits + np.random.default_rng(seed).choice([0, 1], logits.shape) * logits
    ids = _best(logits, count)
    assert ids.shape == (len(logits), min(count, logits.shape[1]))
    assert all(len(set(row)) == len(row) for row in ids.tolist())
    largest = -np.sort(-logits, axis=1)[:, :count]
    assert np.take_along_axis(logits, ids, axis=1).tolist() == largest.tolist()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"top_k": 0}, "max_masks, top_k"), ({"max_masks": 0}, "max_masks, top_k"), ({"mask_id": "[MASK]"}, "MASK")],
)
def test_bad_parameters(folder, parameters, message):
    with pytest.raises(ValueError, match=message):
        stage(folder, **parameters)


def test_missing_parameters_and_tokenizer(folder, tmp_path):
    with pytest.raises(ValueError, match="no parameter max_masks"):
        Stage(folder, {"mask_id": "4"})
    with pytest.raises(ValueError, match="there is no tokenizer file"):
        stage(tmp_path)
