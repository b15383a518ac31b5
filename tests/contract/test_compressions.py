"""What every compression keeps to, on every task: reshape fits what was trained, a seed gives the same bytes."""

from __future__ import annotations

import copy
import json
import math

import numpy as np
import pytest
import torch

from tritonpack.compressions import COMPRESSIONS
from tritonpack.core.errors import RecipeError
from tritonpack.stages.compress import load_compressed, weights_from_compression

SHAPES = [(4, 5), (4, 9), (4, 14), (3, 3), (4, 20), (2, 30)]
LEAST = {"distill": {"layers": 1}, "prune": {"modules": ["*"]}}
"""What a recipe has to say of a kind, so that it fits every tiny model."""
LEARNING = {"steps": 4, "batch": 4, "rate": 1e-3}


@pytest.fixture(params=COMPRESSIONS.names())
def step(request):
    """A kind of compression and its options."""
    kind = COMPRESSIONS.get(request.param)
    return kind, kind.options(kind=request.param, **LEAST.get(request.param, {}), **LEARNING)


@pytest.fixture
def one_thread():
    """The order of sums decides the last bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def compressed(model, step, out):
    """The student and what the stage said of it."""
    batches = [model.case(*shape).inputs for shape in SHAPES]
    names = [spec.name for spec in model.inputs]
    student = copy.deepcopy(model.module)
    return student, weights_from_compression(student, model.module, *step, batches, names, model.outputs, out=out)


@pytest.fixture
def _has_what_it_takes(model, step):
    if step[1].kind == "distill" and not any(isinstance(part, torch.nn.ModuleList) for part in model.module.modules()):
        with pytest.raises(RecipeError, match="no list of equal layers"):
            step[0].reshape(copy.deepcopy(model.module), step[1])
        pytest.skip("the model has no layers to drop, and is refused")


@pytest.mark.usefixtures("_has_what_it_takes")
def test_the_weights_load_into_a_module_that_was_reshaped_anew(model, step, tmp_path):
    student, facts = compressed(model, step, tmp_path / "weights")
    loaded = load_compressed(copy.deepcopy(model.module), [step], tmp_path / "weights")
    for shape in SHAPES:
        inputs = [torch.from_numpy(model.case(*shape).inputs[spec.name]) for spec in model.inputs]
        with torch.no_grad():
            one, other = student(*inputs), loaded(*inputs)
        pairs = zip(one, other, strict=True) if isinstance(one, tuple) else [(one, other)]
        assert all(torch.equal(*pair) for pair in pairs)
    assert facts["parameters_after"] <= facts["parameters_before"]
    assert facts["losses"]["best"] <= facts["losses"]["first"]
    assert all(math.isfinite(loss) for loss in facts["losses"].values())
    assert json.loads(json.dumps(facts)) == facts


@pytest.mark.usefixtures("_has_what_it_takes", "one_thread")
def test_a_seed_gives_the_same_bytes_and_leaves_teacher_and_chance_alone(model, step, tmp_path):
    before, chance = model.case(4, 9).outputs, torch.random.get_rng_state()
    for name in ("one", "two"):
        compressed(model, step, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert torch.equal(torch.random.get_rng_state(), chance)
    assert all(np.array_equal(before[name], now) for name, now in model.case(4, 9).outputs.items())


def test_data_is_needed_for_training_alone(step):
    kind, options = step
    assert kind.needs_data(options)
    assert not kind.needs_data(options.model_copy(update={"steps": 0}))


def test_every_field_is_described(step):
    fields = {name: field for name, field in step[1].__class__.model_fields.items() if name != "kind"}
    assert all(field.description for field in fields.values())
