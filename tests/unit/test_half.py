"""Graphs in FP16 and bfloat16, with chosen nodes left in FP32."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from tritonpack.core.errors import LoweringError
from tritonpack.core.observations import Observations
from tritonpack.precisions import PRECISIONS, Data, Rewriting
from tritonpack.precisions._formats import BF16, FP16
from tritonpack.precisions._half import narrow

FORMATS = {"fp16": (FP16, TensorProto.FLOAT16), "bf16": (BF16, TensorProto.BFLOAT16)}
CHAIN = """g (float[n,2] x) => (float[n,2] y) <float[2,2] w = {1,2,3,4}>
{ a = MatMul(x, w) \n b = Tanh(a) \n c = MatMul(b, w) \n y = Neg(c) }"""


def model_of(text, opset=20):
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : {opset}]>\n{text}')
    return onnx.shape_inference.infer_shapes(model)


def types_of(model):
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = [*inferred.value_info, *inferred.output, *inferred.input]
    return {value.name: value.type.tensor_type.elem_type for value in values}


@pytest.fixture(params=FORMATS)
def half(request):
    return FORMATS[request.param]


def narrowed(text, half, keep=(), opset=20):
    model = model_of(text, opset)
    narrow(model, set(keep), half[0])
    onnx.checker.check_model(model, full_check=True)
    return model


def test_all_but_the_ends_is_narrow(half):
    model = narrowed(CHAIN, half)
    types = types_of(model)
    assert (types["x"], types["y"]) == (TensorProto.FLOAT, TensorProto.FLOAT)
    assert {types[name] for name in "abc"} == {half[1]}
    assert [tensor.data_type for tensor in model.graph.initializer] == [half[1]]
    assert [node.op_type for node in model.graph.node].count("Cast") == 2


def test_a_value_keeps_its_width_between_nodes_that_want_it(half):
    model = narrowed(CHAIN, half, keep=["a", "b"])
    types = types_of(model)
    assert (types["a"], types["b"], types["c"]) == (TensorProto.FLOAT, TensorProto.FLOAT, half[1])
    assert sorted(tensor.data_type for tensor in model.graph.initializer) == sorted([TensorProto.FLOAT, half[1]])


@pytest.mark.parametrize(
    ("text", "wide_in"),
    [
        ("y = Sin(x)", {"bf16"}),
        ("e = Exp(x)\ny = Sin(e)", {"bf16"}),
        ("y = CumSum(x, i)", {"fp16", "bf16"}),
        ("y = Neg(x)", set()),
    ],
)
def test_an_operator_that_isnt_defined_for_the_type_stays_wide(half, text, wide_in):
    """ONNX defines the sine for bfloat16 from operator set 22 on, and ONNX Runtime's converter blocks some for FP16."""
    model = narrowed(f"g (float[n,2] x) => (float[n,2] y) <int64 i = {{1}}> {{ {text} }}", half)
    last = next(node for node in model.graph.node if node.op_type in {"Sin", "CumSum", "Neg"})
    assert (last.output[0] == "y") is (half[0].name in wide_in)


def test_the_newer_definition_is_used_where_there_is_one(half):
    model = narrowed("g (float[n,2] x) => (float[n,2] y) { y = Sin(x) }", half, opset=22)
    assert {tensor for name, tensor in types_of(model).items() if name.startswith("y_")} == {half[1]}


@pytest.mark.parametrize("node", ["Constant <value_float = 2.0> ()", "Constant <value = float {2.0}> ()"])
def test_constants_of_every_spelling_fit_what_reads_them(half, node):
    model = narrowed(f"g (float[n,2] x) => (float[n,2] y) {{ c = {node} \n y = Mul(x, c) }}", half)
    assert types_of(model)["y"] == TensorProto.FLOAT


def test_filled_tensors_have_the_type(half):
    text = "g (float[2] x) => (float[2] y) <int64[1] i = {2}> { c = ConstantOfShape(i) \n y = Add(x, c) }"
    assert types_of(narrowed(text, half))["c"] == half[1]


@pytest.mark.parametrize("name", FORMATS)
def test_weights_are_rounded_to_the_nearest_and_stay_finite(name):
    format_, _ = FORMATS[name]
    array = np.array([1 + 2.0**-9, 1e-9, 3.4e38, -3.4e38, np.inf], np.float32)
    rounded = format_.rounded(array).astype(np.float64)
    assert rounded[0] == {"fp16": 1 + 2.0**-9, "bf16": 1.0}[name]
    assert rounded[1] == {"fp16": 0.0, "bf16": pytest.approx(1e-9, rel=2.0**-8)}[name]
    assert rounded[2:].tolist() == [format_.greatest, -format_.greatest, np.inf]


@pytest.mark.parametrize("name", FORMATS)
def test_a_rewrite_says_what_it_did(name, tmp_path):
    onnx.save(model_of(CHAIN), tmp_path / "model.onnx")
    precision = PRECISIONS.get(name)
    seen = Observations(rows=1, magnitudes={"c": 1e39 if name == "bf16" else 1e5})
    facts = precision.rewrite(tmp_path / "model.onnx", tmp_path / "out.onnx", Rewriting(observed=seen))
    assert facts[f"{name}_tensors"] == 1
    assert facts["other_tensors"] == 1
    assert (facts["fp32_nodes"], facts["kept_counts"]) == (2, {"out of range": 2})
    assert json.loads(json.dumps(facts)) == facts
    assert precision.groups(tmp_path / "model.onnx") == []
    assert precision.data is Data.HELPFUL


def test_bfloat16_never_narrows_norms_and_softmaxes(tmp_path):
    text = """g (float[n,2] x) => (float[n,2] y) <float[2] w = {1,1}>
    { a = LayerNormalization(x, w) \n b = Softmax(a) \n y = Neg(b) }"""
    onnx.save(model_of(text), tmp_path / "model.onnx")
    bf16 = PRECISIONS.get("bf16").rewrite(tmp_path / "model.onnx", tmp_path / "out.onnx", Rewriting())
    fp16 = PRECISIONS.get("fp16").rewrite(tmp_path / "model.onnx", tmp_path / "out.onnx", Rewriting())
    assert bf16["kept_counts"] == {"operator": 2}
    assert fp16["kept_counts"] == {}


def test_a_graph_that_isnt_valid_is_a_lowering_error(tmp_path):
    text = "g (float[2] x) => (float[3] y) <float[3] w = {1,2,3}> { a = Add(x, w) \n y = Neg(a) }"
    model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 20]>\n{text}')
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(LoweringError, match="bf16") as error:
        PRECISIONS.get("bf16").rewrite(tmp_path / "model.onnx", tmp_path / "out.onnx", Rewriting())
    assert "fp32" in error.value.hint


def test_fp32_is_a_copy(tmp_path):
    onnx.save(model_of(CHAIN), tmp_path / "model.onnx")
    precision = PRECISIONS.get("fp32")
    assert precision.rewrite(tmp_path / "model.onnx", tmp_path / "out.onnx", Rewriting()) == {}
    assert (tmp_path / "out.onnx").read_bytes() == (tmp_path / "model.onnx").read_bytes()
    assert precision.data is Data.UNUSED
    assert precision.groups(tmp_path / "model.onnx") == []
