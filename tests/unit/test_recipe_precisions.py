"""What a recipe says about precisions: compressions before them, their data, their gates, what they fall back to."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tritonpack.core.tensors import Tolerance
from tritonpack.precisions import PRECISIONS
from tritonpack.recipe import recipe_from_document

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_recipe import SMALLEST, changed, refused


@pytest.mark.parametrize(
    ("step", "where", "nearest"),
    [
        ({"kind": "distill", "layers": 1, "layer": 1}, "compress.0.layer", "layers"),
        ({"kind": "prune", "sparcity": 0.5}, "compress.0.sparcity", "sparsity"),
        ({"kind": "prune", "batches": 8}, "compress.0.batches", "batch"),
    ],
)
def test_an_unknown_key_of_a_compression_is_refused_with_its_place_and_the_nearest(step, where, nearest):
    error = refused({**SMALLEST, "compress": [step]})
    assert f"  {where}: unknown key" in error.message.splitlines()
    assert error.hint == f"Did you mean '{nearest}'?"


@pytest.mark.parametrize(
    ("step", "words"),
    [
        ({"kind": "distill"}, "  compress.1.layers: missing"),
        ({"kind": "distill", "layers": 0}, "  compress.1.layers"),
        ({"kind": "distill", "layers": [2, 1]}, "  compress.1.layers: the list of layers has to ascend"),
        ({"kind": "prune", "sparsity": 1}, "  compress.1.sparsity: "),
        ({"layers": 1}, "  compress.1.kind: missing"),
    ],
)
def test_what_is_wrong_with_a_compression_names_its_place_in_the_list(step, words):
    message = refused({**SMALLEST, "compress": [{"kind": "prune"}, step]}).message
    assert any(line.startswith(words) for line in message.splitlines()), message


def test_compressions_are_kept_in_their_order():
    steps = [{"kind": "distill", "layers": 1}, {"kind": "prune", "sparsity": 0.3}]
    recipe = recipe_from_document({**SMALLEST, "compress": steps})
    assert [step.kind for step in recipe.compress] == ["distill", "prune"]
    assert recipe_from_document(SMALLEST).compress == ()


def test_a_fallback_that_needs_calibration_data_asks_for_it():
    document = changed("targets.cpu", {"engine": "onnxruntime", "precision": "fp16", "fallback": ["int8"]})
    assert "targets.cpu.precision is int8, which needs calibration data" in refused(document).message


FILE, DATASET = {"file": "texts.txt"}, {"dataset": {"kind": "labelled", "file": "rows.jsonl", "label": None}}


@pytest.mark.parametrize("field", ["calibration", "training"])
@pytest.mark.parametrize("given", [{}, {**FILE, **DATASET}, {"samples": 9}], ids=["neither", "both", "samples alone"])
def test_rows_come_from_a_file_or_a_data_set(field, given):
    assert f"  {field}: it takes either file or dataset" in refused({**SMALLEST, field: given}).message


@pytest.mark.parametrize("field", ["calibration", "training"])
@pytest.mark.parametrize("given", [FILE, DATASET], ids=["file", "dataset"])
def test_either_will_do(field, given):
    spec = getattr(recipe_from_document({**SMALLEST, field: given}), field)
    assert (spec.file, spec.dataset is None) == (given.get("file"), "dataset" not in given)
    assert spec.samples == 256


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_quantization_of_what_has_no_products_to_choose_is_refused(precision):
    target = {"engine": "onnxruntime", "precision": precision, "quantization": {"layers": "all"}}
    message = refused(changed("targets.cpu", target)).message
    assert f"quantization is given, but precision {precision} leaves no product to choose" in message
    later = {**target, "fallback": ["int8_dynamic"]}
    assert recipe_from_document(changed("targets.cpu", later)).targets["cpu"].quantization.layers == "all"


def test_layers_are_searched_and_ranges_too_unless_a_recipe_says_otherwise():
    target = recipe_from_document(SMALLEST).targets["cpu"]
    assert target.quantization.model_dump() == {
        "layers": "search", "trials": 64, "calibrator": "search", "smoothing": 0.8,
    }  # fmt: skip
    given = {"layers": "all", "trials": 3, "calibrator": "entropy", "smoothing": None}
    document = changed("targets.cpu", {"engine": "onnxruntime", "precision": "int8_dynamic", "quantization": given})
    assert recipe_from_document(document).targets["cpu"].quantization.model_dump() == given


@pytest.mark.parametrize(
    ("field", "value"), [("layers", "some"), ("trials", 0), ("calibrator", "histogram"), ("smoothing", 1.1)]
)
def test_a_bad_value_of_quantization_is_named(field, value):
    target = {"engine": "onnxruntime", "precision": "int8_dynamic", "quantization": {field: value}}
    error = refused(changed("targets.cpu", target))
    assert error.context["fields"] == [f"targets.cpu.quantization.{field}"]
    assert f"(it is {value!r})" in error.message


def test_a_target_tries_its_precision_and_then_what_it_falls_back_to():
    document = changed(
        "targets.cpu", {"engine": "onnxruntime", "precision": "int8_dynamic", "fallback": ["fp16", "fp32"]}
    )
    assert recipe_from_document(document).targets["cpu"].precisions == ("int8_dynamic", "fp16", "fp32")
    assert recipe_from_document(SMALLEST).targets["cpu"].precisions == ("fp32",)


def test_a_precision_has_its_own_gate_within_the_targets():
    document = changed("targets.cpu.fallback", ["fp16"], changed("gates.parity.cpu", {"mean_cosine": 0.9}))
    recipe = recipe_from_document(document)
    assert recipe.tolerance("cpu") == Tolerance(max_abs_error=1e-4, min_cosine=0.9999, mean_cosine=0.9)
    assert recipe.tolerance("cpu", "fp16") == replace(PRECISIONS.get("fp16").tolerance, mean_cosine=0.9)


@pytest.mark.parametrize(("value", "shown"), [(0, "0"), (-1.5, "-1.5"), ("fast", "'fast'")])
def test_a_speedup_is_a_factor(value, shown):
    error = refused({**SMALLEST, "gates": {"min_speedup": value}})
    assert error.context["fields"] == ["gates.min_speedup"]
    assert f"(it is {shown})" in error.message


@pytest.mark.parametrize("value", [None, 0.5, 2])
def test_a_precision_has_to_pay_unless_slower_will_do(value):
    assert recipe_from_document(SMALLEST).gates.min_speedup == 1.05
    assert recipe_from_document({**SMALLEST, "gates": {"min_speedup": value}}).gates.min_speedup == value


@pytest.mark.parametrize(
    ("gate", "field"), [({"max_drop": 0.1}, "dataset"), ({"dataset": {"kind": "lee"}}, "max_drop")]
)
def test_an_accuracy_gate_needs_data_and_a_budget(gate, field):
    assert f"  gates.accuracy.{field}: missing" in refused({**SMALLEST, "gates": {"accuracy": gate}}).message
