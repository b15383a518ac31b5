"""Against the algorithm of transformers 4.57's pipeline (5 has none), written out here span by span."""

from __future__ import annotations

import math
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_pipelines import WORDS, byte_level, sentence, unigram, wordpiece

from tritonpack.repository.python_models.question_answering import Stage

TOKENIZERS = {"wordpiece": wordpiece, "unigram": unigram, "byte_level": byte_level}


@cache
def tokenizer_of(kind: str) -> Any:
    return TOKENIZERS[kind]()


def stage(**parameters: Any) -> Stage:
    return Stage(Path(), {name: str(value).lower() for name, value in parameters.items()})


def windows_of(kind: str, question: str, context: str, max_length: int = 48) -> Any:
    return tokenizer_of(kind)(
        question,
        context,
        truncation="only_second",
        max_length=max_length,
        stride=6,
        padding=True,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_tensors="np",
    )


def request_of(encoded: list[Any], contexts: list[str], rng: np.random.Generator, scale: float = 3) -> dict[str, Any]:
    """The stage's inputs with random logits; logits wider than the windows and nan where no token is."""
    counts = [len(one["input_ids"]) for one in encoded]
    width = max(one["input_ids"].shape[1] for one in encoded)
    shape = (sum(counts), width)
    request = {
        "attention_mask": np.zeros(shape, np.int64),
        "sequence": np.full(shape, -1, np.int32),
        "words": np.full(shape, -1, np.int32),
        "offsets": np.zeros((*shape, 2), np.int32),
        "row": np.repeat(np.arange(len(encoded), dtype=np.int32), counts)[:, None],
        "context_of_window": np.array(
            [[contexts[row].encode()] for row, count in enumerate(counts) for _ in range(count)], object
        ),
    }
    places = [(one, window) for one in encoded for window in range(len(one["input_ids"]))]
    for at, (one, window) in enumerate(places):
        tokens = one["input_ids"].shape[1]
        request["attention_mask"][at, :tokens] = one["attention_mask"][window]
        request["offsets"][at, :tokens] = one["offset_mapping"][window]
        for name, values in (("sequence", one.sequence_ids(window)), ("words", one.word_ids(window))):
            request[name][at, :tokens] = [-1 if value is None else value for value in values]
    for name in ("start_output", "end_output"):
        logits = rng.normal(scale=scale, size=(shape[0], width + 2)).astype(np.float32)
        logits[:, :width][request["attention_mask"] == 0] = np.nan
        logits[:, width:] = np.nan
        request[name] = logits
    return request


def answer(made: Stage, request: dict[str, Any]) -> dict[str, np.ndarray]:
    (found,) = made.run([request])
    assert not isinstance(found, str), found
    return found


def rows_of(found: dict[str, np.ndarray]) -> list[list[tuple[Any, ...]]]:
    arrays = (found["answers"], found["scores"], found["starts"], found["ends"])
    return [
        [(text.decode(), score, start, end) for text, score, start, end in zip(*row, strict=True) if start >= 0]
        for row in zip(*arrays, strict=True)
    ]


def probabilities(logits: list[float], allowed: list[bool]) -> list[float]:
    largest = max((value for value, may in zip(logits, allowed, strict=True) if may), default=0)
    powers = [math.exp(value - largest) if may else 0.0 for value, may in zip(logits, allowed, strict=True)]
    return [power / (sum(powers) or 1) for power in powers]


def of_window(request: dict[str, Any], encoding: Any, at: int, longest: int, align: bool) -> tuple[list[Any], float]:
    """Every span of a window with its score and characters, best first; and the score of no answer."""
    tokens = int(request["attention_mask"][at].sum())
    sequence = request["sequence"][at, :tokens].tolist()
    inside = [place == 1 for place in sequence]
    allowed = [may or (token == 0 and sequence[0] == -1) for token, may in enumerate(inside)]
    start, end = (
        probabilities(request[name][at, :tokens].tolist(), allowed) for name in ("start_output", "end_output")
    )
    spans = []
    for first in range(tokens):
        for last in range(first, min(first + longest, tokens)):
            if inside[first] and inside[last]:
                begin, finish = encoding.offsets[first][0], encoding.offsets[last][1]
                if align:
                    begin = encoding.word_to_chars(encoding.token_to_word(first), 1)[0]
                    finish = encoding.word_to_chars(encoding.token_to_word(last), 1)[1]
                spans.append((start[first] * end[last], begin, finish))
    return sorted(spans, key=lambda span: -span[0]), start[0] * end[0] if sequence[0] == -1 else 0.0


