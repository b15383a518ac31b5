"""What the server is shown of a repository: which ensembles one process serves, and with what configuration."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_ensemble import MAX_BATCH, write_ensemble, write_pairs, write_plain_models

from tritonpack.repository.config import InstanceKind
from tritonpack.repository.pbtxt import parse
from tritonpack.server.view import find_pipelines, write_view


@pytest.fixture
def repository(tmp_path):
    return write_ensemble(tmp_path / "models")


def change(file, pattern, text):
    before = file.read_text()
    file.write_text(re.sub(pattern, text, before))
    assert file.read_text() != before


def test_ensembles_of_our_own_steps_are_found(repository):
    write_plain_models(write_pairs(repository))
    found = find_pipelines(repository, None)
    assert {name: pipeline.parts for name, pipeline in found.items()} == {
        "tiny": ["tiny_tokenizer", "tiny_encoder"],
        "pairs": ["pairs_tokenizer", "pairs_encoder"],
    }


def test_the_ensembles_face_and_the_encoders_queue(repository):
    change(repository / "tiny" / "config.pbtxt", r"\Z", "response_cache { enable: true }\n")
    change(repository / "tiny_encoder" / "config.pbtxt", r"(instance_group \{\s*count:) 1", r"\1 3")
    ensemble = parse((repository / "tiny" / "config.pbtxt").read_text())
    encoder = parse((repository / "tiny_encoder" / "config.pbtxt").read_text())
    config = find_pipelines(repository, None)["tiny"].config
    assert (config.name, config.backend, config.platform) == ("tiny", "pipeline", "")
    assert (config.input, config.output, config.max_batch_size) == (ensemble.input, ensemble.output, MAX_BATCH)
    assert config.response_cache == ensemble.response_cache
    assert config.response_cache.enable
    assert config.dynamic_batching == encoder.dynamic_batching
    assert config.dynamic_batching.max_queue_delay_microseconds == 5000
    assert [(group.count, group.kind) for group in config.instance_group] == [(3, InstanceKind.CPU)]
    assert config.model_warmup == ()  # an answer may refuse a row of nothing; the backend warms up its steps


def test_rows_of_any_length_join_as_in_the_first_step(repository):
    tokenizer = repository / "tiny_tokenizer" / "config.pbtxt"
    change(tokenizer, r"(name: \"text\"[^}]*)\}", r"\1 allow_ragged_batch: true }")
    [text] = find_pipelines(repository, None)["tiny"].config.input
    assert text.allow_ragged_batch


def test_the_backend_is_told_of_each_step(repository):
    tokenizer, encoder = find_pipelines(repository, None)["tiny"].steps
    assert (tokenizer["inputs"], encoder["outputs"]) == ({"text": "text"}, {"embedding_output": "embedding"})
    assert tokenizer["config"]["parameters"]["outputs"] == {"string_value": "input_ids,attention_mask"}
    assert (encoder["config"]["backend"], encoder["config"]["default_model_filename"]) == ("onnxruntime", "cpu.onnx")
    file = repository / "tiny_encoder" / encoder["file"]
    assert encoder["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()


def test_a_targets_configurations_are_read(repository):
    encoder = repository / "tiny_encoder"
    (encoder / "configs").mkdir()
    text = (encoder / "config.pbtxt").read_text()
    (encoder / "configs" / "other.pbtxt").write_text(text.replace("cpu.onnx", "other.onnx"))
    step = find_pipelines(repository, "other")["tiny"].steps[1]
    assert (step["file"], step["config"]["default_model_filename"]) == ("configs/other.pbtxt", "other.onnx")
    assert find_pipelines(repository, None)["tiny"].steps[1]["config"]["default_model_filename"] == "cpu.onnx"


def remove(repository):
    (repository / "tiny_encoder" / "config.pbtxt").unlink()


OTHERS = {
    "an encoder on the GPU": lambda models: change(models / "tiny_encoder" / "config.pbtxt", "KIND_CPU", "KIND_GPU"),
    "another engine": lambda models: change(models / "tiny_encoder" / "config.pbtxt", '"onnxruntime"', '"tensorflow"'),
    "code of another's": lambda models: change(models / "tiny_tokenizer" / "1" / "model.py", r"\A", "import os\n"),
    "no code": lambda models: (models / "tiny_tokenizer" / "1" / "model.py").unlink(),
    "a broken configuration": lambda models: change(models / "tiny_encoder" / "config.pbtxt", r"\A", "backend: ["),
    "a field that we don't write": lambda models: change(
        models / "tiny_encoder" / "config.pbtxt", r"\Z", "optimization { priority: PRIORITY_MAX }\n"
    ),
    "a missing step": remove,
    "no encoder": lambda models: change(
        models / "tiny" / "config.pbtxt", r"step \{\s*model_name: \"tiny_encoder\"(?s:.*)", "}"
    ),
}


@pytest.mark.parametrize("case", OTHERS)
def test_another_ensemble_stays_one(repository, case):
    OTHERS[case](repository)
    assert find_pipelines(repository, None) == {}


def test_the_view_has_every_model_and_replaces_the_ensemble_alone(repository, tmp_path):
    write_plain_models(repository)
    (repository / "manifest.json").write_text("{}")
    pipelines, view = find_pipelines(repository, None), tmp_path / "view"
    (view / "stale").mkdir(parents=True)
    write_view(repository, pipelines, view)
    assert {path.name: path.is_symlink() for path in view.iterdir()} == {
        **dict.fromkeys(("tiny_tokenizer", "tiny_encoder", "double", "unbatched", "parts"), True),
        "tiny": False,
    }
    assert (view / "double").resolve() == (repository / "double").resolve()
    assert parse((view / "tiny" / "config.pbtxt").read_text()) == pipelines["tiny"].config
    version = view / "tiny" / "1"
    steps = json.loads((version / "steps.json").read_text())["steps"]
    assert [step["model"] for step in steps] == ["tiny_tokenizer", "tiny_encoder"]
    assert all((version / step["model"] / step["file"]).is_file() for step in steps)
    assert "ensemble" in (repository / "tiny" / "config.pbtxt").read_text()
