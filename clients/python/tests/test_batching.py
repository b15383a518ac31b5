"""Rows become requests, grouped by length, and their results go back where they stood: pure functions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonpack_client import InputTypeError, InvalidInputError, ModelLimits, TensorSpec
from tritonpack_client.batching import (
    batches_of_columns,
    check_rows,
    columns_from_rows,
    contents_from_rows,
    count_rows,
    in_order,
    plan_batches,
)
from tritonpack_client.tensors import items_from_content

EMBEDDING = TensorSpec("embedding", "FP32", (8,))


def taking(*names):
    kinds = {"waveform": ("FP32", (-1,))}
    inputs = tuple(TensorSpec(name, *kinds.get(name, ("BYTES", (1,)))) for name in names)
    return ModelLimits("m", 4, inputs, (EMBEDDING,))


TEXT, SOUND = taking("text"), taking("waveform")


@given(st.lists(st.integers(0, 500)), st.integers(1, 40))
def test_every_row_is_in_one_batch_and_no_batch_is_too_large(lengths, maximum):
    batches = plan_batches(lengths, maximum)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= maximum for batch in batches)


@given(st.lists(st.integers(0, 500), min_size=1), st.integers(1, 40))
def test_no_row_of_a_later_batch_is_longer(lengths, maximum):
    batches = plan_batches(lengths, maximum)
    shortest = [min(lengths[index] for index in batch) for batch in batches]
    longest = [max(lengths[index] for index in batch) for batch in batches]
    assert all(before >= after for before, after in zip(shortest, longest[1:], strict=False))


@given(st.lists(st.integers(0, 50)), st.integers(1, 7))
def test_results_come_back_where_their_rows_stood(lengths, maximum):
    batches = plan_batches(lengths, maximum)
    assert in_order(batches, [[(index, lengths[index]) for index in batch] for batch in batches]) == [
        *enumerate(lengths)
    ]


@given(st.lists(st.text()))
def test_a_text_is_sent_as_its_own_bytes(texts):
    columns = columns_from_rows(TEXT, iter(texts))
    assert count_rows(columns) == len(texts)
    (content,) = contents_from_rows(TEXT, columns, range(len(texts)))
    assert content.shape == (len(texts), 1)
    assert [item.decode() for item in items_from_content(content.data)] == texts


@given(st.lists(st.text(max_size=30), min_size=1), st.integers(1, 5))
def test_a_batch_holds_its_own_rows(texts, maximum):
    columns = columns_from_rows(TEXT, texts)
    batches = batches_of_columns(columns, maximum)
    sent = [
        [item.decode() for item in items_from_content(contents_from_rows(TEXT, columns, batch)[0].data)]
        for batch in batches
    ]
    assert in_order(batches, sent) == texts


@pytest.mark.parametrize("names", [("text", "text_pair"), ("text_pair", "text")])
def test_pairs_are_dealt_out_by_name_whatever_the_order_of_the_inputs(names):
    columns = columns_from_rows(taking(*names), [("a", "b"), ["c", "d"]])
    assert columns == {"text": [b"a", b"c"], "text_pair": [b"b", b"d"]}


@pytest.mark.parametrize("names", [("question", "context"), ("context", "question")])
def test_questions_come_before_their_contexts(names):
    assert columns_from_rows(taking(*names), [("q", "c")]) == {"question": [b"q"], "context": [b"c"]}


def test_pairs_are_grouped_by_both_lengths():
    columns = columns_from_rows(taking("text", "text_pair"), [("a", "b"), ("a" * 9, "b"), ("a", "b" * 10), ("", "")])
    assert batches_of_columns(columns, 2) == [[2, 1], [0, 3]]


@pytest.mark.parametrize("wrong", ["ab", ("a",), ("a", "b", "c"), None, 3])
def test_a_row_of_a_model_of_two_texts_is_a_pair(wrong):
    with pytest.raises(InputTypeError, match=r"row 1 is .*not a pair"):
        columns_from_rows(taking("text", "text_pair"), [("a", "b"), wrong])


def test_sounds_of_one_length_share_a_request():
    rows = [np.zeros(3), [1.0, 2.0], np.ones(3, np.float32), np.zeros(3)]
    columns = columns_from_rows(SOUND, rows)
    batches = batches_of_columns(columns, 2)
    assert batches == [[0, 2], [3], [1]]
    contents = [contents_from_rows(SOUND, columns, batch)[0] for batch in batches]
    assert [content.shape for content in contents] == [(2, 3), (1, 3), (1, 2)]
    assert [bytes(content.data) for content in contents[1:]] == [
        np.asarray(rows[place], "<f4").tobytes() for place in (3, 1)
    ]


@pytest.mark.parametrize("wrong", ["text", None, object(), [[1.0], [1.0, 2.0]], b"x", 1j])
def test_a_sound_is_numbers(wrong):
    with pytest.raises(InvalidInputError, match="row 0"):
        columns_from_rows(SOUND, [wrong])


@pytest.mark.parametrize("wrong", [np.zeros((2, 2)), 1.0, []])
def test_a_sound_has_one_dimension_and_a_sample(wrong):
    with pytest.raises(InvalidInputError, match="row 0 has shape"):
        columns_from_rows(SOUND, [wrong])


def test_a_lone_surrogate_is_named_by_its_index():
    with pytest.raises(InvalidInputError, match=r"texts\[1\].*surrogate '\\udc80' at character 2"):
        columns_from_rows(TEXT, ["fine", "ab\udc80"])


def test_rows_are_counted_from_the_first():
    with pytest.raises(InputTypeError, match=r"texts\[12\] is int"):
        columns_from_rows(TEXT, ["fine", "fine", 1], 10)


@pytest.mark.parametrize("one", ["abc", "", b"abc"])
def test_one_text_is_not_a_list_of_texts(one):
    with pytest.raises(TypeError, match=r"one (str|bytes), not a list"):
        check_rows(one)


@pytest.mark.parametrize("wrong", [None, 3, object(), np.array("text")])
def test_rows_can_be_iterated_over(wrong):
    with pytest.raises(InputTypeError, match="not an iterable of rows"):
        columns_from_rows(TEXT, wrong)


@pytest.mark.parametrize("wrong", [None, b"bytes", 3, float("nan"), ["nested"]])
def test_only_strings_are_texts(wrong):
    with pytest.raises(InputTypeError, match=r"texts\[1\] is"):
        columns_from_rows(TEXT, ["fine", wrong])


@pytest.mark.parametrize("rows", [("a", "é"), {"a": 1, "é": 2}, np.array(["a", "é"]), (text for text in "aé")])
def test_any_iterable_will_do(rows):
    assert columns_from_rows(TEXT, rows) == {"text": [b"a", "é".encode()]}
