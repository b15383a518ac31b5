"""The attention that every family is exported with, as ONNX Runtime's own operator."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from tiny_lessons import EMBEDDING, INPUTS, SHAPES, VOCABULARY, family_module, rows

from tritonpack.core.model import RaggedAxis
from tritonpack.core.tensors import Tensors, TensorSpec
from tritonpack.engines import ENGINES
from tritonpack.inputs import Sample
from tritonpack.precisions import PRECISIONS, Rewriting
from tritonpack.stages.export import Traced, onnx_from_module
from tritonpack.stages.raggedize import ragged_from_onnx, ragged_inputs

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

LAYERS = 2
OTHER_FORMS = {"deberta-v2", "xlnet"}
"""Relative positions from products of their own, and sums that `Einsum` writes."""
AXES = [RaggedAxis("sequence", "attention_mask", {"input_ids": 0, "attention_mask": 0}, 32)]
ENGINE = ENGINES.get("onnxruntime")


class Exported(NamedTuple):
    """A family's tiny model and its graph."""

    family: str
    module: Any
    onnx: Path

    def answer(self, inputs: Tensors) -> Any:
        with torch.no_grad():
            return self.module(*(torch.from_numpy(inputs[name]) for name in INPUTS)).numpy()


def sample(rng: np.random.Generator, batch: int, length: int) -> Sample:
    mask = (np.arange(length)[None, :] < rng.integers(1, length + 1, size=(batch, 1))).astype(np.int64)
    return Sample({"input_ids": rng.integers(6, VOCABULARY, size=mask.shape) * mask, "attention_mask": mask}, {})


@pytest.fixture(scope="module", params=SHAPES)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    path = tmp_path_factory.mktemp(request.param) / "model.onnx"
    module = family_module(request.param, layers=LAYERS)
    inputs = [TensorSpec(name, "int64", ("batch", "sequence")) for name in INPUTS]
    onnx_from_module(module, Traced(sample, inputs, [EMBEDDING], dynamic=True, length=32), opset=20, out=path)
    return Exported(request.param, module, path)


def expected_cores(family: str) -> int | None:
    return None if family in OTHER_FORMS else LAYERS


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_padded_rows_are_answered_as_pytorch_does(exported: Exported, tmp_path: Path) -> None:
    facts = ENGINE.compile(exported.onnx, {}, tmp_path / "engine.onnx", tmp_path)
    assert facts.get("fused_attention") == expected_cores(exported.family)
    session = ENGINE.open(tmp_path / "engine.onnx")
    for batch in rows(4):
        answer = session.run(batch)["embedding_output"]
        np.testing.assert_allclose(answer, exported.answer(batch), rtol=0, atol=1e-5)


def test_ragged_rows_are_answered_as_pytorch_does(exported: Exported, tmp_path: Path) -> None:
    ragged_from_onnx(exported.onnx, axes=AXES, out=tmp_path / "ragged.onnx")
    facts = ENGINE.compile(tmp_path / "ragged.onnx", {}, tmp_path / "engine.onnx", tmp_path)
    assert facts.get("fused_attention") == expected_cores(exported.family)
    session = ENGINE.open(tmp_path / "engine.onnx")
    for batch in rows(4):
        lengths = {"sequence": batch["attention_mask"].sum(axis=1)}
        answer = session.run(ragged_inputs(batch, AXES, lengths))["embedding_output"]
        np.testing.assert_allclose(answer, exported.answer(batch), rtol=0, atol=1e-5)


def test_a_hole_in_a_row_is_a_hole(exported: Exported, tmp_path: Path) -> None:
    ENGINE.compile(exported.onnx, {}, tmp_path / "engine.onnx", tmp_path)
    (batch,) = rows(1, seed=3)
    batch["attention_mask"][:, 1] = 0
    answer = ENGINE.open(tmp_path / "engine.onnx").run(batch)["embedding_output"]
    np.testing.assert_allclose(answer, exported.answer(batch), rtol=0, atol=1e-5)


def test_the_runtime_makes_no_slower_norms_of_it(exported: Exported, tmp_path: Path) -> None:
    ragged_from_onnx(exported.onnx, axes=AXES, out=tmp_path / "ragged.onnx")
    for name in (exported.onnx, tmp_path / "ragged.onnx"):
        ENGINE.compile(name, {}, tmp_path / "engine.onnx", tmp_path)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
        onnxruntime.InferenceSession(tmp_path / "engine.onnx", options, providers=["CPUExecutionProvider"])
        found = operators(tmp_path / "optimized.onnx")
        assert found["SkipLayerNormalization"] == 0
        assert found["LayerNormalization"] == operators(name)["LayerNormalization"]
        assert found["Softmax"] == (LAYERS if exported.family in OTHER_FORMS else 0)


def test_int8_products_leave_attention_to_the_operator(exported: Exported, tmp_path: Path) -> None:
    PRECISIONS.get("int8_dynamic").rewrite(exported.onnx, tmp_path / "int8.onnx", Rewriting())
    facts = ENGINE.compile(tmp_path / "int8.onnx", {}, tmp_path / "engine.onnx", tmp_path)
    assert facts.get("fused_attention") == expected_cores(exported.family)
    found = operators(tmp_path / "engine.onnx")
    assert found["MatMulInteger"] == operators(tmp_path / "int8.onnx")["MatMulInteger"]
    (batch,) = rows(1)
    answers = [ENGINE.open(tmp_path / f"{name}.onnx").run(batch)["embedding_output"] for name in ("int8", "engine")]
    # A rounding that falls the other way is a step of INT8, so only the directions agree.
    cosines = (answers[0] * answers[1]).sum(axis=1) / np.prod([np.linalg.norm(it, axis=1) for it in answers], axis=0)
    assert cosines.min() > 0.99
