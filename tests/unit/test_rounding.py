"""Graphs of sixteen bits on a CPU: each result rounded as hardware rounds it."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto

from tritonpack.engines import ENGINES
from tritonpack.engines._rounding import emulated, rounding
from tritonpack.engines.onnxruntime import ROUNDING

DTYPES = {TensorProto.FLOAT16: np.float16, TensorProto.BFLOAT16: ml_dtypes.bfloat16}
WEIGHTS = [[1.0, 2.0], [0.25, -3.0]]


def written(path, half):
    """``x * w * k``, with every value and weight in sixteen bits; inputs and outputs are FP32."""
    weights = onnx.numpy_helper.from_array(np.array(WEIGHTS).astype(DTYPES[half]), "w")
    text = f"""<ir_version: 9, opset_import: ["" : 20]> g (float[n,2] x) => (float[n,2] y) {{
        h = Cast <to = {int(half)}> (x)
        a = MatMul(h, w)
        k = Constant ()
        b = Mul(a, k)
        y = Cast <to = 1> (b)
    }}"""
    model = onnx.parser.parse_model(text)
    model.graph.initializer.append(weights)
    three = onnx.numpy_helper.from_array(np.array(3.0).astype(DTYPES[half]), "")
    model.graph.node[2].attribute.append(onnx.helper.make_attribute("value", three))
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def test_bfloat16_by_hand(tmp_path):
    """Eight digits, ties to even.

    ``x``: 1 + 1/256 is a tie between 1 and 1 + 1/128 and goes to 1; 129 has eight digits.
    ``a``: 1 + 129/4 = 33.25 has eight; 2 - 387 = -385 is a tie between -384 and -386 and goes to -384.
    ``b``: 99.75 is a tie between 99.5 and 100 and goes to 100; -1152 has eight.
    """
    x = np.array([[1 + 2.0**-8, 129.0]], np.float32)
    answer = ENGINES.get("onnxruntime").open(written(tmp_path / "m.onnx", TensorProto.BFLOAT16)).run({"x": x})["y"]
    assert answer.dtype == np.float32
    assert answer.tolist() == [[100.0, -1152.0]]


@pytest.mark.parametrize("half", DTYPES)
def test_every_result_is_rounded_as_numpy_rounds_it(tmp_path, half):
    dtype = DTYPES[half]
    x = (np.random.default_rng(0).normal(size=(500, 2)) * 10.0 ** np.arange(-8, 12)[:, None, None]).reshape(-1, 2)
    x = x.astype(np.float32)

    def rounded(values):
        with np.errstate(over="ignore"):
            return values.astype(dtype).astype(np.float32)

    with np.errstate(invalid="ignore"):
        product = rounded((rounded(x)[:, :, None] * np.array(WEIGHTS, np.float32)).sum(axis=1))
        expected = rounded(product * np.float32(3))
    answer = ROUNDING.open(written(tmp_path / "m.onnx", half)).run({"x": x})["y"]
    np.testing.assert_array_equal(answer, expected)
    assert (not np.isfinite(answer).all()) is (half == TensorProto.FLOAT16)


def test_fp16_overflows_only_where_results_are_rounded(tmp_path):
    """60000 * 2 * 3 is far out of range; ONNX Runtime's CPU joins the two nodes and the cast in FP32."""
    path, x = written(tmp_path / "m.onnx", TensorProto.FLOAT16), np.array([[60000, 0]], np.float32)
    assert np.isinf(ROUNDING.open(path).run({"x": x})["y"][0, 1])
    assert ENGINES.get("onnxruntime").open(path).run({"x": x})["y"].tolist() == [[180000.0, 360000.0]]


def test_the_emulation_holds_no_sixteen_bits_but_in_casts(tmp_path):
    model = emulated(onnx.load(written(tmp_path / "m.onnx", TensorProto.BFLOAT16)))
    onnx.checker.check_model(model, full_check=True)
    assert {tensor.data_type for tensor in model.graph.initializer} == {TensorProto.FLOAT}
    inferred = onnx.shape_inference.infer_shapes(model).graph
    halves = {v.name for v in inferred.value_info if v.type.tensor_type.elem_type == TensorProto.BFLOAT16}
    makers = {node.output[0]: node.op_type for node in inferred.node}
    assert {makers[name] for name in halves} == {"Cast"}


def test_other_files_are_opened_as_they_are(tmp_path):
    text = '<ir_version: 9, opset_import: ["" : 20]> g (float[n] x) => (float[n] y) { y = Neg(x) }'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "m.onnx")
    assert rounding(tmp_path / "m.onnx", fp16=True) == tmp_path / "m.onnx"
    half = written(tmp_path / "half.onnx", TensorProto.FLOAT16)
    assert rounding(half, fp16=False) == half
    assert isinstance(rounding(half, fp16=True), bytes)
    (tmp_path / "garbage.onnx").write_bytes(b"garbage")
    assert rounding(tmp_path / "garbage.onnx", fp16=True) == tmp_path / "garbage.onnx"
