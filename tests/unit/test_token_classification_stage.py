from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_pipelines import WORDS, byte_level, sentence, tiny_bert, unigram, wordpiece

from tritonpack.repository.python_models.token_classification import STRATEGIES, Stage

# Every shape of label: outside, B-/I-, other prefixes, none, dashes inside, B- of what else stands bare.
LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "E-PER", "MISC", "B-MISC", "B-A-B", "I-A-B"]
TOKENIZERS = {"wordpiece": wordpiece, "unigram": unigram, "byte_level": byte_level}
# Words are told from their parts by a heuristic where the tokenizer doesn't mark them; the pipeline says so.
pytestmark = pytest.mark.filterwarnings("ignore:Tokenizer does not support real words")


@cache
def tagger(kind: str) -> Any:
    from transformers import pipeline

    tokenizer = TOKENIZERS[kind]()
    model = tiny_bert("AutoModelForTokenClassification", tokenizer, num_labels=len(LABELS))
    model.config.id2label = dict(enumerate(LABELS))
    return pipeline("token-classification", model=model, tokenizer=tokenizer, device="cpu")


def stage(**parameters: str) -> Stage:
    return Stage(Path(), {"labels": json.dumps(LABELS), **parameters})


def preprocessed(pipe: Any, texts: list[str]) -> list[dict[str, Any]]:
    (rows,) = zip(*(pipe.preprocess(text, is_split_into_words=False) for text in texts), strict=True)
    return list(rows)


def request_of(pipe: Any, rows: list[dict[str, Any]], logits: list[np.ndarray], wider: int = 0) -> dict[str, Any]:
    """The stage's inputs: rows padded to the longest, logits ``wider`` still, and nan wherever no token is."""
    longest = max(map(len, logits))
    shape = (len(rows), longest)
    request = {
        "logits_output": np.full((len(rows), longest + wider, len(LABELS)), np.nan, np.float32),
        "attention_mask": np.zeros(shape, np.int64),
        "sequence": np.full(shape, -1, np.int32),
        "offsets": np.zeros((*shape, 2), np.int32),
        "subword": np.zeros(shape, bool),
        "text": np.empty((len(rows), 1), object),
    }
    for row, (found, scores) in enumerate(zip(rows, logits, strict=True)):
        tokens = len(scores)
        special = found["special_tokens_mask"][0].numpy()
        request["logits_output"][row, :tokens] = scores
        request["attention_mask"][row, :tokens] = 1
        request["sequence"][row, :tokens] = -special
        request["offsets"][row, :tokens] = found["offset_mapping"][0].numpy()
        request["text"][row, 0] = found["sentence"].encode()
        offsets, ids = found["offset_mapping"][0], found["input_ids"][0].numpy()
        strategy = pipe._sanitize_parameters(aggregation_strategy="simple")[2]["aggregation_strategy"]
        for token in pipe.gather_pre_entities(found["sentence"], ids, scores, offsets, special, strategy):
            request["subword"][row, token["index"]] = token["is_subword"]
    return request


def answer(made: Stage, request: dict[str, Any]) -> dict[str, np.ndarray]:
    (found,) = made.run([request])
    assert not isinstance(found, str), found
    return found


def rows_of(found: dict[str, np.ndarray]) -> list[list[tuple[Any, ...]]]:
    return [
        [
            (
                found["labels"][row, at].decode(),
                found["scores"][row, at],
                found["starts"][row, at],
                found["ends"][row, at],
            )
            for at in range(found["counts"][row, 0])
        ]
        for row in range(len(found["counts"]))
    ]