def reference(
    request: dict[str, Any], encodings: list[Any], row: int, top_k: int, longest: int, impossible: bool, align: bool
) -> list[tuple[Any, ...]]:
    answers: list[list[Any]] = []
    nothing = math.inf
    for at, encoding in enumerate(encodings):
        if request["row"][at, 0] != row:
            continue
        context = request["context_of_window"][at, 0].decode()
        spans, none_here = of_window(request, encoding, at, longest, align)
        nothing = min(nothing, none_here)
        for score, begin, finish in spans[: 2 * top_k + 10 if align else top_k]:
            text = context[begin:finish]
            for known in answers:
                if known[0].lower() == text.lower():
                    known[1] += score
                    break
            else:
                answers.append([text, score, begin, finish])
    if impossible:
        answers.append(["", nothing, 0, 0])
    answers.sort(key=lambda known: -known[1])
    # Products of float32 probabilities against float64.
    return [(text, pytest.approx(score, rel=2e-5), begin, finish) for text, score, begin, finish in answers[:top_k]]


@pytest.mark.parametrize("kind", TOKENIZERS)
@pytest.mark.parametrize("align", [True, False])
@pytest.mark.parametrize("impossible", [True, False])
def test_answers_the_best_of_all_spans(kind, align, impossible):
    rng = np.random.default_rng(11)
    several = 0
    for turn in range(10):
        top_k, longest = int(rng.integers(1, 7)), int(rng.choice([1, 2, 7, 15, 60]))
        contexts = [sentence(rng, 1, [6, 40][turn % 2]) for _ in range(3)]
        encoded = [windows_of(kind, sentence(rng, 1, 2), context) for context in contexts]
        request = request_of(encoded, contexts, rng, scale=[1, 4][turn % 2])
        encodings = [encoding for one in encoded for encoding in one.encodings]
        several += len(encodings) > len(encoded)
        made = stage(top_k=top_k, max_answer_length=longest, handle_impossible=impossible, align_to_words=align)
        found = rows_of(answer(made, request))
        for row in range(3):
            assert found[row] == reference(request, encodings, row, top_k, longest, impossible, align)
    assert several


def test_defaults():
    context = "the cat sat. deploying, a.b.c " * 3
    rng = np.random.default_rng(0)
    request = request_of([windows_of("wordpiece", "the cat?", context)], [context], rng)
    explicit = stage(top_k=1, max_answer_length=15, handle_impossible=False, align_to_words=True)
    assert rows_of(answer(stage(), request)) == rows_of(answer(explicit, request))


@settings(max_examples=60, deadline=None)
@given(
    context=st.lists(st.sampled_from(WORDS) | st.text(max_size=5), max_size=25).map(" ".join),
    kind=st.sampled_from(list(TOKENIZERS)),
    top_k=st.integers(1, 5),
    align=st.booleans(),
    impossible=st.booleans(),
    scale=st.sampled_from([0.0, 2.0, 100.0]),
    seed=st.integers(0, 2**32 - 1),
)
def test_answers_are_slices_of_the_context_best_first(context, kind, top_k, align, impossible, scale, seed):
    request = request_of([windows_of(kind, "the cat", context)], [context], np.random.default_rng(seed), scale)
    found = answer(stage(top_k=top_k, align_to_words=align, handle_impossible=impossible), request)
    (answers,) = rows_of(found)
    assert bool(answers) == bool((request["sequence"] == 1).any() or impossible)
    for text, score, start, end in answers:
        assert text == context[start:end]
        assert score >= 0
    assert found["scores"][0].tolist() == sorted(found["scores"][0].tolist(), reverse=True)
    # "No answer" may stand beside an empty slice of the context.
    assert len({text.lower() for text, *_ in answers if text}) == sum(1 for text, *_ in answers if text)


def by_hand(context: str, start: list[float], end: list[float], **changes: Any) -> dict[str, Any]:
    """[CLS] q [SEP] and a token for each letter of the context."""
    tokens = 3 + len(context)
    return {
        "start_output": np.array([start], np.float32),
        "end_output": np.array([end], np.float32),
        "attention_mask": np.ones((1, tokens), np.int64),
        "sequence": np.array([[-1, 0, -1, *([1] * len(context))]], np.int32),
        "words": np.array([[-1, 0, -1, *range(len(context))]], np.int32),
        "offsets": np.array([[[0, 0], [0, 1], [0, 0], *([at, at + 1] for at in range(len(context)))]], np.int32),
        "row": np.zeros((1, 1), np.int32),
        "context_of_window": np.array([[context.encode()]], object),
    } | changes


