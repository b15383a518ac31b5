"""Requests as graph inputs, through the served code."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonpack.core.errors import SourceError
from tritonpack.core.model import RaggedAxis
from tritonpack.stages.rows import graph_tensors, joined, row_length, rows_of, total_length

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_bert import vocabulary, write_tokenizer

AXIS = RaggedAxis("sequence", "attention_mask", {"input_ids": 9, "attention_mask": 0}, 12)
TEXT = {"texts": "text", "outputs": "input_ids,attention_mask", "max_length": "12", "pad_id": "9"}
SOUND = {"outputs": "input_values,attention_mask", "max_length": "8", "least": "3"}


def texts(*lines):
    return [{"text": np.array([[line.encode()]], dtype=object)} for line in lines]


def rows_from_requests(*arguments, **options):
    return [row for tensors in graph_tensors(*arguments, **options) for row in rows_of(tensors)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def test_a_text_becomes_a_row_of_its_own_length(tokenizer):
    rows = rows_from_requests(texts("the cat", "cat"), tokenizer, file="text", parameters=TEXT)
    the, cat = vocabulary().index("the"), vocabulary().index("cat")
    assert [row["input_ids"].tolist() for row in rows] == [[[2, the, cat, 3]], [[2, cat, 3]]]
    assert [row["attention_mask"].tolist() for row in rows] == [[[1] * 4], [[1] * 3]]


def test_a_text_of_many_windows_becomes_as_many_rows(tokenizer):
    parameters = {
        **TEXT, "texts": "question,context", "outputs": "input_ids,attention_mask,row", "stride": "2",
        "truncation": "only_second", "max_windows": "9",
    }  # fmt: skip
    request = {
        "question": np.array([[b"the cat"]], dtype=object),
        "context": np.array([[b"dog ran " * 8]], dtype=object),
    }
    rows = rows_from_requests([request], tokenizer, file="text", parameters=parameters)
    assert len(rows) > 2
    assert all(row["row"].tolist() == [[0]] and row["input_ids"].shape == (1, 12) for row in rows[:-1])


def test_a_request_that_the_stage_refuses_is_named(tokenizer):
    requests = [*texts("the"), {"text": np.array([[b"\xff"]], dtype=object)}]
    with pytest.raises(SourceError, match=r"^request 1: text in row 0 isn't valid UTF-8"):
        rows_from_requests(requests, tokenizer, file="text", parameters=TEXT)


def test_parameters_that_dont_fit_the_tokenizer_are_a_source_error(tokenizer):
    with pytest.raises(SourceError, match="the tokenizer doesn't fit the recipe: max_length 2 leaves no room"):
        rows_from_requests(texts("the"), tokenizer, file="text", parameters={**TEXT, "max_length": "2"})


def test_sounds_need_no_tokenizer():
    requests = [{"waveform": np.arange(length, dtype=np.float32)[None]} for length in (3, 20)]
    rows = rows_from_requests(requests, None, file="waveform", parameters=SOUND)
    assert [row["input_values"].tolist() for row in rows] == [[[0, 1, 2]], [[0, 1, 2, 3, 4, 5, 6, 7]]]


@given(mask=st.lists(st.integers(0, 1), min_size=1, max_size=6))
def test_a_row_reaches_to_its_last_token(mask):
    expected = max([index + 1 for index, bit in enumerate(mask) if bit], default=1)
    assert row_length({"attention_mask": np.array([mask])}, AXIS) == expected


def row(*ids, padding=0, **others):
    mask = [1] * len(ids) + [0] * padding
    return {"input_ids": np.array([[*ids, *[0] * padding]]), "attention_mask": np.array([mask]), **others}


def test_rows_are_joined_to_the_longest_and_filled_with_the_axis_own_value():
    inputs, lengths = joined([row(1, 2, 3), row(4, padding=7)], [AXIS])
    assert inputs["input_ids"].tolist() == [[1, 2, 3], [4, 9, 9]]
    assert inputs["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert lengths["sequence"].tolist() == [3, 1]


def test_a_graph_of_one_length_gets_it():
    inputs, lengths = joined([row(1, 2)], [replace(AXIS, dynamic=False, longest=5)])
    assert inputs["input_ids"].tolist() == [[1, 2, 9, 9, 9]]
    assert lengths["sequence"].tolist() == [2]


def test_each_axis_has_lengths_of_its_own_and_inputs_of_one_shape_are_joined_as_they_are():
    other = RaggedAxis("samples", "heard", {"sound": 0.5, "heard": 0}, 9)
    rows = [
        row(1, 2, sound=np.array([[1.0]], np.float32), heard=np.array([[1]]), tone=np.array([[7]])),
        row(3, sound=np.array([[2.0, 3.0]], np.float32), heard=np.array([[1, 1]]), tone=np.array([[8]])),
    ]
    inputs, lengths = joined(rows, [AXIS, other])
    assert inputs["input_ids"].tolist() == [[1, 2], [3, 9]]
    assert (inputs["sound"].tolist(), inputs["sound"].dtype) == ([[1.0, 0.5], [2.0, 3.0]], np.float32)
    assert inputs["tone"].tolist() == [[7], [8]]
    assert {name: length.tolist() for name, length in lengths.items()} == {"sequence": [2, 1], "samples": [1, 2]}
    assert [total_length(one, [AXIS, other]) for one in rows] == [3, 3]
