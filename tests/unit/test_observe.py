"""What is observed of a graph's values: in one pass, without padding, in memory that doesn't grow."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tritonpack.core.errors import SourceError
from tritonpack.core.observations import (
    BINS,
    SAMPLED_ROWS,
    Activation,
    Observations,
    read_observations,
    write_observations,
)
from tritonpack.stages.observe import _Observer, observations_from_onnx

K = 4


@pytest.fixture
def graph(tmp_path):
    """Products over tokens, over tokens in one axis, and over rows; ``shared`` is what two of them read."""
    generator = np.random.default_rng(0)
    weights = [numpy_helper.from_array(generator.normal(size=(K, 3)).astype(np.float32), f"w{i}") for i in range(4)]
    weights.append(numpy_helper.from_array(np.array([-1, K]), "flat"))
    nodes = [
        helper.make_node("Identity", ["x"], ["shared"]),
        helper.make_node("MatMul", ["shared", "w0"], ["a"], "a"),
        helper.make_node("MatMul", ["shared", "w1"], ["b"], "b"),
        helper.make_node("Reshape", ["x", "flat"], ["tokens"]),
        helper.make_node("Gemm", ["tokens", "w2"], ["c"], "c"),
        helper.make_node("ReduceMax", ["x", "axis"], ["pooled"], keepdims=0),
        helper.make_node("MatMul", ["pooled", "w3"], ["d"], "d"),
    ]
    weights.append(numpy_helper.from_array(np.array([1]), "axis"))
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in "abcd"]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "length", K]),
        helper.make_tensor_value_info("mask", TensorProto.INT64, ["batch", "length"]),
    ]
    model = helper.make_graph(nodes, "products", inputs, outputs, weights)
    path = tmp_path / "graph.onnx"
    onnx.save(helper.make_model(model, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


def batch(rows, length, seed=0, padding=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, length, K)).astype(np.float32)
    mask = np.ones((rows, length), np.int64)
    if padding:
        mask[:, -padding:] = 0
    return {"x": x, "mask": mask}


def observed(graph, batches, tmp_path, masks=("mask",)):
    facts = observations_from_onnx(graph, batches, masks=masks, out=tmp_path / "seen.npz")
    found = read_observations(tmp_path / "seen.npz")
    assert facts["rows"] == found.rows
    assert facts["activations"] == len(found.activations)
    return found


def test_products_that_share_a_value_share_an_observation(graph, tmp_path):
    found = observed(graph, [batch(2, 5), batch(3, 7, seed=1)], tmp_path)
    assert list(found.activations) == ["shared", "tokens", "pooled"]
    assert found.rows == 5
    assert set(found.activations) <= set(found.magnitudes)


def test_padding_doesnt_count(graph, tmp_path):
    given = batch(3, 6, padding=2)
    given["x"][:, -2:] = 1000
    found = observed(graph, [given], tmp_path)
    kept = given["x"][:, :4]
    for value in ("shared", "tokens"):
        activation = found.activations[value]
        assert activation.greatest == np.abs(kept).max()
        assert activation.histogram.sum() == kept.size
        np.testing.assert_array_equal(activation.channels, np.abs(kept).max(axis=(0, 1)))
        np.testing.assert_array_equal(np.sort(activation.rows, axis=0), np.sort(kept.reshape(-1, K), axis=0))


def test_a_value_without_a_length_counts_whole(graph, tmp_path):
    found = observed(graph, [batch(3, 6, padding=2)], tmp_path).activations["pooled"]
    assert (found.histogram.sum(), found.rows.shape) == (3 * K, (3, K))


def test_without_a_mask_all_counts(graph, tmp_path):
    found = observed(graph, [batch(3, 6, padding=2)], tmp_path, masks=())
    assert found.activations["shared"].histogram.sum() == 3 * 6 * K


def test_a_large_batch_is_run_in_slices_and_gives_the_same(graph, tmp_path):
    whole = batch(40, 64)
    parts = [{name: array[i : i + 1] for name, array in whole.items()} for i in range(40)]
    one, many = observed(graph, [whole], tmp_path), observed(graph, parts, tmp_path)
    for value in one.activations:
        for field in ("histogram", "greatest", "channels"):
            np.testing.assert_array_equal(
                getattr(one.activations[value], field), getattr(many.activations[value], field)
            )


def test_no_batch_is_an_error(graph, tmp_path):
    with pytest.raises(SourceError, match="no data to observe"):
        observations_from_onnx(graph, [], masks=["mask"], out=tmp_path / "seen.npz")


def test_the_same_data_gives_the_same_bytes(graph, tmp_path):
    contents = []
    for name in ("one", "two"):
        observations_from_onnx(graph, [batch(9, 40)], masks=["mask"], out=tmp_path / name)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]


def test_a_histogram_that_grew_is_that_of_all_numbers_at_once():
    parts = [np.random.default_rng(i).normal(size=(500, K)).astype(np.float32) * 5**i for i in range(5)]
    observer = _Observer(K)
    for part in parts:
        observer.add(part)
    found, everything = observer.result(), np.abs(np.concatenate(parts))
    assert found.greatest == everything.max()
    expected, _ = np.histogram(everything, bins=BINS, range=(0, found.greatest))
    assert found.histogram.sum() == everything.size
    # A count may lie one fine bin off, of which a bin has four at least.
    off = np.abs(np.cumsum(found.histogram) - np.cumsum(expected))
    assert (off <= np.maximum(expected, 4)).all()


def test_the_order_of_rows_doesnt_count_for_histograms():
    rows = np.random.default_rng(0).standard_t(df=2, size=(600, K)).astype(np.float32)
    results = []
    for order in (rows, rows[::-1], rows[np.argsort(np.abs(rows).max(axis=1))]):
        observer = _Observer(K)
        for begin in range(0, 600, 50):
            observer.add(order[begin : begin + 50])
        results.append(observer.result().histogram)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_rows_are_drawn_evenly_and_not_more_than_allowed():
    observer = _Observer(1)
    for begin in range(0, 10_000, 100):
        observer.add(np.arange(begin, begin + 100, dtype=np.float32)[:, None])
    rows = observer.result().rows[:, 0]
    assert len(set(rows)) == SAMPLED_ROWS
    assert rows.mean() == pytest.approx(5000, abs=600)
    assert {int(row // 2500) for row in rows} == {0, 1, 2, 3}


def test_what_isnt_finite_is_left_out():
    observer = _Observer(2)
    observer.add(np.array([[1, np.inf], [np.nan, 2], [0.25, -3]], np.float32))
    found = observer.result()
    assert (found.greatest, found.histogram.sum()) == (3, 2)


@pytest.mark.parametrize("numbers", [[0, 0], [0, 1e-30], [1e-38, 0], [1e30, 1]])
def test_magnitudes_of_any_size_are_counted(numbers):
    observer = _Observer(2)
    observer.add(np.zeros((1, 2), np.float32))
    observer.add(np.array([numbers], np.float32))
    found = observer.result()
    assert found.greatest == np.float32(max(numbers))
    assert found.histogram.sum() == 4


def test_observations_come_back_as_they_were_written(tmp_path):
    activation = Activation(np.arange(BINS), 2.5, np.ones(3, np.float32), np.zeros((2, 3), np.float32))
    written = Observations(7, {"a/b.c": activation}, {"v": 1.5, "w": float("inf")}, {"s": 3.0}, {})
    write_observations(written, tmp_path / "seen.npz")
    found = read_observations(tmp_path / "seen.npz")
    assert (found.rows, found.magnitudes, found.sums, found.logits) == (
        7,
        {"v": 1.5, "w": float("inf")},
        {"s": 3.0},
        {},
    )
    read = found.activations["a/b.c"]
    assert read.greatest == 2.5
    for field in ("histogram", "channels", "rows"):
        np.testing.assert_array_equal(getattr(read, field), getattr(activation, field))
        assert getattr(read, field).dtype == getattr(activation, field).dtype
