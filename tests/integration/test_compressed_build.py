"""Smaller models through the whole pipeline."""

from __future__ import annotations

import onnx
import pytest
from tiny_bert import unlabelled

from tritonpack.core.errors import RecipeError, VerificationError


def facts_of(result, stage):
    return next(step["facts"] for step in result.targets[0].lineage if step["stage"] == stage)


def outcomes(result):
    return {step.outcome.value for step in result.steps}


def compressed(project, *steps, **changes):
    return project.build("fp32", compress=list(steps), **changes)


def engine_of(project, version=1):
    return onnx.load(project.repository / "tiny_encoder" / str(version) / "fp32.onnx")


def weights_of(model):
    """The matrices of products by name."""
    names = {node.input[1] for node in model.graph.node if node.op_type == "MatMul"}
    tensors = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    return {name: tensors[name] for name in names & tensors.keys()}


def test_a_pruned_model_builds(project):
    result = compressed(project, {"kind": "prune", "sparsity": 0.5})
    assert [report["status"] for report in result.targets[0].verification] == ["verified"] * 4
    facts = facts_of(result, "compress")
    assert facts["parameters_after"] == facts["parameters_before"]
    weights = weights_of(engine_of(project))
    assert len(weights) == 12
    for weight in weights.values():
        assert (weight == 0).mean() == pytest.approx(0.5, abs=0.01)
    again = compressed(project, {"kind": "prune", "sparsity": 0.5})
    assert outcomes(again) == {"hit"}


def test_a_distilled_and_pruned_model_builds(project):
    steps = ({"kind": "distill", "layers": 1, "steps": 4}, {"kind": "prune", "pattern": "2:4"})
    result = compressed(project, *steps, training=project.document["calibration"])
    assert [report["status"] for report in result.targets[0].verification] == ["verified"] * 4
    stages = [step["stage"] for step in result.targets[0].lineage]
    assert stages.count("compress") == 2
    assert "training" in stages
    assert facts_of(result, "compress")["parameters_after"] < facts_of(result, "compress")["parameters_before"]
    weights = weights_of(engine_of(project))
    assert len(weights) == 6
    assert all((weight.T.reshape(-1, 4) == 0).sum(axis=1).min() == 2 for weight in weights.values())


def test_training_without_rows_is_refused(project):
    with pytest.raises(RecipeError, match="training: missing, but `compress` learns from unlabelled rows"):
        compressed(project, {"kind": "distill", "layers": 1, "steps": 4})
    assert not project.repository.exists()


def test_a_compressed_model_is_held_against_the_model_as_it_came(project):
    gate = {"dataset": unlabelled(project.root), "max_drop": 1e-4}
    steps = [{"kind": "distill", "layers": 1, "steps": 0}]
    with pytest.raises(VerificationError, match=r"onnxruntime fp32: cosine falls from 1\.0000 \(FP32\) to 0\."):
        compressed(project, *steps, gates={"accuracy": gate})
    assert not project.repository.exists()
