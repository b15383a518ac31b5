"""Rows of any number, cut into windows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonpack_client import InvalidInputError, ModelLimits, TensorSpec
from tritonpack_client.windows import Windows


def windows(max_batch_size):
    text, embedding = TensorSpec("text", "BYTES", (1,)), TensorSpec("embedding", "FP32", (1,))
    return Windows(ModelLimits("m", max_batch_size, (text,), (embedding,)))


@given(st.lists(st.text(max_size=9), max_size=100), st.integers(1, 4))
def test_every_row_has_its_result_in_its_place(texts, max_batch_size):
    cutter = windows(max_batch_size)
    requests = []
    for text in texts:
        if cutter.add(text):
            requests += cutter.cut()
    requests += cutter.cut()
    assert all(len(batch) <= max_batch_size for _, batch in requests)
    given = [row for columns, batch in requests for row in cutter.results([columns["text"][place] for place in batch])]
    assert [row.decode() for row in given] == texts


def test_a_window_is_full_after_eight_batches():
    cutter = windows(3)
    assert [cutter.add("x") for _ in range(24)] == [False] * 23 + [True]
    assert len([*cutter.cut()]) == 8
    assert [*cutter.cut()] == []


def test_results_come_when_their_window_is_whole():
    cutter = windows(2)
    for text in "abc":
        cutter.add(text)
    batches = [batch for _, batch in cutter.cut()]
    assert cutter.results(batches[0]) == []
    assert cutter.results(batches[1]) == [0, 1, 2]


def test_a_row_is_named_by_its_number_among_all():
    cutter = windows(1)
    for text in "abcdefgh":
        cutter.add(text)
    assert len([*cutter.cut()]) == 8
    cutter.add("fine")
    cutter.add("\ud800")
    with pytest.raises(InvalidInputError, match=r"texts\[9\]"):
        next(cutter.cut())
