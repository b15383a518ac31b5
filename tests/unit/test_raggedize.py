from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from tritonpack.core.errors import LoweringError
from tritonpack.core.model import RaggedAxis
from tritonpack.core.tensors import ShapeRange, TensorSpec
from tritonpack.engines import ENGINES
from tritonpack.stages.raggedize import ragged_from_onnx, ragged_inputs, ragged_profile

LENGTH = 12
PADS = {"ids": 7, "mask": 0}
AXIS = RaggedAxis("sequence", "mask", PADS, LENGTH)


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
    for name, source, axis in (("dynamic", padded, AXIS), ("static", fixed, replace(AXIS, dynamic=False))):
        out = folder / f"{name}.onnx"
        ragged_from_onnx(source, axes=[axis], out=out)
        opened[name] = ENGINES.get("onnxruntime").open(out)
    return opened


def sent(rows, width):
    """Each row as a request of its own."""
    return ragged_inputs(padded(rows, width), [AXIS], {"sequence": [len(row) for row in rows]})


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
    answer = sessions["dynamic"].run(sent(rows, width))
    assert np.array_equal(answer["seen_ids"], expected["ids"])
    assert np.array_equal(answer["seen_mask"], expected["mask"])
    assert np.array_equal(answer["sums"], sessions["padded"].run(expected)["sums"])
    assert answer["sums"].tolist() == [sum(row) for row in rows]


@given(rows=ROWS)
def test_a_graph_of_one_length_pads_every_row_to_it(sessions, rows):
    expected = padded(rows, LENGTH)
    answer = sessions["static"].run(sent(rows, LENGTH))
    assert np.array_equal(answer["seen_ids"], expected["ids"])
    assert np.array_equal(answer["seen_mask"], expected["mask"])


@given(requests=st.lists(st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=LENGTH), min_size=1, max_size=3),
                         min_size=1, max_size=3))  # fmt: skip
def test_requests_of_several_rows_only_widen_the_padding(sessions, requests):
    """Triton counts a request's elements over all its rows, so `longest_sequence` may exceed every row."""
    batches = [padded(rows, max(map(len, rows))) for rows in requests]
    rows = [row for request in requests for row in request]
    flat = {name: np.concatenate([batch[name].ravel() for batch in batches]) for name in PADS}
    flat["sequence_length"] = np.array([[batch["ids"].shape[1]] for batch in batches for _ in batch["ids"]], np.int32)
    flat["longest_sequence"] = np.zeros(max(batch["ids"].size for batch in batches), np.float32)
    answer = sessions["dynamic"].run(flat)
    width = min(LENGTH, max(batch["ids"].size for batch in batches))
    expected = padded(rows, width)
    assert np.array_equal(answer["seen_ids"], expected["ids"])
    assert np.array_equal(answer["seen_mask"], expected["mask"])
    assert answer["sums"].tolist() == [sum(row) for row in rows]


def test_the_graph_says_what_it_takes(tmp_path):
    source = padded_graph(tmp_path / "a.onnx")
    facts = ragged_from_onnx(source, axes=[AXIS], out=tmp_path / "b.onnx")
    assert [(spec["name"], spec["dtype"], spec["shape"]) for spec in facts["inputs"]] == [
        ("ids", "int64", ["total_sequence"]),
        ("mask", "int64", ["total_sequence"]),
        ("sequence_length", "int32", ["rows", 1]),
        ("longest_sequence", "float32", ["most_sequence"]),
    ]


