"""`evaluate`, `errors` and `debug` of a recipe's targets, through the command line."""

from __future__ import annotations

import json

import pytest
from tiny_bert import accuracy_gate


def test_evaluate_errors_and_debug_say_what_the_targets_are_worth(project):
    project.recipe(gates={"accuracy": accuracy_gate(project.root)})
    document = project.document_of("evaluate", "--target", "int8", "--precision", "int8_dynamic")
    assert (document["recipe"], document["task"]) == ("tiny", "embedding")
    assert [target["target"] for target in document["targets"]] == ["fp32", "int8", "int8_dynamic"]
    fp32, int8, _ = document["targets"]
    assert fp32["score"]["metrics"]["spearman"]["difference"]["value"] == 0
    figure = int8["score"]["metrics"]["spearman"]
    assert figure["low"] <= figure["value"] <= figure["high"]
    assert figure["value"] == pytest.approx(fp32["score"]["metrics"]["spearman"]["value"], abs=0.05)
    assert document["refused"] == {}

    errors = project.document_of("errors", "--target", "int8")
    assert (errors["recipe"], errors["total"], errors["against"]) == ("tiny", 40, "labels")
    assert (errors["baseline"], errors["candidate"], errors["metric"]) == ("fp32", "onnxruntime int8", "spearman")
    assert errors["worse"] == sum(sample["growth"] > 0 for sample in errors["samples"])
    assert errors["changed"] == sum(sample["changed"] for sample in errors["samples"])
    assert sum(part["samples"] for part in errors["slices"] if part["name"] == "length") == 40


def test_debug_finds_where_a_target_parts_from_fp32(project):
    project.recipe()
    within = project.document_of("debug", "--target", "int8")
    assert (within["recipe"], within["candidate"], within["agrees"], within["first"]) == ("tiny", "int8", True, None)
    assert within["outputs"].keys() == {"embedding_output"}
    beyond = project.document_of("debug", "--target", "int8", "--tolerance", "1e-6", "--text", "the cat sat")
    assert beyond["agrees"] is False
    assert "encoder.layer.0.attention.self" in json.dumps(beyond["first"])
    same = project.document_of("debug", "--precision", "fp32", "--text", "the cat sat")
    assert same["agrees"] is True
    assert {layer["total"]["max_abs_error"] for layer in same["layers"]} == {0.0}


def test_evaluate_measures_every_target_and_tells_what_cant_be(project):
    targets = {**project.document["targets"], "bad": {"engine": "tensorrt_rtx", "precision": "int8_dynamic"}}
    project.recipe(targets=targets, gates={"accuracy": accuracy_gate(project.root)})
    document = project.document_of("evaluate")
    assert [target["target"] for target in document["targets"]] == list(project.document["targets"])
    assert "doesn't run precision int8_dynamic" in document["refused"]["bad"]


@pytest.mark.parametrize("verb", ["evaluate", "errors"])
def test_without_labelled_data_nothing_is_measured_nor_made(fresh, verb):
    result = fresh.run(verb)
    assert result.returncode == 2
    assert "gates.accuracy: missing, so there is no labelled data to evaluate on" in " ".join(result.stderr.split())
    assert not (fresh.store / "actions").exists()