def compared(entities: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    # Sums of float32 in another order: five units in the seventh place.
    return [
        (
            entity.get("entity_group") or entity["entity"],
            pytest.approx(entity["score"], rel=5e-7),
            entity["start"],
            entity["end"],
        )
        for entity in entities
    ]


def random_logits(rng: np.random.Generator, tokens: int, ties: bool) -> np.ndarray:
    logits = rng.normal(scale=2, size=(tokens, len(LABELS))).astype(np.float32)
    # Neighbours that agree, so that there is something to join.
    alike = rng.random(tokens) < 0.5
    for token in range(1, tokens):
        if alike[token]:
            logits[token] = logits[token - 1] + rng.normal(scale=0.3, size=len(LABELS))
    return np.round(logits) if ties else logits


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("kind", TOKENIZERS)
def test_answers_what_the_pipeline_answers(kind, strategy):
    import torch

    pipe, rng = tagger(kind), np.random.default_rng(7)
    strategy_of_pipe = pipe._sanitize_parameters(aggregation_strategy=strategy)[2]["aggregation_strategy"]
    for turn in range(12):
        rows = preprocessed(pipe, [sentence(rng) for _ in range(4)])
        ties = turn % 3 == 0 and strategy != "average"
        logits = [random_logits(rng, row["input_ids"].shape[1], ties) for row in rows]
        ignored = [["O"], [], ["O", "PER", "B-LOC"]][turn % 3]
        made = stage(aggregation=strategy, ignore_labels=json.dumps(ignored))
        found = answer(made, request_of(pipe, rows, logits, wider=turn % 2))
        for row, (one, scores) in enumerate(zip(rows, logits, strict=True)):
            outputs = [{**one, "logits": torch.from_numpy(scores[None])}]
            want = pipe.postprocess(outputs, aggregation_strategy=strategy_of_pipe, ignore_labels=ignored)
            assert rows_of(found)[row] == compared(want)
            texts = [one["sentence"][entity["start"] : entity["end"]] for entity in want]
            assert [text.decode() for text in found["entities"][row, : len(want)]] == texts


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_answers_the_pipeline_on_a_models_own_logits(strategy):
    import torch

    pipe, rng = tagger("wordpiece"), np.random.default_rng(1)
    texts = [sentence(rng) for _ in range(6)]
    rows = preprocessed(pipe, texts)
    with torch.no_grad():
        logits = [pipe.model(row["input_ids"]).logits[0].numpy() for row in rows]
    found = answer(stage(aggregation=strategy), request_of(pipe, rows, logits, wider=3))
    assert rows_of(found) == [compared(want) for want in pipe(texts, aggregation_strategy=strategy)]


def test_defaults_are_simple_groups_without_o():
    pipe, rng = tagger("wordpiece"), np.random.default_rng(5)
    rows = preprocessed(pipe, [sentence(rng, 8)])
    request = request_of(pipe, rows, [random_logits(rng, rows[0]["input_ids"].shape[1], ties=False)])
    explicit = stage(aggregation="simple", ignore_labels='["O"]')
    assert rows_of(answer(stage(), request)) == rows_of(answer(explicit, request))


@settings(max_examples=60, deadline=None)
@given(
    text=st.lists(st.sampled_from(WORDS) | st.text(max_size=5), max_size=8).map(" ".join),
    kind=st.sampled_from(["wordpiece", "unigram"]),
    strategy=st.sampled_from(STRATEGIES),
    seed=st.integers(0, 2**32 - 1),
)
def test_entities_are_slices_of_the_text_in_order(text, kind, strategy, seed):
    pipe, rng = tagger(kind), np.random.default_rng(seed)
    rows = preprocessed(pipe, [text])
    logits = random_logits(rng, rows[0]["input_ids"].shape[1], ties=False)
    found = answer(stage(aggregation=strategy), request_of(pipe, rows, [logits]))
    reached = (0, 0)
    for at in range(found["counts"][0, 0]):
        start, end = int(found["starts"][0, at]), int(found["ends"][0, at])
        # A word's mark and first letter are two tokens of one place in such tokenizers: entities can share it.
        assert start >= reached[0 if kind == "unigram" else 1]
        assert reached[1] <= end
        assert start <= end <= len(text)
        assert found["entities"][0, at].decode() == text[start:end]
        assert 0 < found["scores"][0, at] <= 1 + 1e-6
        assert found["labels"][0, at] not in {b"O", b""}
        reached = (start, end)


def test_rows_dont_run_into_each_other():
    """Of two rows of one tag each, the second's tokens all mark continuations."""
    request = bare(rows=2, tokens=2)
    request["logits_output"][:, :, 2] = 9
    request["subword"][1] = True
    for strategy in ("simple", "first", "average", "max"):
        found = answer(stage(aggregation=strategy), request)
        assert found["counts"].tolist() == [[1], [1]]
        assert found["entities"].tolist() == [[b"ab"], [b"ab"]]


def test_dtypes_shapes_and_padding():
    request = bare(rows=3, tokens=2)
    request["logits_output"][0, :, 1] = 9  # two entities that open, in the first row
    request["logits_output"][1, :, 2] = 9  # one, in the second; the third has O alone
    request["logits_output"][2, :, 0] = 9
    found = answer(stage(), request)
    assert {name: (array.dtype.name, array.shape) for name, array in found.items()} == {
        "entities": ("object", (3, 2)),
        "labels": ("object", (3, 2)),
        "scores": ("float32", (3, 2)),
        "starts": ("int32", (3, 2)),
        "ends": ("int32", (3, 2)),
        "counts": ("int32", (3, 1)),
    }
    assert found["entities"].tolist() == [[b"a", b"b"], [b"ab", b""], [b"", b""]]
    assert found["labels"].tolist() == [[b"PER", b"PER"], [b"PER", b""], [b"", b""]]
    assert found["starts"].tolist() == [[0, 1], [0, -1], [-1, -1]]
    assert found["ends"].tolist() == [[1, 2], [2, -1], [-1, -1]]
    assert (found["scores"] > 0).tolist() == [[True, True], [True, False], [False, False]]
    assert found["counts"].tolist() == [[2], [1], [0]]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("nothing", ["special tokens only", "label O only"])
def test_no_entities(strategy, nothing):
    request = bare(rows=2, tokens=3)
    request["logits_output"][:, :, 0] = 9
    if nothing == "special tokens only":
        request["sequence"][:] = -1
    found = answer(stage(aggregation=strategy), request)
    assert found["counts"].tolist() == [[0], [0]]
    assert found["entities"].tolist() == [[b""], [b""]]
    assert found["starts"].tolist() == [[-1], [-1]]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_isnt_a_number_fails_its_own_request_in_words(bad):
    good, broken = bare(rows=1, tokens=2), bare(rows=2, tokens=2)
    broken["logits_output"][1, 1, 4] = bad
    first, second = stage().run([good, broken])
    assert not isinstance(first, str)
    assert second == "the model's logits of row 1, token 1 aren't finite numbers"


def test_logits_that_dont_fit():
    request = bare(rows=1, tokens=3)
    narrow = request | {"logits_output": np.zeros((1, 2, len(LABELS)), np.float32)}
    other = request | {"logits_output": np.zeros((1, 3, 4), np.float32)}
    broken = request | {"text": np.array([[b"a\xff"]], object)}
    broken["logits_output"][:, :, 2] = 9
    assert stage().run([narrow, other, broken]) == [
        "the model gives logits of 2 tokens for 3; build it again",
        f"the model gives 4 logits for {len(LABELS)} labels; build it again",
        "a text isn't valid UTF-8: 'utf-8' codec can't decode byte 0xff in position 1: invalid start byte",
    ]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"labels": "[]"}, "labels"),
        ({"labels": "{}"}, "labels"),
        ({"aggregation": "mean"}, "none, simple, first, average, max are known, not 'mean'"),
        ({"ignore_labels": '"O"'}, "ignore_labels"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        stage(**parameters)


def bare(rows: int, tokens: int) -> dict[str, Any]:
    """Rows of the text "abc...", a token a letter, all logits 0."""
    shape = (rows, tokens)
    text = "abcdefgh"[:tokens].encode()
    return {
        "logits_output": np.zeros((*shape, len(LABELS)), np.float32),
        "attention_mask": np.ones(shape, np.int64),
        "sequence": np.zeros(shape, np.int32),
        "offsets": np.tile(np.array([[at, at + 1] for at in range(tokens)], np.int32), (rows, 1, 1)),
        "subword": np.zeros(shape, bool),
        "text": np.array([[text]] * rows, object),
    }