def test_the_same_graph_gives_the_same_bytes(tmp_path):
    source = padded_graph(tmp_path / "a.onnx")
    for name in ("b", "c"):
        ragged_from_onnx(source, axes=[AXIS], out=tmp_path / name)
    assert (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()


@pytest.mark.parametrize("shape", [("batch",), ("batch", "sequence", 3)])
def test_an_input_of_another_rank_is_refused(tmp_path, shape):
    values = [helper.make_tensor_value_info("ids", TensorProto.INT64, shape)]
    shown = [helper.make_tensor_value_info("seen", TensorProto.INT64, shape)]
    graph = helper.make_graph([helper.make_node("Identity", ["ids"], ["seen"])], "g", values, shown)
    onnx.save(helper.make_model(graph), tmp_path / "a.onnx")
    with pytest.raises(LoweringError, match=r"'ids' has shape .*only \(batch, length\) inputs") as error:
        ragged_from_onnx(tmp_path / "a.onnx", axes=[AXIS], out=tmp_path / "b.onnx")
    assert error.value.context == {"input": "ids"}
    assert not (tmp_path / "b.onnx").exists()


def test_an_input_that_the_graph_lacks_is_named(tmp_path):
    axis = replace(AXIS, pads={**PADS, "types": 0})
    with pytest.raises(LoweringError, match="'types' isn't an input of the graph") as error:
        ragged_from_onnx(padded_graph(tmp_path / "a.onnx"), axes=[axis], out=tmp_path / "b.onnx")
    assert error.value.context == {"input": "types"}


def test_an_input_of_any_length_without_a_pad_value_is_refused(tmp_path):
    """It would reach the graph as it is, beside rows that were padded."""
    axis = replace(AXIS, pads={"ids": 0})
    with pytest.raises(LoweringError, match=r"'mask' has shape \('batch', 'sequence'\), but no axis") as error:
        ragged_from_onnx(padded_graph(tmp_path / "a.onnx"), axes=[axis], out=tmp_path / "b.onnx")
    assert error.value.context == {"input": "mask"}


def test_what_triton_would_send():
    flat = ragged_inputs({"ids": np.array([[1, 2, 0], [3, 4, 5]]), "mask": np.array([[1, 1, 0], [1, 1, 1]])},
                         [AXIS], {"sequence": np.array([2, 3])})  # fmt: skip
    assert flat["ids"].tolist() == [1, 2, 3, 4, 5]
    assert flat["mask"].tolist() == [1] * 5
    assert (flat["sequence_length"].tolist(), flat["sequence_length"].dtype) == ([[2], [3]], np.int32)
    assert (flat["longest_sequence"].shape, flat["longest_sequence"].dtype) == ((3,), np.float32)


LEFT = RaggedAxis("left", "left_mask", {"left_ids": 7, "left_mask": 0}, LENGTH)
RIGHT = RaggedAxis("right", "right_mask", {"right_ids": 9, "right_mask": 0}, 5)
TONE = np.array([[0.5, -2.0, 3.0]], np.float32)


def two_axes_graph(path):
    """Shows both sides' ids, the sum of the left one's minus the right one's, and an input of one shape."""
    values = [
        helper.make_tensor_value_info(f"{axis.name}_{name}", TensorProto.INT64, ("batch", axis.name))
        for axis in (LEFT, RIGHT)
        for name in ("ids", "mask")
    ]
    values.insert(2, helper.make_tensor_value_info("tone", TensorProto.FLOAT, ("batch", 3)))
    shown = [
        helper.make_tensor_value_info(f"seen_{side}", TensorProto.INT64, ("batch", side)) for side in ("left", "right")
    ]
    shown.append(helper.make_tensor_value_info("difference", TensorProto.INT64, ("batch",)))
    shown.append(helper.make_tensor_value_info("seen_tone", TensorProto.FLOAT, ("batch", 3)))
    nodes = [helper.make_node("Identity", ["tone"], ["seen_tone"])]
    for side in ("left", "right"):
        nodes += [
            helper.make_node("Identity", [f"{side}_ids"], [f"seen_{side}"]),
            helper.make_node("Mul", [f"{side}_ids", f"{side}_mask"], [f"{side}_real"]),
            helper.make_node("ReduceSum", [f"{side}_real", "axis"], [f"{side}_sum"], keepdims=0),
        ]
    nodes.append(helper.make_node("Sub", ["left_sum", "right_sum"], ["difference"]))
    axis = helper.make_tensor("axis", TensorProto.INT64, [1], [1])
    graph = helper.make_graph(nodes, "two", values, shown, [axis])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


@pytest.fixture(scope="module")
def two_axes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    facts = ragged_from_onnx(two_axes_graph(folder / "a.onnx"), axes=[LEFT, RIGHT], out=folder / "b.onnx")
    return facts, ENGINES.get("onnxruntime").open(folder / "b.onnx")


def filled(rows, fill):
    width = max(map(len, rows))
    return np.array([[*row, *[fill] * (width - len(row))] for row in rows], np.int64)


SIDES = st.lists(
    st.tuples(st.lists(st.integers(0, 99), min_size=1, max_size=LENGTH),
              st.lists(st.integers(0, 99), min_size=1, max_size=5)),
    min_size=1, max_size=5,
)  # fmt: skip


@given(rows=SIDES)
def test_each_axis_is_padded_by_its_own_lengths(two_axes, rows):
    left, right = ([list(row) for row in side] for side in zip(*rows, strict=True))
    tone = np.repeat(TONE, len(rows), axis=0) + np.arange(len(rows), dtype=np.float32)[:, None]
    batch = {"tone": tone}
    for axis, side in ((LEFT, left), (RIGHT, right)):
        batch[f"{axis.name}_ids"] = filled(side, 77)  # what stands at the padding stays away
        batch[f"{axis.name}_mask"] = filled([[1] * len(row) for row in side], 0)
    lengths = {"left": [len(row) for row in left], "right": [len(row) for row in right]}
    answer = two_axes[1].run(ragged_inputs(batch, [LEFT, RIGHT], lengths))
    assert np.array_equal(answer["seen_left"], filled(left, 7))
    assert np.array_equal(answer["seen_right"], filled(right, 9))
    assert answer["difference"].tolist() == [sum(a) - sum(b) for a, b in zip(left, right, strict=True)]
    assert np.array_equal(answer["seen_tone"], tone)


def test_two_axes_and_a_fixed_input_are_told(two_axes):
    assert [(spec["name"], spec["dtype"], spec["shape"]) for spec in two_axes[0]["inputs"]] == [
        ("left_ids", "int64", ["total_left"]),
        ("left_mask", "int64", ["total_left"]),
        ("tone", "float32", ["batch", 3]),
        ("right_ids", "int64", ["total_right"]),
        ("right_mask", "int64", ["total_right"]),
        ("left_length", "int32", ["rows", 1]),
        ("longest_left", "float32", ["most_left"]),
        ("right_length", "int32", ["rows", 1]),
        ("longest_right", "float32", ["most_right"]),
    ]


IDS = [TensorSpec(name, "int64", ("batch", "sequence")) for name in PADS]


@given(
    max_batch=st.integers(1, 64),
    best_batch=st.integers(1, 64),
    best_length=st.integers(1, 64),
    length=st.integers(1, 64),
    least=st.integers(1, 64),
)
def test_a_profile_is_in_order_and_reaches_the_fullest_batch(max_batch, best_batch, best_length, length, least):
    axis = replace(AXIS, longest=length, least=min(least, length))
    profile = ragged_profile(IDS, [axis], max_batch=max_batch, best_batch=best_batch, best_length=best_length)
    assert set(profile) == {"ids", "mask", "sequence_length", "longest_sequence"}
    for allowed in profile.values():
        assert all(a <= b <= c for a, b, c in zip(allowed.least, allowed.best, allowed.greatest, strict=True))
    assert profile["ids"].greatest == profile["longest_sequence"].greatest == (max_batch * length,)
    assert profile["ids"].least == profile["longest_sequence"].least == (axis.least,)
    assert profile["sequence_length"] == ShapeRange((1, 1), (min(best_batch, max_batch), 1), (max_batch, 1))


def test_a_profile_of_two_axes_and_a_fixed_input():
    inputs = [*(TensorSpec(name, "int64", ("batch", "any")) for axis in (LEFT, RIGHT) for name in axis.pads),
              TensorSpec("tone", "float32", ("batch", 3))]  # fmt: skip
    profile = ragged_profile(inputs, [LEFT, RIGHT], max_batch=8, best_batch=2, best_length=6)
    assert profile == {
        "tone": ShapeRange((1, 3), (2, 3), (8, 3)),
        "left_ids": ShapeRange((1,), (12,), (96,)),
        "left_mask": ShapeRange((1,), (12,), (96,)),
        "left_length": ShapeRange((1, 1), (2, 1), (8, 1)),
        "longest_left": ShapeRange((1,), (6,), (96,)),
        "right_ids": ShapeRange((1,), (10,), (40,)),
        "right_mask": ShapeRange((1,), (10,), (40,)),
        "right_length": ShapeRange((1, 1), (2, 1), (8, 1)),
        "longest_right": ShapeRange((1,), (5,), (40,)),
    }
