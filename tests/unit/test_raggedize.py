from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tritonpack.core.errors import LoweringError
from tritonpack.core.tensors import ShapeRange
from tritonpack.engines import ENGINES
from tritonpack.stages.raggedize import (
    LONGEST_ROW,
    ROW_LENGTH,
    ragged_from_onnx,
    ragged_inputs,
    ragged_profile,
    row_lengths,
)

LENGTH = 12
PADS = {"ids": 7, "mask": 0}


def padded_graph(path, shapes=(("batch", "sequence"), ("batch", "sequence"))):
    """Shows what it was given, and a sum over each row that padding must not change."""
    values = [
        helper.make_tensor_value_info(name, TensorProto.INT64, shape) for name, shape in zip(PADS, shapes, strict=True)
    ]
    shown = [
        helper.make_tensor_value_info(name, TensorProto.INT64, shape)
        for name, shape in (("seen_ids", shapes[0]), ("seen_mask", shapes[1]), ("sums", ("batch",)))
    ]
    nodes = [
        helper.make_node("Identity", ["ids"], ["seen_ids"]),
        helper.make_node("Identity", ["mask"], ["seen_mask"]),
        helper.make_node("Mul", ["ids", "mask"], ["products"]),
        helper.make_node("ReduceSum", ["products", "axis"], ["sums"], keepdims=0),
    ]
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [1])
    graph = helper.make_graph(nodes, "padded", values, shown, [axis])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ragged")
    padded = padded_graph(folder / "padded.onnx")
    fixed = padded_graph(folder / "fixed.onnx", (("batch", LENGTH), ("batch", LENGTH)))
    opened = {"padded": ENGINES.get("onnxruntime").open(padded)}
    for name, source, dynamic in (("dynamic", padded, True), ("static", fixed, False)):
        out = folder / f"{name}.onnx"
        ragged_from_onnx(source, pads=PADS, length=LENGTH, dynamic=dynamic, out=out)
        opened[name] = ENGINES.get("onnxruntime").open(out)
    return opened


def padded(rows, width):
    ids = np.full((len(rows), width), PADS["ids"], np.int64)
    mask = np.zeros((len(rows), width), np.int64)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    return {"ids": ids, "mask": mask}


ROWS = st.lists(st.lists(st.integers(0, 2**40), min_size=1, max_size=LENGTH), min_size=1, max_size=6)


@given(rows=ROWS)
def test_rows_of_any_lengths_are_padded_to_the_longest(sessions, rows):
    width = max(map(len, rows))
    expected = padded(rows, width)
    flat = ragged_inputs(expected, [len(row) for row in rows])
    answer = sessions["dynamic"].run(flat)
    assert np.array_equal(answer["seen_ids"], expected["ids"])
    assert np.array_equal(answer["seen_mask"], expected["mask"])
    assert np.array_equal(answer["sums"], sessions["padded"].run(expected)["sums"])
    assert answer["sums"].tolist() == [sum(row) for row in rows]


@given(rows=ROWS)
def test_a_graph_of_one_length_pads_every_row_to_it(sessions, rows):
    expected = padded(rows, LENGTH)
    answer = sessions["static"].run(ragged_inputs(expected, [len(row) for row in rows]))
    assert np.array_equal(answer["seen_ids"], expected["ids"])
    assert np.array_equal(answer["seen_mask"], expected["mask"])


@given(requests=st.lists(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=LENGTH), min_size=1, max_size=3),
                         min_size=1, max_size=3))  # fmt: skip
def test_requests_of_several_rows_only_widen_the_padding(sessions, requests):
    """Triton counts a request's elements over all its rows, so `longest_row` may exceed every row."""
    sent = [padded(rows, max(map(len, rows))) for rows in requests]
    rows = [row for request in requests for row in request]
    flat = {name: np.concatenate([request[name].ravel() for request in sent]) for name in PADS}
    flat[ROW_LENGTH] = np.array([[request["ids"].shape[1]] for request in sent for _ in request["ids"]], dtype=np.int32)
    flat[LONGEST_ROW] = np.zeros(max(request["ids"].size for request in sent), np.float32)
    answer = sessions["dynamic"].run(flat)
    width = min(LENGTH, max(request["ids"].size for request in sent))
    expected = padded(rows, width)
    assert np.array_equal(answer["seen_ids"], expected["ids"])
    assert np.array_equal(answer["seen_mask"], expected["mask"])
    assert answer["sums"].tolist() == [sum(row) for row in rows]