def test_by_hand():
    """Of e, f, g the start is f, after which g and the forbidden question and [SEP] would be likelier ends."""
    request = by_hand("efg", [0, 99, 99, -99, 1, -99], [0, 99, 99, 5, 1, -99])
    found = answer(stage(top_k=3, handle_impossible=True), request)
    half = math.e / (1 + math.e)  # start at f; the rest of it is at [CLS]
    total = 1 + math.exp(5) + math.e
    assert rows_of(found)[0][:2] == [
        ("f", pytest.approx(half * math.e / total, rel=1e-5), 1, 2),
        ("", pytest.approx((1 - half) / total, rel=1e-5), 0, 0),
    ]


def test_a_likely_no_answer_comes_first():
    request = by_hand("efg", [9, 0, 0, 1, 0, 0], [9, 0, 0, 0, 1, 0])
    assert rows_of(answer(stage(handle_impossible=True), request))[0][0][0] == ""
    assert rows_of(answer(stage(), request))[0][0][0] == "ef"


def test_an_answer_under_a_crushing_no_answer_is_still_one():
    request = by_hand("efg", [300, 0, 0, 0, 1, 0], [300, 0, 0, 0, 0, 1])
    found = answer(stage(top_k=2), request)
    assert (found["scores"] == 0).all()
    assert (found["starts"] >= 0).all()


def test_dtypes_shapes_and_padding():
    found = answer(stage(top_k=5), by_hand("ef", [0] * 5, [0] * 5))
    assert {name: (array.dtype.name, array.shape) for name, array in found.items()} == {
        "answers": ("object", (1, 5)),
        "scores": ("float32", (1, 5)),
        "starts": ("int32", (1, 5)),
        "ends": ("int32", (1, 5)),
    }
    assert found["answers"].tolist() == [[b"e", b"ef", b"f", b"", b""]]
    assert found["starts"].tolist() == [[0, 0, 1, -1, -1]]
    assert found["ends"].tolist() == [[1, 2, 2, -1, -1]]
    assert found["scores"].tolist() == [[pytest.approx(1 / 9)] * 3 + [0, 0]]


def test_equal_answers_of_several_windows_are_one():
    one = by_hand("efE", [-99, 0, 0, 3, 0, 0], [-99, 0, 0, 3, 0, 0])
    both = {name: np.concatenate([array, array]) for name, array in one.items()}
    (text, score, start, end), *_ = rows_of(answer(stage(), both))[0]
    ((_, of_one, *_),) = rows_of(answer(stage(), one))[0][:1]
    assert (text, start, end) == ("e", 0, 1)
    assert score == pytest.approx(2 * of_one)


@pytest.mark.parametrize("impossible", [True, False])
def test_a_context_without_tokens(impossible):
    found = answer(stage(handle_impossible=impossible), by_hand("", [1, 2, 3], [3, 2, 1]))
    assert rows_of(found) == ([[("", 1.0, 0, 0)]] if impossible else [[]])


def test_a_first_token_that_isnt_special_takes_no_part():
    request = by_hand("ef", [50, 0, 0, 1, 1], [50, 0, 0, 1, 1], sequence=np.array([[0, 0, -1, 1, 1]], np.int32))
    found = rows_of(answer(stage(top_k=4, handle_impossible=True), request))[0]
    assert [(text, score) for text, score, *_ in found] == [
        ("e", 0.25),
        ("ef", 0.25),
        ("f", 0.25),
        ("", 0),
    ]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["start_output", "end_output"])
def test_what_isnt_a_number_fails_its_own_request_in_words(bad, name):
    good, broken = (by_hand("ef", [0] * 5, [0] * 5) for _ in range(2))
    broken[name][0, 1] = bad
    first, second = stage().run([good, broken])
    assert not isinstance(first, str)
    assert second == "the model's logits of row 0 aren't finite numbers"


def test_inputs_that_dont_fit():
    narrow = by_hand("ef", [0] * 5, [0] * 4)
    wordless = by_hand("ef", [0] * 5, [0] * 5)
    del wordless["words"]
    broken = by_hand("ef", [0] * 5, [0] * 5, context_of_window=np.array([[b"\xff"]], object))
    assert stage().run([narrow, wordless, broken]) == [
        "the model gives end_output of 4 tokens for 5; build it again",
        "answers aligned to words want the input 'words'; build the model again",
        "a context isn't valid UTF-8: 'utf-8' codec can't decode byte 0xff in position 0: invalid start byte",
    ]
    assert not isinstance(stage(align_to_words=False).run([wordless])[0], str)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"top_k": 0}, "top_k, max_answer_length: at least 1"),
        ({"max_answer_length": 0}, "top_k, max_answer_length: at least 1"),
        ({"handle_impossible": "yes"}, "handle_impossible: true or false is wanted, not 'yes'"),
        ({"align_to_words": 1}, "align_to_words: true or false is wanted, not '1'"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        stage(**parameters)
