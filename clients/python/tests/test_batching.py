"""Splitting, grouping by length and putting back in order: pure functions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonpack_client import InputTypeError, InvalidInputError, ModelLimits, TensorSpec
from tritonpack_client.batching import bytes_tensor, encode_texts, plan_batches, rows_in_order, text_tensor
from tritonpack_client.limits import embedding_width


@given(st.lists(st.integers(0, 500)), st.integers(1, 40))
def test_every_text_is_in_one_batch_and_no_batch_is_too_large(lengths, maximum):
    batches = plan_batches(lengths, maximum)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= maximum for batch in batches)


@given(st.lists(st.integers(0, 500), min_size=1), st.integers(1, 40))
def test_no_text_of_a_later_batch_is_longer(lengths, maximum):
    batches = plan_batches(lengths, maximum)
    shortest = [min(lengths[index] for index in batch) for batch in batches]
    longest = [max(lengths[index] for index in batch) for batch in batches]
    assert all(before >= after for before, after in zip(shortest, longest[1:], strict=False))


@given(st.lists(st.integers(0, 50)), st.integers(1, 7))
def test_rows_come_back_where_their_texts_stood(lengths, maximum):
    batches = plan_batches(lengths, maximum)
    answers = [np.array([[index, lengths[index]] for index in batch], dtype=np.float32) for batch in batches]
    rows = rows_in_order(batches, answers, len(lengths), 2)
    assert rows.shape == (len(lengths), 2)
    assert rows.tolist() == [[float(index), float(length)] for index, length in enumerate(lengths)]


def test_no_texts_give_no_rows_of_the_right_width():
    assert rows_in_order([], [], 0, 384).shape == (0, 384)
    assert rows_in_order([], [], 0, -1).shape == (0, 0)


@given(st.lists(st.text()))
def test_a_text_is_sent_as_its_own_bytes(texts):
    tensor = text_tensor(encode_texts(texts))
    assert tensor.shape == (len(texts), 1)
    assert [item.decode() for item in tensor[:, 0]] == texts


def test_a_lone_surrogate_is_named_by_its_index():
    with pytest.raises(InvalidInputError, match=r"texts\[1\].*surrogate '\\udc80' at character 2"):
        encode_texts(["fine", "ab\udc80"])


def test_one_string_is_not_a_list_of_texts():
    with pytest.raises(TypeError, match="one str, not a list"):
        encode_texts("abc")


@pytest.mark.parametrize("wrong", [None, b"bytes", 3, float("nan"), ["nested"]])
def test_only_strings_are_texts(wrong):
    with pytest.raises(InputTypeError, match=r"texts\[1\] is"):
        encode_texts(["fine", wrong])


def test_a_generator_is_as_good_as_a_list():
    assert encode_texts(text for text in ("a", "é")) == [b"a", "é".encode()]


@pytest.mark.parametrize("array", [np.array([["a", "é"]]), np.array([["a", b"\xc3\xa9"]], dtype=object)])
def test_arrays_of_text_become_bytes(array):
    assert bytes_tensor("text", array).tolist() == [[b"a", "é".encode()]]


def test_an_object_array_takes_texts_only():
    with pytest.raises(InputTypeError, match="input 'text' holds int"):
        bytes_tensor("text", np.array([["a", 1]], dtype=object))


TEXT = TensorSpec("text", "BYTES", (1,))
EMBEDDING = TensorSpec("embedding", "FP32", (384,))


def test_the_width_of_an_embedding_model_is_in_its_configuration():
    assert embedding_width(ModelLimits("minilm", 32, (TEXT,), (EMBEDDING,))) == 384


@pytest.mark.parametrize(
    "limits",
    [
        ModelLimits("m", 32, (), (EMBEDDING,)),
        ModelLimits("m", 32, (TEXT, TensorSpec("other", "FP32", (1,))), (EMBEDDING,)),
        ModelLimits("m", 32, (TEXT,), (TensorSpec("logits", "FP32", (2,)),)),
        ModelLimits("m", 0, (TEXT,), (EMBEDDING,)),
    ],
)
def test_other_models_do_not_embed(limits):
    with pytest.raises(InvalidInputError, match="doesn't turn texts into embeddings"):
        embedding_width(limits)
