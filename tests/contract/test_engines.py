"""What every engine keeps to, on the ragged graph of a task."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError, distribution

import onnx
import pytest
from onnx import TensorProto, helper

from tritonpack.core.errors import CompileError, MissingExtraError, UnsupportedError
from tritonpack.core.tensors import ShapeRange
from tritonpack.engines import ENGINES
from tritonpack.stages.compile import engine_from_onnx
from tritonpack.stages.raggedize import ragged_profile


@pytest.fixture(scope="module", params=ENGINES.names())
def engine(request):
    return ENGINES.get(request.param)


@pytest.fixture
def installed(engine):
    """The engine, where this machine can compile with it."""
    try:
        engine.identity()
    except UnsupportedError as error:
        pytest.skip(f"{error.message}: {error.hint}")
    return engine


def compiled(engine, exported, folder):
    profile = ragged_profile(exported.inputs, exported.axes, max_batch=8, best_batch=4, best_length=16)
    out = folder / f"engine{engine.suffix}"
    return out, engine_from_onnx(exported.ragged, engine, profile, cache=folder / "side", out=out)


def test_it_says_how_triton_loads_its_files(engine):
    assert engine.suffix.startswith(".")
    assert engine.triton is None or set(engine.triton) in ({"backend"}, {"platform"})
    assert engine.version >= 1


def test_its_identity_holds_versions_and_doesnt_change(installed):
    assert "==" in installed.identity()
    assert installed.identity() == installed.identity()


def test_a_ragged_graph_compiles(installed, exported, tmp_path):
    out, facts = compiled(installed, exported, tmp_path)
    assert out.stat().st_size > 1000
    assert json.loads(json.dumps(facts)) == facts
    assert facts["platform"]


def test_what_it_compiled_answers_as_pytorch_does(installed, exported, tmp_path):
    if not installed.can_execute():
        pytest.skip("this machine can compile for the engine, but has no GPU to run what it compiles")
    out, _ = compiled(installed, exported, tmp_path)
    session = installed.open(out)
    for batch, length in ((1, 1), (4, 16), (8, 32)):
        case = exported.case(batch, length)
        for agreement in exported.agreements(case, session.run(exported.ragged_inputs(case))):
            assert agreement.max_abs_error < 1e-2
            assert agreement.min_cosine > 0.999


def test_an_operator_that_it_doesnt_know_is_a_compile_error_with_its_own_words(installed, tmp_path):
    graph = helper.make_graph(
        [helper.make_node("Nonsense", ["x"], ["y"], domain="of.a.test")],
        "nonsense",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch"])],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("of.a.test", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "nonsense.onnx")
    profile = {"x": ShapeRange((1,), (2,), (4,))}
    with pytest.raises(CompileError, match="Nonsense") as error:
        engine_from_onnx(
            tmp_path / "nonsense.onnx", installed, profile, cache=tmp_path / "side", out=tmp_path / "engine"
        )
    assert error.value.exit_code == 4
    assert error.value.hint != ""


def test_a_file_that_isnt_a_graph_is_a_compile_error(installed, tmp_path):
    (tmp_path / "garbage.onnx").write_bytes(b"garbage")
    with pytest.raises(CompileError):
        engine_from_onnx(tmp_path / "garbage.onnx", installed, {}, cache=tmp_path / "side", out=tmp_path / "engine")


def test_an_engine_that_isnt_installed_says_how_to_get_it():
    try:
        distribution("tensorrt")
    except PackageNotFoundError:
        pass
    else:
        pytest.skip("TensorRT is installed here")
    with pytest.raises(MissingExtraError, match="tensorrt isn't installed") as error:
        ENGINES.get("tensorrt").identity()
    assert "tritonpack[tensorrt]" in error.value.hint
    assert "docker-compose --profile gpu run builder" in error.value.hint
    assert error.value.exit_code == 3


def test_onnx_runtime_executes_everywhere():
    assert ENGINES.get("onnxruntime").can_execute() is True
