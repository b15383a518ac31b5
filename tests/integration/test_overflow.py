"""A model built to leave FP16's range: what the naive rewrite makes of it, and what stays in FP32 to repair it.

Results are rounded as a GPU rounds them; ONNX Runtime's own FP16 on the CPU would hide every overflow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from tiny_overflow import OUTPUTS, overflowing, overflowing_inputs

from tritonpack.core.errors import UnsupportedError
from tritonpack.core.observations import Observations
from tritonpack.core.tensors import ShapeRange, TensorSpec, agreement_of
from tritonpack.engines import ENGINES
from tritonpack.engines.onnxruntime import ROUNDING
from tritonpack.inputs import Sample
from tritonpack.precisions import PRECISIONS, Rewriting
from tritonpack.precisions._formats import FP16
from tritonpack.precisions._half import narrow
from tritonpack.stages._magnitudes import magnitudes_from_onnx
from tritonpack.stages.export import Traced, onnx_from_module

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.core.action import Facts
    from tritonpack.core.tensors import Agreement

pytestmark = pytest.mark.slow

INPUTS = [TensorSpec(name, "int64", ("batch", "sequence")) for name in ("input_ids", "attention_mask")]
OTHERS = {"query and key", "value", "attended", "inner", "loud", "head"}
"""Products that nothing is wrong with."""


@dataclass(frozen=True)
class Overflowing:
    """The exported model, and what its values are on some data."""

    onnx: Path
    observed: Observations
    folder: Path

    def rewritten(self, name: str) -> tuple[Path, Facts]:
        out = self.folder / f"{name}.onnx"
        return out, PRECISIONS.get(name).rewrite(self.onnx, out, Rewriting(observed=self.observed))

    def agreements(self, path: Path) -> list[Agreement]:
        """On other data than was observed, of several lengths."""
        reference, candidate = ENGINES.get("onnxruntime").open(self.onnx), ROUNDING.open(path)
        rng = np.random.default_rng(9)
        batches = [overflowing_inputs(rng, 16, length) for length in (1, 3, 9, 24, 40)]
        return [agreement_of(reference.run(b)["scores"], candidate.run(b)["scores"]) for b in batches]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Overflowing:
    folder = tmp_path_factory.mktemp("overflowing")

    def sample(rng: np.random.Generator, batch: int, length: int) -> Sample:
        return Sample(overflowing_inputs(rng, batch, length), {"sequence": np.full(batch, length)})

    outputs = [TensorSpec("scores", "float32", ("batch", OUTPUTS))]
    traced = Traced(sample, INPUTS, outputs, dynamic=True, length=40)
    onnx_from_module(overflowing(), traced, opset=20, out=folder / "model.onnx")
    rng = np.random.default_rng(0)
    batches = [overflowing_inputs(rng, 8, length) for length in (4, 12, 24)]
    magnitudes, sums, logits = magnitudes_from_onnx(folder / "model.onnx", batches)
    observed = Observations(24, magnitudes=magnitudes, sums=sums, logits=logits)
    return Overflowing(folder / "model.onnx", observed, folder)


def test_the_naive_rewrite_gives_no_numbers(model: Overflowing) -> None:
    naive = onnx.shape_inference.infer_shapes(onnx.load(model.onnx))
    narrow(naive, set(), FP16)
    onnx.save(naive, model.folder / "naive.onnx")
    assert all(agreement.max_abs_error == np.inf for agreement in model.agreements(model.folder / "naive.onnx"))


def test_fp16_that_keeps_what_it_must_holds(model: Overflowing) -> None:
    path, _ = model.rewritten("fp16")
    for agreement in model.agreements(path):
        assert agreement.min_cosine > 0.9999
        assert PRECISIONS.get("fp16").tolerance.violation(agreement) == ""


def test_the_report_names_each_reason_where_it_lies(model: Overflowing) -> None:
    _, facts = model.rewritten("fp16")
    told: dict[str, dict[str, float]] = {}
    for entry in facts["kept"]:
        told.setdefault(entry["why"], {})[entry["module"]] = entry["value"]
    assert set(told) == {"constant", "out of range", "sum", "logits", "too small"}
    assert told["logits"] == {"attention": pytest.approx(8699, rel=0.1)}
    assert told["constant"]["attention"] == pytest.approx(3.4e38, rel=0.01)
    assert told["constant"]["faint"] == pytest.approx(1e-7)
    assert set(told["out of range"]) == {"grow", "", "root"}
    assert told["out of range"]["grow"] > 65504
    assert set(told["sum"]) == {"root", "variance"}
    assert told["sum"]["variance"] > 65504 > model.observed.magnitudes["linear_5"]
    assert told["too small"]["faint"] < 1e-5


def test_every_other_product_is_in_fp16(model: Overflowing) -> None:
    path, facts = model.rewritten("fp16")
    assert product_types(path) == {**dict.fromkeys(OTHERS, "FLOAT16"), "scores": "FLOAT", "grow": "FLOAT"}
    assert facts["fp32_nodes"] <= 21


def test_bfloat16_needs_to_keep_no_range(model: Overflowing) -> None:
    path, facts = model.rewritten("bf16")
    assert product_types(path) == {**dict.fromkeys({*OTHERS, "grow"}, "BFLOAT16"), "scores": "FLOAT"}
    assert set(facts["kept_counts"]) == {"constant", "logits", "operator"}
    for agreement in model.agreements(path):
        assert PRECISIONS.get("bf16").tolerance.violation(agreement) == ""


@pytest.mark.parametrize("name", ["fp16", "bf16"])
def test_it_compiles_for_tensorrt(model: Overflowing, name: str) -> None:
    engine = ENGINES.get("tensorrt_rtx")
    try:
        engine.identity()
    except UnsupportedError as error:
        pytest.skip(f"{error.message}: {error.hint}")
    path, _ = model.rewritten(name)
    profile = {spec.name: ShapeRange((1, 1), (4, 16), (16, 40)) for spec in INPUTS}
    engine.compile(path, profile, model.folder / "engine", model.folder / "side")
    assert (model.folder / "engine").stat().st_size > 1000


def product_types(path: Path) -> dict[str, str]:
    """The type that each product computes in, by what it is."""
    names = {
        "linear": "query and key", "matmul": "scores", "linear_2": "value", "matmul_1": "attended",
        "val_34": "inner", "val_36": "grow", "val_44": "loud", "scores": "head", "scores_fp16": "head",
        "scores_bf16": "head",
    }  # fmt: skip
    graph = onnx.shape_inference.infer_shapes(onnx.load(path)).graph
    types: dict[str, Any] = {v.name: v.type.tensor_type.elem_type for v in (*graph.value_info, *graph.output)}
    return {
        names[node.output[0]]: onnx.TensorProto.DataType.Name(types[node.output[0]])
        for node in graph.node
        if node.op_type in {"MatMul", "Gemm"}
    }
