"""What every kind of input keeps to, and that its served code, the graph and the answers' code fit together."""

from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError
from tiny_bert import write_tokenizer
from tiny_modules import LENGTH, OPTIONS, tiny_request, tiny_traits

from tritonpack.core.tensors import Tolerance
from tritonpack.engines import ENGINES
from tritonpack.inputs import INPUTS
from tritonpack.repository.config import DATA_TYPES
from tritonpack.stages.assemble import steps_of
from tritonpack.stages.rows import graph_tensors, joined, rows_of

SHAPES = [(1, 1), (2, 7), (5, 30), (4, 32)]
CASES = {**{name: {} for name in INPUTS.names()}, "waveform of one window": {"window": 24}}


class Given:
    """An input and what a recipe says of it."""

    def __init__(self, case):
        self.kind = case.partition(" ")[0]
        self.input = INPUTS.get(self.kind)
        self.options = self.input.options(kind=self.kind, **{**OPTIONS.get(self.kind, {}), **CASES[case]})
        self.more = CASES[case]
        self.traits = tiny_traits(self.kind)
        self.specs = self.input.graph_inputs(self.options, self.traits)
        self.axes = self.input.axes(self.options, self.traits)

    def sample(self, batch, length, seed=0):
        return self.input.sample(np.random.default_rng(seed), batch, length, self.options, self.traits)


@pytest.fixture(params=CASES)
def given(request):
    return Given(request.param)


@pytest.mark.parametrize(("batch", "length"), SHAPES)
def test_samples_are_what_the_graph_takes(given, batch, length):
    sample = given.sample(batch, length)
    assert list(sample.inputs) == [spec.name for spec in given.specs]
    assert set(sample.lengths) == {axis.name for axis in given.axes}
    for spec in given.specs:
        array = sample.inputs[spec.name]
        assert str(array.dtype) == spec.dtype
        named, rest = spec.shape[0], spec.shape[1:]
        assert (named, array.shape[0]) == ("batch", batch)
        assert len(rest) == array.ndim - 1
        for axis, size in zip(rest, array.shape[1:], strict=True):
            assert size == (axis if isinstance(axis, int) else max(sample.lengths[axis]))


def test_samples_hold_rows_of_several_lengths_and_padding_at_the_end(given):
    sample = given.sample(8, 30)
    for axis in given.axes:
        lengths = sample.lengths[axis.name]
        assert lengths.dtype == np.int64
        assert len(set(lengths.tolist())) > 3
        assert axis.least <= lengths.min() <= lengths.max() <= axis.longest
        real = np.arange(lengths.max())[None] < lengths[:, None]
        assert np.array_equal(sample.inputs[axis.mask], real)
        for name, fill in axis.pads.items():
            assert (sample.inputs[name][~real] == fill).all()
            assert len(np.unique(sample.inputs[name][real])) > 1 or name in {axis.mask, "token_type_ids"}


def test_the_longest_row_reaches_every_axis(given):
    """A graph of one length is traced with it."""
    sample = given.sample(3, LENGTH)
    assert {int(max(sample.lengths[axis.name])) for axis in given.axes} <= {LENGTH}


def test_samples_come_from_the_seed_alone(given):
    one, same, other = (given.sample(4, 9, seed).inputs for seed in (1, 1, 2))
    assert all(np.array_equal(one[name], same[name]) for name in one)
    assert any(not np.array_equal(one[name], other[name]) for name in one)


def test_ids_are_within_the_vocabulary(given):
    size = given.traits.config["vocab_size"]
    for name, array in given.sample(16, 32).inputs.items():
        if name.endswith("input_ids"):
            assert array.min() >= 0
            assert size > array.max() > size // 2


def test_axes_name_inputs_of_the_graph_and_pad_every_named_axis(given):
    ragged = {name: axis.name for axis in given.axes for name in axis.pads}
    assert all(axis.mask in axis.pads for axis in given.axes)
    assert all(1 <= axis.least <= axis.longest <= LENGTH for axis in given.axes)
    for spec in given.specs:
        assert (
            spec.shape == ("batch", ragged[spec.name])
            if spec.name in ragged
            else all(isinstance(axis, int) for axis in spec.shape[1:])
        )