def test_the_graph_says_what_it_takes(tmp_path):
    source = padded_graph(tmp_path / "a.onnx")
    facts = ragged_from_onnx(source, pads=PADS, length=LENGTH, dynamic=True, out=tmp_path / "b.onnx")
    assert [(spec["name"], spec["dtype"], spec["shape"]) for spec in facts["inputs"]] == [
        ("ids", "int64", ["total"]),
        ("mask", "int64", ["total"]),
        ("row_length", "int32", ["rows", 1]),
        ("longest_row", "float32", ["longest"]),
    ]


def test_the_same_graph_gives_the_same_bytes(tmp_path):
    source = padded_graph(tmp_path / "a.onnx")
    for name in ("b", "c"):
        ragged_from_onnx(source, pads=PADS, length=LENGTH, dynamic=True, out=tmp_path / name)
    assert (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()


@pytest.mark.parametrize("shape", [("batch",), ("batch", "sequence", 3)])
def test_an_input_of_another_rank_is_refused(tmp_path, shape):
    values = [helper.make_tensor_value_info("ids", TensorProto.INT64, shape)]
    shown = [helper.make_tensor_value_info("seen", TensorProto.INT64, shape)]
    graph = helper.make_graph([helper.make_node("Identity", ["ids"], ["seen"])], "g", values, shown)
    onnx.save(helper.make_model(graph), tmp_path / "a.onnx")
    with pytest.raises(LoweringError, match=r"input 'ids' has shape .*only \(batch, sequence\)") as error:
        ragged_from_onnx(tmp_path / "a.onnx", pads=PADS, length=4, dynamic=True, out=tmp_path / "b.onnx")
    assert error.value.context == {"input": "ids"}
    assert not (tmp_path / "b.onnx").exists()


def test_an_input_without_a_pad_value_is_refused(tmp_path):
    with pytest.raises(LoweringError, match="input 'mask'"):
        ragged_from_onnx(
            padded_graph(tmp_path / "a.onnx"), pads={"ids": 0}, length=4, dynamic=True, out=tmp_path / "b.onnx"
        )


@given(mask=st.lists(st.lists(st.integers(0, 1), min_size=5, max_size=5), min_size=1, max_size=4))
def test_a_row_reaches_to_its_last_token(mask):
    expected = [max([index + 1 for index, bit in enumerate(row) if bit], default=1) for row in mask]
    assert row_lengths(np.array(mask)) == expected


def test_what_triton_would_send():
    sent = ragged_inputs({"ids": np.array([[1, 2, 0], [3, 4, 5]])}, [2, 3])
    assert sent["ids"].tolist() == [1, 2, 3, 4, 5]
    assert (sent[ROW_LENGTH].tolist(), sent[ROW_LENGTH].dtype) == ([[2], [3]], np.int32)
    assert (sent[LONGEST_ROW].shape, sent[LONGEST_ROW].dtype) == ((3,), np.float32)


@given(
    max_batch=st.integers(1, 64),
    best_batch=st.integers(1, 64),
    best_length=st.integers(1, 64),
    length=st.integers(1, 64),
)
def test_a_profile_is_in_order_and_reaches_the_fullest_batch(max_batch, best_batch, best_length, length):
    profile = ragged_profile(
        ["ids", "mask"], max_batch=max_batch, best_batch=best_batch, best_length=best_length, length=length
    )
    assert set(profile) == {"ids", "mask", ROW_LENGTH, LONGEST_ROW}
    for allowed in profile.values():
        assert all(a <= b <= c for a, b, c in zip(allowed.least, allowed.best, allowed.greatest, strict=True))
    assert profile["ids"].greatest == profile[LONGEST_ROW].greatest == (max_batch * length,)
    assert profile[ROW_LENGTH] == ShapeRange((1, 1), (min(best_batch, max_batch), 1), (max_batch, 1))
