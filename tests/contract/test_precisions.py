"""What every precision keeps to, on the graph of a task, in ONNX Runtime on the CPU."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tritonpack.core.errors import LoweringError
from tritonpack.core.versions import version_of
from tritonpack.engines import ENGINES
from tritonpack.precisions import PRECISIONS
from tritonpack.stages.export import tensor_specs


@pytest.fixture(scope="module", params=PRECISIONS.names())
def precision(request):
    return PRECISIONS.get(request.param)


def calibration(exported, precision):
    return [exported.case(8, 12 + seed, seed).inputs for seed in range(6)] if precision.needs_calibration else []


@pytest.fixture(scope="module")
def rewritten(exported, precision, tmp_path_factory):
    out = tmp_path_factory.mktemp("rewritten") / "model.onnx"
    facts = precision.rewrite(exported.onnx, calibration(exported, precision), out)
    return out, facts


def test_the_rewritten_graph_is_valid_and_keeps_names_types_and_shapes(exported, rewritten):
    path, _ = rewritten
    onnx.checker.check_model(path)
    before, after = onnx.load(exported.onnx).graph, onnx.load(path).graph
    assert tensor_specs(after.input) == tensor_specs(before.input)
    assert tensor_specs(after.output) == tensor_specs(before.output)


def test_it_stays_inside_its_own_tolerance(exported, precision, rewritten):
    session = ENGINES.get("onnxruntime").open(rewritten[0])
    for batch, length in ((1, 1), (1, 5), (8, 30), (3, 32)):
        case = exported.case(batch, length, seed=99)
        for agreement in exported.agreements(case, session.run(case.inputs)):
            assert precision.tolerance.violation(agreement) == "", (batch, length)


def test_the_tolerance_bounds_something(precision):
    assert any(bound is not None for bound in precision.tolerance.to_json().values())


def test_the_same_graph_gives_the_same_bytes(exported, precision, rewritten, tmp_path):
    precision.rewrite(exported.onnx, calibration(exported, precision), tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == rewritten[0].read_bytes()


def test_the_facts_are_json(rewritten):
    assert json.loads(json.dumps(rewritten[1])) == rewritten[1]


def test_the_source_graph_isnt_touched(exported, precision, tmp_path):
    before = exported.onnx.read_bytes()
    precision.rewrite(exported.onnx, calibration(exported, precision), tmp_path / "out.onnx")
    assert exported.onnx.read_bytes() == before


def test_its_engines_and_packages_exist(precision):
    assert precision.engines
    assert precision.engines <= set(ENGINES.names())
    for package in precision.packages:
        assert version_of(package, hint="")


def test_without_calibration_a_precision_that_needs_it_says_so(exported, precision, tmp_path):
    if not precision.needs_calibration:
        precision.rewrite(exported.onnx, [], tmp_path / "out.onnx")
        assert (tmp_path / "out.onnx").stat().st_size > 0
        return
    with pytest.raises(LoweringError, match="no calibration data") as error:
        precision.rewrite(exported.onnx, [], tmp_path / "out.onnx")
    assert "calibration" in error.value.hint


@pytest.mark.parametrize("name", ["int8", "int8_dynamic"])
def test_int8_quantizes_products(make_exported, name, tmp_path):
    exported, precision = make_exported("embedding"), PRECISIONS.get(name)
    facts = precision.rewrite(exported.onnx, calibration(exported, precision), tmp_path / "out.onnx")
    assert facts["quantized_matmuls"] >= 8
    assert (tmp_path / "out.onnx").stat().st_size < 0.75 * exported.onnx.stat().st_size


def test_fp16_halves_the_weights(make_exported, tmp_path):
    exported = make_exported("embedding")
    facts = PRECISIONS.get("fp16").rewrite(exported.onnx, [], tmp_path / "out.onnx")
    assert facts["fp16_tensors"] > 20
    weights = {t.data_type for t in onnx.load(tmp_path / "out.onnx").graph.initializer if t.name.endswith("weight")}
    assert TensorProto.FLOAT not in weights


def product(path, size=8):
    """One product with weights: ``x (batch, sequence) -> y``."""
    weights = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", size])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path)
    return path


def test_int8_keeps_a_product_whose_input_has_outliers(tmp_path):
    """One activation far beyond the others would leave these a handful of steps."""
    rng = np.random.default_rng(1)
    usual = [{"x": rng.normal(size=(256, 8)).astype(np.float32)} for _ in range(4)]
    spoiled = [{"x": batch["x"].copy()} for batch in usual]
    spoiled[0]["x"][0, 0] = 1000
    source, out = product(tmp_path / "product.onnx"), tmp_path / "out.onnx"
    facts = PRECISIONS.get("int8").rewrite(source, usual, out)
    assert (facts["quantized_matmuls"], facts["kept"]) == (1, [])
    with pytest.raises(LoweringError, match="every product has outliers"):
        PRECISIONS.get("int8").rewrite(source, spoiled, out)


def test_int8_without_a_product_says_so(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "identity",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 8])],
    )
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "identity.onnx")
    with pytest.raises(LoweringError, match="no product with weights"):
        PRECISIONS.get("int8").rewrite(
            tmp_path / "identity.onnx", [{"x": np.zeros((1, 8), np.float32)}], tmp_path / "out.onnx"
        )
