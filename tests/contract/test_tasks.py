"""What every task keeps to."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from tritonpack.core.tensors import Tolerance
from tritonpack.engines import ENGINES
from tritonpack.stages.raggedize import ragged_inputs, row_lengths
from tritonpack.stages.verify import MASK

SHAPES = [(1, 1), (2, 7), (5, 30), (4, 32)]


@pytest.mark.parametrize(("batch", "length"), SHAPES)
def test_sample_inputs_are_what_the_signature_says(exported, batch, length):
    inputs, _ = exported.task.signature(exported.config)
    sample = exported.inputs(batch, length)
    assert list(sample) == [spec.name for spec in inputs]
    for spec in inputs:
        assert spec.shape == ("batch", "sequence")
        assert (sample[spec.name].shape, str(sample[spec.name].dtype)) == ((batch, length), spec.dtype)


def test_samples_hold_rows_of_several_lengths_and_padding_at_the_end(exported):
    mask = exported.inputs(8, 30)[MASK]
    lengths = mask.sum(axis=1)
    assert lengths.max() == 30
    assert len(set(lengths.tolist())) > 3
    assert np.array_equal(mask, np.arange(30)[None] < lengths[:, None])


def test_samples_come_from_the_seed_alone(exported):
    one, same, other = (exported.inputs(4, 9, seed) for seed in (1, 1, 2))
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert any(not np.array_equal(one[name], other[name]) for name in one)


def test_ids_are_within_the_vocabulary(exported):
    ids = exported.inputs(16, 32)["input_ids"]
    assert ids.min() >= 0
    assert exported.config["vocab_size"] > ids.max() > exported.config["vocab_size"] // 2


@pytest.mark.parametrize(("batch", "length"), SHAPES)
def test_the_wrapped_module_gives_what_the_signature_says(exported, batch, length):
    _, outputs = exported.task.signature(exported.config)
    answers = exported.answers(exported.inputs(batch, length))
    for spec in outputs:
        array = answers[spec.name]
        assert str(array.dtype) == spec.dtype
        assert array.ndim == len(spec.shape)
        sizes = {"batch": batch, "sequence": length}
        for axis, size in zip(spec.shape, array.shape, strict=True):
            assert size == sizes.get(axis, size)
        assert np.isfinite(array).all()


def test_the_graph_has_the_signatures_names_and_dynamic_axes(exported):
    inputs, outputs = exported.task.signature(exported.config)
    assert [spec["name"] for spec in exported.facts["inputs"]] == [spec.name for spec in inputs]
    assert all(spec["shape"] == ["batch", "sequence"] for spec in exported.facts["inputs"])
    for told, spec in zip(exported.facts["outputs"], outputs, strict=True):
        assert (told["name"], told["dtype"]) == (spec.name, spec.dtype)
        assert told["shape"][0] == "batch"


@pytest.mark.parametrize(("batch", "length"), SHAPES)
def test_the_graph_answers_as_pytorch_does(exported, batch, length):
    inputs = exported.inputs(batch, length)
    answers = ENGINES.get("onnxruntime").open(exported.onnx).run(inputs)
    for name, expected in exported.answers(inputs).items():
        agreement = exported.task.agreement(expected, answers[name])
        assert Tolerance(max_abs_error=1e-4, min_cosine=0.9999).violation(agreement) == ""


@pytest.mark.parametrize(("batch", "length"), SHAPES)
def test_the_ragged_graph_answers_as_pytorch_does(exported, batch, length):
    inputs = exported.inputs(batch, length)
    answers = ENGINES.get("onnxruntime").open(exported.ragged).run(ragged_inputs(inputs, row_lengths(inputs[MASK])))
    for name, expected in exported.answers(inputs).items():
        agreement = exported.task.agreement(expected, answers[name])
        assert Tolerance(max_abs_error=1e-4, min_cosine=0.9999).violation(agreement) == ""


def test_padding_changes_no_answer(exported):
    inputs = exported.inputs(1, 6)
    wider = {name: np.pad(array, ((0, 0), (0, 9))) for name, array in inputs.items()}
    for name, expected in exported.answers(inputs).items():
        assert np.allclose(exported.answers(wider)[name], expected, atol=1e-5)


def test_agreement_tells_right_from_wrong(exported):
    gate = Tolerance(max_abs_error=1e-3, min_cosine=0.999)
    for expected in exported.answers(exported.inputs(4, 9)).values():
        assert gate.violation(exported.task.agreement(expected, expected)) == ""
        assert gate.violation(exported.task.agreement(expected, -expected)) != ""
        assert gate.violation(exported.task.agreement(expected, np.full_like(expected, np.nan))) != ""


def test_the_ensembles_outputs_are_the_graphs(exported):
    names = {spec["name"] for spec in exported.facts["outputs"]}
    assert exported.task.answers
    assert set(exported.task.answers.values()) <= names


def test_options_refuse_what_they_dont_know(exported):
    options = exported.task.options
    kind = options.model_json_schema()["properties"]["kind"]["const"]
    assert options(kind=kind).kind == kind
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        options(kind=kind, unknown=1)