def test_tensors_are_of_types_that_triton_knows(given):
    for spec in (*given.input.public, *given.specs, *given.input.details):
        assert spec.dtype in DATA_TYPES
        assert spec.shape[0] == "batch"
    names = [spec.name for spec in (*given.input.public, *given.specs, *given.input.details)]
    assert len(set(names)) == len(names)


def test_options_refuse_what_they_dont_know(given):
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        given.input.options(kind=given.kind, **OPTIONS.get(given.kind, {}), unknown=1)


def tensors_are(arrays, specs, rows):
    assert set(arrays) == {spec.name for spec in specs}
    for spec in specs:
        array = arrays[spec.name]
        assert array.dtype == (object if spec.dtype == "bytes" else np.dtype(spec.dtype)), spec.name
        assert array.shape[0] == rows
        assert array.ndim == len(spec.shape), spec.name
        assert all(
            isinstance(wanted, str) or size == wanted for wanted, size in zip(spec.shape, array.shape, strict=True)
        )
        if spec.dtype == "bytes":
            assert all(isinstance(value, bytes) for value in array.reshape(-1))


def stage_of(step, folder):
    from importlib import import_module

    return import_module(f"tritonpack.repository.python_models.{step.file}").Stage(folder, dict(step.parameters))


def test_a_request_goes_through_the_served_code_the_model_and_the_answers_code(model, tmp_path):
    write_tokenizer(tmp_path)
    answer = model.task.answer(model.options, model.traits)
    steps = steps_of(model.input, model.input_options, model.traits, {}, answer, tuple(model.outputs))
    rows = 3
    request = tiny_request(model.input.public, rows)
    (given,) = stage_of(steps.before, tmp_path).run([request])
    assert not isinstance(given, str), given
    tensors_are(given, steps.before.outputs, rows)
    outputs = model.run({spec.name: given[spec.name] for spec in model.inputs})
    if steps.after is None:
        assert set(steps.renames.values()) == set(outputs)
        return
    taken = {spec.name: {**request, **given, **outputs}[spec.name] for spec in steps.after.inputs}
    (answered,) = stage_of(steps.after, tmp_path).run([taken])
    assert not isinstance(answered, str), answered
    tensors_are(answered, steps.after.outputs, rows)


@pytest.mark.parametrize("case", CASES)
def test_the_exported_graphs_answer_as_pytorch_does(make_exported, case):
    given = Given(case)
    task = next(name for name in ("classification", "question_answering") if given.kind in inputs_of(name))
    exported = make_exported(task, given.kind, **given.more)
    gate = Tolerance(max_abs_error=1e-4, min_cosine=0.9999)
    plain, ragged = (ENGINES.get("onnxruntime").open(file) for file in (exported.onnx, exported.ragged))
    for batch, length in SHAPES:
        case = exported.case(batch, length)
        for answers in (plain.run(case.inputs), ragged.run(exported.ragged_inputs(case))):
            assert {gate.violation(found) for found in exported.agreements(case, answers)} == {""}


def inputs_of(task):
    from tritonpack.tasks import TASKS

    return TASKS.get(task).inputs


@pytest.mark.parametrize("case", CASES)
def test_rows_of_requests_are_the_graphs_inputs(case, tmp_path):
    """As calibration and evaluation make them."""
    given = Given(case)
    tokenizer = write_tokenizer(tmp_path) if given.input.needs_tokenizer else None
    requests = [tiny_request(given.input.public, 1, seed) for seed in range(5)]
    parameters = {
        **given.input.parameters(given.options, given.traits),
        "outputs": ",".join(s.name for s in given.specs),
    }
    made = graph_tensors(requests, tokenizer, file=given.input.file, parameters=parameters)
    inputs, lengths = joined([row for tensors in made for row in rows_of(tensors)], given.axes)
    assert set(inputs) == {spec.name for spec in given.specs}
    for spec in given.specs:
        assert (len(inputs[spec.name]), str(inputs[spec.name].dtype)) == (5, spec.dtype)
    for axis in given.axes:
        real = np.arange(max(lengths[axis.name]))[None] < lengths[axis.name][:, None]
        assert np.array_equal(inputs[axis.mask], real)
