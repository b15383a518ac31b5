"""What every precision keeps to, on the graph of a task, in ONNX Runtime on the CPU."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tritonpack.core.errors import LoweringError
from tritonpack.core.observations import Observations, read_observations
from tritonpack.core.tensors import ShapeRange
from tritonpack.core.versions import version_of
from tritonpack.engines import ENGINES
from tritonpack.precisions import PRECISIONS, Calibrator, Data, Rewriting
from tritonpack.stages.export import tensor_specs
from tritonpack.stages.observe import observations_from_onnx

INT8 = ["int8", "int8_dynamic"]


@pytest.fixture(scope="module", params=PRECISIONS.names())
def precision(request):
    return PRECISIONS.get(request.param)


def observed(exported, folder):
    """The graph's values on batches of six shapes."""
    batches = [exported.case(8, 12 + seed, seed).inputs for seed in range(6)]
    out = folder / "observations.npz"
    observations_from_onnx(exported.onnx, batches, masks=[axis.mask for axis in exported.axes], out=out)
    return read_observations(out)


@pytest.fixture(scope="module")
def how(exported, tmp_path_factory):
    return Rewriting(observed=observed(exported, tmp_path_factory.mktemp("observed")))


@pytest.fixture(scope="module")
def rewritten(exported, precision, how, tmp_path_factory):
    out = tmp_path_factory.mktemp("rewritten") / "model.onnx"
    return out, precision.rewrite(exported.onnx, out, how)


@pytest.fixture(scope="module")
def embedding(make_exported):
    return make_exported("embedding")


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


def test_the_same_graph_gives_the_same_bytes(exported, precision, how, rewritten, tmp_path):
    precision.rewrite(exported.onnx, tmp_path / "again.onnx", how)
    assert (tmp_path / "again.onnx").read_bytes() == rewritten[0].read_bytes()


def test_the_facts_are_json(rewritten):
    assert json.loads(json.dumps(rewritten[1])) == rewritten[1]


def test_the_source_graph_isnt_touched(exported, precision, how, tmp_path):
    before = exported.onnx.read_bytes()
    precision.rewrite(exported.onnx, tmp_path / "out.onnx", how)
    assert exported.onnx.read_bytes() == before


def test_its_engines_and_packages_exist(precision):
    assert precision.engines
    assert precision.engines <= set(ENGINES.names())
    for package in precision.packages:
        assert version_of(package, hint="")


def test_a_precision_that_needs_data_says_so_without_it(exported, precision, tmp_path):
    if precision.data is not Data.NEEDED:
        precision.rewrite(exported.onnx, tmp_path / "out.onnx", Rewriting())
        assert (tmp_path / "out.onnx").stat().st_size > 0
        return
    with pytest.raises(LoweringError, match="no calibration data") as error:
        precision.rewrite(exported.onnx, tmp_path / "out.onnx", Rewriting())
    assert "calibration" in error.value.hint


def test_its_groups_have_names_of_their_own_and_products_of_the_graph(exported, precision):
    groups = precision.groups(exported.onnx)
    assert len({group.name for group in groups}) == len(groups)
    products = [name for group in groups for name in group.nodes]
    assert len(set(products)) == len(products)
    assert set(products) <= {node.name for node in onnx.load(exported.onnx).graph.node}
    assert all(group.multiplications > 0 for group in groups)


def test_each_group_can_be_kept_and_not_all_of_them(exported, precision, how, rewritten, tmp_path):
    names = [group.name for group in precision.groups(exported.onnx)]
    for name in names[:1] + names[1:][-1:]:
        facts = precision.rewrite(exported.onnx, tmp_path / "out.onnx", replace(how, keep=frozenset({name})))
        assert facts["kept"] == [name]
        assert facts["quantized_matmuls"] < rewritten[1]["quantized_matmuls"]
    if names:
        with pytest.raises(LoweringError, match="every product is to be kept"):
            precision.rewrite(exported.onnx, tmp_path / "out.onnx", replace(how, keep=frozenset(names)))


@pytest.mark.parametrize("name", INT8)
def test_a_group_to_keep_that_doesnt_exist_is_an_error(embedding, name, tmp_path):
    how = Rewriting(observed=observed(embedding, tmp_path), keep=frozenset({"encoder.layer.1.output.dens"}))
    with pytest.raises(LoweringError, match=r"no group 'encoder\.layer\.1\.output\.dens' to keep") as error:
        PRECISIONS.get(name).rewrite(embedding.onnx, tmp_path / "out.onnx", how)
    assert error.value.hint == "Did you mean 'encoder.layer.1.output.dense'?"


