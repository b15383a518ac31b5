"""The pure parts of the ONNX Runtime backend: batch inputs, rows."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from tritonpack import server

sys.path.insert(0, str(Path(server.__file__).parent / "backends" / "onnxruntime"))  # as the stub imports it

from ragged import batch_input_value, join_rows, kept_lengths


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
