"""What a graph's values, sums and logits reach, on graphs whose numbers can be worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest

from tritonpack.core.errors import SourceError
from tritonpack.stages import _magnitudes
from tritonpack.stages._magnitudes import magnitudes_from_onnx


@pytest.fixture
def measured(tmp_path):
    """Write a graph of ONNX's text format and measure it on batches of ``x``."""

    def measure(text, *batches, opset=20):
        model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : {opset}]>\n{text}')
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, tmp_path / "model.onnx")
        inputs = [{"x": np.array(batch, np.float32)} for batch in batches]
        return magnitudes_from_onnx(tmp_path / "model.onnx", inputs)

    return measure


def test_every_value_has_its_greatest_magnitude_over_all_batches(measured):
    text = "g (float[n,2] x) => (float[n,2] y) <float[1] w = {3}> { d = Mul(x, w) \n y = Neg(d) }"
    magnitudes, sums, logits = measured(text, [[1, -2]], [[0.5, 1], [-0.25, 0]])
    assert magnitudes == {"x": 2.0, "d": 6.0, "y": 6.0}
    assert (sums, logits) == ({}, {})


def test_integers_and_weights_are_no_values(measured):
    text = "g (float[n,2] x) => (float[n,2] y) <float[1] w = {3}> { i = Cast <to = 7> (x) \n y = Mul(x, w) }"
    assert set(measured(text, [[1, 2]])[0]) == {"x", "y"}


@pytest.mark.parametrize("number", [-1.0, 0.0])
def test_what_isnt_finite_is_infinite_wherever_it_stands(measured, number):
    """A maximum may pass over NaN: ONNX Runtime's does where a number comes first."""
    text = "g (float[n,3] x) => (float[n,3] y) { y = Log(x) }"
    magnitudes = measured(text, [[1, number, 2]], [[1, 1, 1]])[0]
    assert magnitudes == {"x": 2.0, "y": math.inf}


def test_a_value_without_elements_has_no_magnitude(measured):
    text = """g (float[n,2] x) => (float[n,2] y, float[n,0] none)
    <int64[1] one = {1}> { none = Slice(x, one, one, one) \n y = Neg(x) }"""
    assert measured(text, [[1, -2]])[0]["none"] == 0.0


@pytest.mark.parametrize(
    ("node", "total"),
    [
        ("ReduceSum <keepdims = 1> (x, last)", 6.0),
        ("ReduceMean (x, last)", 6.0),
        ("ReduceL2 (x, last)", 14.0),
        ("ReduceSumSquare (x, last)", 14.0),
        ("LpNormalization <axis = -1> (x)", 14.0),
        ("LpNormalization <axis = -1, p = 1> (x)", 6.0),
        ("LayerNormalization <epsilon = 1e-12> (x, w)", 14.0),
        ("LayerNormalization <axis = 1> (x, w)", 14.0),
    ],
)
def test_a_sum_is_told_by_what_it_reaches_on_its_way(measured, node, total):
    """Of 1, -2, 3: magnitudes add up to 6, squares to 14, squares about the mean to 12.67."""
    text = f"g (float[n,3] x) => (float y) <int64[1] last = {{-1}}, float[3] w = {{1,1,1}}> {{ y = {node} }}"
    magnitudes, sums, _ = measured(text.replace("(float y)", "(float[n,k] y)"), [[1, -2, 3], [0, 0, 0]])
    expected = 6 + 2 / 3 + 6 if node.startswith("LayerNorm") else total
    assert magnitudes["x"] == 3.0
    assert sums == {"y": pytest.approx(expected, rel=1e-6)}


def test_a_norm_over_groups_adds_up_within_each(measured):
    rows = np.arange(8, dtype=np.float32).reshape(1, 4, 2)
    for node in ("InstanceNormalization (x, w, w)", "GroupNormalization <num_groups = 4> (x, w, w)"):
        text = f"g (float[n,4,2] x) => (float[n,4,2] y) <float[4] w = {{1,1,1,1}}> {{ y = {node} }}"
        assert measured(text, rows, opset=21)[1] == {"y": 13.0}


def test_older_operator_sets_have_axes_as_attributes(measured):
    text = """g (float[n,3] x) => (float[n,1] y, float[n,3] z) <float[3] w = {1,1,1}>
    { y = ReduceMean <axes = [-1]> (x) \n z = LayerNormalization (x, w) \n s = Softmax(x) }"""
    _, sums, logits = measured(text, [[1, -2, 3]], opset=17)
    assert sums == {"y": 6.0, "z": pytest.approx(12 + 2 / 3)}
    assert logits == {"s": 3.0}


def test_a_sum_that_overflows_fp32_is_infinite(measured):
    text = "g (float[n,2] x) => (float[n,1] y) <int64[1] last = {-1}> { y = ReduceL2(x, last) }"
    assert measured(text, [[1e20, 1]])[1] == {"y": math.inf}


def test_logits_that_matter_are_near_their_rows_greatest(measured):
    text = "g (float[n,3] x) => (float[n,3] y) { y = Softmax(x) }"
    assert measured(text, [[5, -3, -1e30], [1, 0, -500]])[2] == {"y": 5.0}
    assert measured(text, [[-90, -100, 5 - 1e4]])[2] == {"y": 100.0}


def test_a_row_that_is_masked_as_a_whole_matters_not(measured):
    text = "g (float[n,2] x) => (float[n,2] y) { y = Softmax(x) }"
    assert measured(text, [[-3.4e38, -3.4e38], [2, 1]])[2] == {"y": 2.0}


def test_large_batches_run_in_parts(measured, monkeypatch):
    monkeypatch.setattr(_magnitudes, "_ELEMENTS", 5)
    batch = {"x": np.zeros((7, 2)), "row": np.arange(7)}
    parts = list(_magnitudes._parts(batch))
    assert [len(part["x"]) for part in parts] == [2, 2, 2, 1]
    assert np.concatenate([part["row"] for part in parts]).tolist() == list(range(7))
    text = "g (float[n,2] x) => (float[n,2] y) { y = Neg(x) }"
    assert measured(text, np.arange(14).reshape(7, 2))[0]["y"] == 13.0


def test_rows_longer_than_a_part_run_alone():
    parts = list(_magnitudes._parts({"x": np.zeros((2, 5000))}))
    assert [len(part["x"]) for part in parts] == [1, 1]


def test_without_data_it_says_so(measured):
    with pytest.raises(SourceError, match="no data"):
        measured("g (float[n,2] x) => (float[n,2] y) { y = Neg(x) }")
