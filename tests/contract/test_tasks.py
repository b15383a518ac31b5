"""What every task keeps to."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from tritonpack.core.tensors import Tolerance
from tritonpack.engines import ENGINES
from tritonpack.inputs import INPUTS
from tritonpack.repository import python_models

SHAPES = [(1, 1), (2, 7), (5, 30), (4, 32)]
AS_PYTORCH = Tolerance(max_abs_error=1e-4, min_cosine=0.9999)
CODE = Path(python_models.__file__).parent


@pytest.mark.parametrize(("batch", "length"), SHAPES)
def test_the_wrapped_module_gives_what_the_task_declares(model, batch, length):
    case = model.case(batch, length)
    sizes = {"batch": batch, "sequence": max(map(max, case.lengths.values()), default=0)}
    assert list(case.outputs) == [spec.name for spec in model.outputs]
    for spec in model.outputs:
        array = case.outputs[spec.name]
        assert str(array.dtype) == spec.dtype
        assert array.ndim == len(spec.shape)
        assert spec.shape[0] == "batch"
        for axis, size in zip(spec.shape, array.shape, strict=True):
            assert size == (axis if isinstance(axis, int) else sizes.get(axis, size))
        assert np.isfinite(array).all()


def test_the_graph_has_the_declared_names_and_axes(exported):
    for told, specs in ((exported.facts["inputs"], exported.inputs), (exported.facts["outputs"], exported.outputs)):
        assert [(spec["name"], spec["dtype"]) for spec in told] == [(spec.name, spec.dtype) for spec in specs]
        for spec, declared in zip(told, specs, strict=True):
            for axis, named in zip(spec["shape"], declared.shape, strict=True):
                assert axis == named or (isinstance(axis, int) and named not in {"batch", "sequence"})


@pytest.mark.parametrize(("batch", "length"), SHAPES)
def test_the_graph_answers_as_pytorch_does(exported, batch, length):
    case = exported.case(batch, length)
    answers = ENGINES.get("onnxruntime").open(exported.onnx).run(case.inputs)
    assert [AS_PYTORCH.violation(found) for found in exported.agreements(case, answers)] == [""] * len(answers)


@pytest.mark.parametrize(("batch", "length"), SHAPES)
def test_the_ragged_graph_answers_as_pytorch_does(exported, batch, length):
    case = exported.case(batch, length)
    answers = ENGINES.get("onnxruntime").open(exported.ragged).run(exported.ragged_inputs(case))
    assert [AS_PYTORCH.violation(found) for found in exported.agreements(case, answers)] == [""] * len(answers)


def test_padding_changes_no_answer(model):
    case = model.case(1, 6)
    wider = dict(case.inputs)
    for axis in model.axes:
        for name, fill in axis.pads.items():
            wider[name] = np.pad(wider[name], ((0, 0), (0, 9)), constant_values=fill)
    answers = model.run(wider)
    for spec in model.outputs:
        expected = case.outputs[spec.name]
        cut = answers[spec.name][tuple(slice(size) for size in expected.shape)]
        assert np.allclose(cut, expected, atol=1e-5)


def test_agreement_tells_right_from_wrong(model):
    gate, case = Tolerance(max_abs_error=1e-3, min_cosine=0.999), model.case(4, 9)
    for spec in model.outputs:
        expected = case.kept(case.outputs[spec.name], spec)
        assert gate.violation(model.task.agreement(expected, expected)) == ""
        assert gate.violation(model.task.agreement(expected, -expected)) != ""
        assert gate.violation(model.task.agreement(expected, np.full_like(expected, np.nan))) != ""


def test_agreement_of_one_number_is_its_error(model):
    one = np.array([[0.25]], np.float32)
    assert AS_PYTORCH.violation(model.task.agreement(one, one)) == ""
    assert AS_PYTORCH.violation(model.task.agreement(one, one + 0.01)) != ""
    assert AS_PYTORCH.violation(model.task.agreement(one, one * np.nan)) != ""


def test_prepared_inputs_keep_names_types_shapes_and_padding(model):
    rng = np.random.default_rng(4)
    sample = model.input.sample(rng, 6, 20, model.input_options, model.traits)
    prepared = model.task.prepare(rng, sample.inputs, model.traits)
    assert prepared.keys() == sample.inputs.keys()
    for name, array in sample.inputs.items():
        assert (prepared[name].shape, prepared[name].dtype) == (array.shape, array.dtype)
    for axis in model.axes:
        padding = sample.inputs[axis.mask] == 0
        assert np.array_equal(prepared[axis.mask], sample.inputs[axis.mask])
        for name, fill in axis.pads.items():
            assert (prepared[name][padding] == fill).all()


def test_an_answer_is_served_code_or_the_graphs_own_outputs(model):
    answer = model.task.answer(model.options, model.traits)
    assert answer.gives
    assert all(spec.shape[0] == "batch" for spec in answer.gives)
    if answer.file is None:
        assert [spec.name for spec in answer.gives] == list(answer.renames)
        assert set(answer.renames.values()) <= {spec.name for spec in model.outputs}
        assert (answer.takes, answer.parameters, answer.needs_tokenizer) == ((), {}, False)
        return
    assert (CODE / f"{answer.file}.py").is_file()
    assert not answer.renames
    known = {spec.name for spec in (*model.input.public, *model.inputs, *model.input.details)}
    assert set(answer.takes) <= known
    assert not set(answer.takes) & {spec.name for spec in model.outputs}
    assert all(isinstance(value, str) for value in answer.parameters.values())


def test_the_graphs_names_are_no_public_ones(model):
    """One ensemble holds both: a tensor of the same name would be two."""
    answer = model.task.answer(model.options, model.traits)
    inner = {spec.name for spec in (*model.inputs, *model.outputs)}
    assert not inner & {spec.name for spec in (*model.input.public, *answer.gives)}


def test_its_inputs_exist_and_the_first_needs_nothing_said(model):
    assert model.task.inputs
    assert set(model.task.inputs) <= set(INPUTS.names())
    first = model.task.inputs[0]
    assert INPUTS.get(first).options(kind=first).kind == first


def test_its_class_and_heads_are_those_of_transformers(model):
    import transformers

    assert inspect.isclass(getattr(transformers, model.task.auto_class))
    for head in model.task.heads:
        assert any(name.endswith(head) for name in dir(transformers)), head


def test_options_refuse_what_they_dont_know(model):
    options = model.task.options
    kind = options.model_json_schema()["properties"]["kind"]["const"]
    assert options(kind=kind).kind == kind
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        options(kind=kind, unknown=1)
