"""What every task, input, precision and engine is tried on: tiny models, each exported once."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_modules import LENGTH, OPTIONS, tiny_module, tiny_traits

from tritonpack.inputs import INPUTS
from tritonpack.stages.export import Traced, onnx_from_module
from tritonpack.stages.raggedize import ragged_from_onnx, ragged_inputs
from tritonpack.stages.reference import Case
from tritonpack.tasks import TASKS

if TYPE_CHECKING:
    from tritonpack.core.model import ModelTraits, RaggedAxis
    from tritonpack.core.tensors import Tensors, TensorSpec
    from tritonpack.inputs import Input, Sample
    from tritonpack.tasks import Task

PAIRS = [(task, kind) for task in TASKS.names() for kind in TASKS.get(task).inputs]
"""Every task with every input that it takes."""


@dataclass(frozen=True)
class Model:
    """A task's tiny model on one kind of input."""

    task: Task
    options: Any
    input: Input
    input_options: Any
    traits: ModelTraits
    module: Any

    @property
    def inputs(self) -> list[TensorSpec]:
        return self.input.graph_inputs(self.input_options, self.traits)

    @property
    def outputs(self) -> list[TensorSpec]:
        return self.task.outputs(self.options, self.traits)

    @property
    def axes(self) -> list[RaggedAxis]:
        return self.input.axes(self.input_options, self.traits)

    def sample(self, rng: np.random.Generator, batch: int, length: int) -> Sample:
        sample = self.input.sample(rng, batch, length, self.input_options, self.traits)
        return type(sample)(self.task.prepare(rng, sample.inputs, self.traits), sample.lengths)

    def run(self, inputs: Tensors) -> Tensors:
        """PyTorch's answers."""
        import torch

        with torch.no_grad():
            answer = self.module(*(torch.from_numpy(inputs[spec.name]) for spec in self.inputs))
        arrays = answer if isinstance(answer, tuple) else (answer,)
        return {spec.name: array.numpy() for spec, array in zip(self.outputs, arrays, strict=True)}

    def case(self, batch: int, length: int, seed: int = 0) -> Case:
        """A sample and PyTorch's answers to it."""
        sample = self.sample(np.random.default_rng(seed), batch, length)
        return Case(sample.inputs, sample.lengths, self.run(sample.inputs))

    def ragged_inputs(self, case: Case) -> Tensors:
        return ragged_inputs(case.inputs, self.axes, case.lengths)

    def agreements(self, case: Case, answers: Tensors) -> list[Any]:
        """Of each output, what stands at padding left out."""
        return [
            self.task.agreement(case.kept(case.outputs[spec.name], spec), case.kept(answers[spec.name], spec))
            for spec in self.outputs
        ]


@dataclass(frozen=True)
class Exported(Model):
    """With its graph and its graph with the ragged head."""

    onnx: Path
    ragged: Path
    facts: dict[str, Any]


def make_model(task_name: str, kind: str, **more: Any) -> Model:
    task, input_, traits = TASKS.get(task_name), INPUTS.get(kind), tiny_traits(kind)
    options = task.options(kind=task_name)
    input_options = input_.options(kind=kind, **{**OPTIONS.get(kind, {}), **more})
    names = [spec.name for spec in input_.graph_inputs(input_options, traits)]
    module = task.wrap(tiny_module(task.auto_class, kind), names, options, traits)
    return Model(task, options, input_, input_options, traits, module)


@pytest.fixture(scope="session")
def make_exported(tmp_path_factory):
    """By names of task and input, and more of the recipe's fields for the input; each is exported once."""
    made: dict[Any, Exported] = {}

    def make(task: str, kind: str | None = None, **more: Any) -> Exported:
        kind = kind or TASKS.get(task).inputs[0]
        key = (task, kind, *more.items())
        if key not in made:
            model = make_model(task, kind, **more)
            folder = tmp_path_factory.mktemp(f"{task}-{kind}")
            onnx, ragged = folder / "model.onnx", folder / "ragged.onnx"
            traced = Traced(model.sample, model.inputs, model.outputs, dynamic=True, length=LENGTH)
            facts = onnx_from_module(model.module, traced, opset=20, out=onnx)
            ragged_from_onnx(onnx, axes=model.axes, out=ragged)
            made[key] = Exported(**vars(model), onnx=onnx, ragged=ragged, facts=facts)
        return made[key]

    return make


@pytest.fixture(scope="session", params=TASKS.names())
def exported(request, make_exported):
    """The model of every task in turn, on its usual input."""
    return make_exported(request.param)


@pytest.fixture(scope="session", params=PAIRS, ids=["-".join(pair) for pair in PAIRS])
def model(request):
    """The model of every task in turn, on every input that it takes."""
    return make_model(*request.param)