def test_groups_have_the_names_of_modules(embedding):
    layer = ["attention.self.{query,key,value}", "attention.output.dense", "intermediate.dense", "output.dense"]
    expected = [f"encoder.layer.{number}.{part}" for number in (0, 1) for part in layer]
    groups = PRECISIONS.get("int8").groups(embedding.onnx)
    assert [group.name for group in groups] == expected
    assert [group.multiplications for group in groups] == [3 * 32 * 32, 32 * 32, 32 * 64, 64 * 32] * 2


@pytest.mark.parametrize("name", INT8)
def test_int8_quantizes_products(embedding, name, tmp_path):
    how = Rewriting(observed=observed(embedding, tmp_path))
    facts = PRECISIONS.get(name).rewrite(embedding.onnx, tmp_path / "out.onnx", how)
    assert (facts["quantized_matmuls"], facts["kept_matmuls"], facts["kept"]) == (12, 0, [])
    assert (tmp_path / "out.onnx").stat().st_size < 0.75 * embedding.onnx.stat().st_size


@pytest.mark.parametrize("smoothing", [None, 0.8])
@pytest.mark.parametrize("calibrator", Calibrator)
def test_every_calibrator_takes_data_of_any_shape(embedding, calibrator, smoothing, tmp_path):
    how = Rewriting(observed=observed(embedding, tmp_path), calibrator=calibrator, smoothing=smoothing)
    facts = PRECISIONS.get("int8").rewrite(embedding.onnx, tmp_path / "out.onnx", how)
    assert sum(facts["calibrators"].values()) == len(facts["errors"]) == 8
    assert all(0 < error < 0.1 for error in facts["errors"].values())
    session = ENGINES.get("onnxruntime").open(tmp_path / "out.onnx")
    for batch, length in ((1, 1), (3, 32)):
        case = embedding.case(batch, length, seed=99)
        (agreement,) = embedding.agreements(case, session.run(case.inputs))
        assert agreement.min_cosine > 0.98


def test_int8_compiles_in_tensorrt_rtx(embedding, tmp_path):
    engine = ENGINES.get("tensorrt_rtx")
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX isn't installed here")
    how = Rewriting(observed=observed(embedding, tmp_path), calibrator=Calibrator.SEARCH, smoothing=0.8)
    PRECISIONS.get("int8").rewrite(embedding.onnx, tmp_path / "int8.onnx", how)
    profile = {spec.name: ShapeRange((1, 1), (4, 16), (8, 32)) for spec in embedding.inputs}
    facts = engine.compile(tmp_path / "int8.onnx", profile, tmp_path / "int8.engine", tmp_path)
    assert facts["platform"]
    assert (tmp_path / "int8.engine").stat().st_size > 1000


def test_fp16_halves_the_weights(embedding, tmp_path):
    facts = PRECISIONS.get("fp16").rewrite(embedding.onnx, tmp_path / "out.onnx", Rewriting())
    assert facts["fp16_tensors"] > 20
    weights = {t.data_type for t in onnx.load(tmp_path / "out.onnx").graph.initializer if t.name.endswith("weight")}
    assert TensorProto.FLOAT not in weights


@pytest.fixture
def no_product(tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "identity",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 8])],
    )
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "identity.onnx")
    return tmp_path / "identity.onnx"


def test_int8_without_a_product_says_so(no_product, tmp_path):
    observations_from_onnx(no_product, [{"x": np.zeros((1, 8), np.float32)}], masks=[], out=tmp_path / "seen.npz")
    how = Rewriting(observed=read_observations(tmp_path / "seen.npz"))
    with pytest.raises(LoweringError, match="no product with weights"):
        PRECISIONS.get("int8").rewrite(no_product, tmp_path / "out.onnx", how)


def test_int8_of_a_product_that_wasnt_observed_says_so(embedding, tmp_path):
    with pytest.raises(LoweringError, match=r"input 'layer_norm' of encoder\.layer\.0.*wasn't observed"):
        PRECISIONS.get("int8").rewrite(embedding.onnx, tmp_path / "out.onnx", Rewriting(observed=Observations(rows=1)))
