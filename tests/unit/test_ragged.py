"""The pure parts of the ONNX Runtime backend: parts, batch inputs, rows."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonpack import server

sys.path.insert(0, str(Path(server.__file__).parent / "backends" / "onnxruntime"))  # as the stub imports it

from ragged import batch_input_value, join_rows, kept_lengths, parts_from_lengths

LENGTHS = st.lists(st.integers(1, 200), min_size=1, max_size=40).map(np.array)


@given(LENGTHS, st.floats(0, 1), st.floats(0, 500))
def test_parts_hold_every_row_once_and_little_padding(lengths, waste, call_cost):
    parts = parts_from_lengths(lengths, waste, call_cost)
    assert sorted(itertools.chain.from_iterable(part.tolist() for part in parts)) == list(range(len(lengths)))
    for part in parts:
        padded = len(part) * lengths[part].max()
        assert padded - lengths[part].sum() <= waste * padded + 1e-9


@given(st.lists(st.integers(1, 60), min_size=1, max_size=7).map(np.array), st.floats(0, 100))
def test_parts_are_the_cheapest_of_all_cuts(lengths, call_cost):
    def cost(parts):
        return sum(call_cost + len(part) * lengths[part].max() for part in parts)

    order = np.argsort(lengths)
    cuts = itertools.chain.from_iterable(
        itertools.combinations(range(1, len(lengths)), count) for count in range(len(lengths))
    )
    best = min(cost(np.split(order, cut)) for cut in cuts)
    assert cost(parts_from_lengths(lengths, 1.0, call_cost)) == pytest.approx(best)


def test_free_calls_never_pad_and_dear_calls_never_split():
    lengths = np.array([3, 90, 3, 7, 90])
    assert [part.tolist() for part in parts_from_lengths(lengths, 1.0, 0.5)] == [[0, 2], [3], [1, 4]]
    assert [part.tolist() for part in parts_from_lengths(lengths, 1.0, 1e6)] == [[0, 2, 3, 1, 4]]
    assert [part.tolist() for part in parts_from_lengths(lengths, 0.25, 1e6)] == [[0, 2], [3], [1, 4]]


@pytest.mark.parametrize(
    ("kind", "shapes", "expected"),
    [
        ("BATCH_ELEMENT_COUNT", [(1, 3), (2, 4)], [3, 8]),
        ("BATCH_ACCUMULATED_ELEMENT_COUNT", [(1, 3), (2, 4)], [3, 11]),
        ("BATCH_ACCUMULATED_ELEMENT_COUNT_WITH_ZERO", [(1, 3), (2, 4)], [0, 3, 11]),
        ("BATCH_MAX_ELEMENT_COUNT_AS_SHAPE", [(1, 3), (2, 4)], [0] * 8),
        ("BATCH_ITEM_SHAPE", [(1, 3), (2, 4)], [[3], [4], [4]]),
        ("BATCH_ITEM_SHAPE", [(1, 3, 5), (2, 4, 6)], [[3, 5], [4, 6], [4, 6]]),
        ("BATCH_ITEM_SHAPE_FLATTEN", [(1, 3, 5), (2, 4, 6)], [3, 5, 4, 6, 4, 6]),
    ],
)
@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_batch_inputs(kind, shapes, expected, dtype):
    value = batch_input_value(kind, shapes, dtype)
    assert value.dtype == dtype
    np.testing.assert_array_equal(value, np.array(expected, dtype))


def test_an_unknown_batch_input_is_named():
    with pytest.raises(ValueError, match="unknown kind of batch_input: BATCH_COLOUR"):
        batch_input_value("BATCH_COLOUR", [(1, 1)], np.int32)


def test_only_padding_at_the_end_of_a_row_is_cut():
    mask = np.array([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 0], [1, 0, 0, 0]])
    assert kept_lengths(mask).tolist() == [4, 3, 1, 1]
    assert kept_lengths(mask[:1]).tolist() == [4]
    assert kept_lengths(np.ones((2, 0), np.int64)).tolist() == [0, 0]


def test_rows_of_different_width_are_filled_up_with_zeros():
    joined = join_rows([np.ones((1, 2, 3)), np.full((1, 1, 3), 2.0)])
    np.testing.assert_array_equal(joined, [[[1, 1, 1], [1, 1, 1]], [[2, 2, 2], [0, 0, 0]]])
    np.testing.assert_array_equal(join_rows([np.array([[1]]), np.array([[2]])]), [[1], [2]])
