"""What every task, precision and engine is tried on: tiny models of every task, exported once."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_bert import tiny_config, tiny_model

from tritonpack.stages.export import onnx_from_module
from tritonpack.stages.raggedize import ragged_from_onnx
from tritonpack.tasks import TASKS

if TYPE_CHECKING:
    from tritonpack.core.tensors import Tensors
    from tritonpack.tasks import Task

LENGTH = 32


@dataclass(frozen=True)
class Exported:
    """A task's tiny model: the module, its graph and its graph with the ragged head."""

    task: Task
    module: Any
    config: dict[str, Any]
    onnx: Path
    ragged: Path
    facts: dict[str, Any]

    def inputs(self, batch: int, length: int, seed: int = 0) -> Tensors:
        return self.task.sample_inputs(np.random.default_rng(seed), batch, length, self.config)

    def answers(self, inputs: Tensors) -> Tensors:
        """PyTorch's."""
        import torch

        names, outputs = self.task.signature(self.config)
        with torch.no_grad():
            answer = self.module(*(torch.from_numpy(inputs[spec.name]) for spec in names))
        arrays = answer if isinstance(answer, tuple) else (answer,)
        return {spec.name: array.numpy() for spec, array in zip(outputs, arrays, strict=True)}


@pytest.fixture(scope="session")
def make_exported(tmp_path_factory):
    """By task name; each is exported once."""
    made: dict[str, Exported] = {}

    def make(name: str) -> Exported:
        if name not in made:
            task, config = TASKS.get(name), tiny_config().to_dict()
            folder = tmp_path_factory.mktemp(name)
            module = task.wrap(tiny_model(task.auto_class), task.options(kind=name))
            onnx, ragged = folder / "model.onnx", folder / "ragged.onnx"
            facts = onnx_from_module(
                module, task, config, opset=20, dynamic_axes=("batch", "sequence"), length=LENGTH, out=onnx
            )
            pads = {spec.name: 0 for spec in task.signature(config)[0]}
            ragged_from_onnx(onnx, pads=pads, length=LENGTH, dynamic=True, out=ragged)
            made[name] = Exported(task, module, config, onnx, ragged, facts)
        return made[name]

    return make


@pytest.fixture(scope="session", params=TASKS.names())
def exported(request, make_exported):
    """The model of every task in turn."""
    return make_exported(request.param)
