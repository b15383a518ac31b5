"""Whatever is new is one file: throw-away ones of every room are found, offered and build."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import onnxruntime
import pytest
import yaml
from tiny_bert import recipe_document, tiny_model, write_bert, write_recipe, write_texts
from tiny_plugins import COMPRESSION, DATASET, ENGINE, FACTORY, FAMILY, INPUT, PRECISION, SCORER, TASK

from tritonpack.core.digest import digest_of_file
from tritonpack.repository.layout import read_manifest
from tritonpack.repository.pbtxt import parse

PROGRAM = """
import sys
from pathlib import Path
from tritonpack import compressions, engines, families, inputs, precisions, tasks
from tritonpack.evaluation import datasets, scorers
for room in (compressions, datasets, engines, families, inputs, precisions, scorers, tasks):
    room.__path__.append(str(Path(sys.argv[1]) / room.__name__.rpartition(".")[2]))
from tritonpack.cli import main
main(sys.argv[2:])
"""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    root = tmp_path_factory.mktemp("workshop")
    for room, name, text in (
        ("tasks", "loudness", TASK),
        ("inputs", "shout", INPUT),
        ("families", "loudbert", FAMILY),
        ("precisions", "labelled", PRECISION),
        ("engines", "notebook", ENGINE),
        ("compressions", "quieten", COMPRESSION),
        ("datasets", "shouts", DATASET),
        ("scorers", "loudness", SCORER),
    ):
        (root / "rooms" / room).mkdir(parents=True)
        (root / "rooms" / room / f"{name}.py").write_text(text)
    write_bert(root / "model")
    config = json.loads((root / "model" / "config.json").read_text())
    # A model of a family that only the throw-away file knows; transformers reads it as the factory says.
    (root / "loud.json").write_text(json.dumps({**config, "model_type": "loudbert"}))
    (root / "loud_of_a_test.py").write_text(FACTORY)
    source = {
        "kind": "python_module",
        "factory": "loud_of_a_test:build",
        "arguments": {"folder": str(root / "model")},
        "tokenizer": "model",
        "config": "loud.json",
    }
    document = recipe_document(
        root / "model",
        write_texts(root),
        source=source,
        task={"kind": "loudness", "scale": 2},
        input={"kind": "shout"},
        compress=[{"kind": "quieten", "factor": 0.25}],
        export={"max_length": 40},
        gates={"accuracy": {"dataset": {"kind": "shouts", "rows": 10}, "max_drop": 0.001}},
        targets={"paper": {"engine": "notebook", "precision": "labelled"}},
    )
    write_recipe(root / "tiny.yaml", document)
    return root


def run(workshop, *arguments):
    command = [sys.executable, "-c", PROGRAM, str(workshop / "rooms"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_throw_away_files_build_and_serve_through_the_command_line(workshop):
    repository = workshop / "models"
    result = run(
        workshop, "build", workshop / "tiny.yaml", "--repository", repository, "--store", workshop / "store", "--json"
    )
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["served_targets"] == ["paper"]
    *reports, accuracy = document["targets"]["paper"]["verification"]
    assert [report["status"] for report in (*reports, accuracy)] == ["verified"] * 5
    assert list(reports[-1]["outputs"]) == ["loudness_output"]
    assert (accuracy["metric"], accuracy["samples"]) == ("order", 10)
    assert accuracy["candidate_value"] == pytest.approx(1)
    engine = repository / "tiny_encoder" / "1" / "paper.note"
    assert engine.read_bytes().startswith(b"note:")
    assert b"labelled" in engine.read_bytes()
    manifest = read_manifest(repository)["recipes"]["tiny"]
    assert manifest["targets"]["paper"]["facts"]["platform"] == "paper"
    facts = {step["stage"]: step["facts"] for step in manifest["targets"]["paper"]["lineage"]}
    assert facts["compress"]["factor"] == 0.25
    assert [layer["name"] for layer in facts["search"]["layers"] if layer["quantized"]] == ["first", "second"]
    assert facts["lower"] == {"label": "labelled", "observed": 64, "kept": []}
    assert manifest["files"]["tiny_encoder/1/paper.note"]["sha256"] == digest_of_file(engine)
    config = (repository / "tiny_encoder" / "config.pbtxt").read_text()
    assert 'backend: "notebook"' in config
    assert 'name: "loudness"' in (repository / "tiny" / "config.pbtxt").read_text()
    assert 'name: "shout"' in (repository / "tiny" / "config.pbtxt").read_text()
    tokenizer = parse((repository / "tiny_tokenizer" / "config.pbtxt").read_text())
    assert tokenizer.parameters["texts"].string_value == "shout"
    assert tokenizer.parameters["truncation_side"].string_value == "left"
    assert loudness_of(engine) == pytest.approx(2 * 2 * 0.25 * loudness_of_pytorch(), rel=1e-4)


IDS = [2, 50, 60, 3]


def loudness_of(engine):
    """The throw-away engine's graph, without its mark."""
    session = onnxruntime.InferenceSession(engine.read_bytes()[5:], providers=["CPUExecutionProvider"])
    feeds = {
        "input_ids": np.array(IDS),
        "attention_mask": np.ones(len(IDS), np.int64),
        "sequence_length": np.array([[len(IDS)]], np.int32),
        "longest_sequence": np.zeros(len(IDS), np.float32),
    }
    return float(session.run(None, feeds)[0][0, 0])


def loudness_of_pytorch():
    import torch

    with torch.no_grad():
        hidden = tiny_model()(input_ids=torch.tensor([IDS])).last_hidden_state
    return float(hidden.abs().sum(dim=2).mean())


def test_a_throw_away_familys_positions_are_a_limit(workshop):
    document = yaml.safe_load((workshop / "tiny.yaml").read_text())
    document["export"] = {"max_length": 41}
    result = run(workshop, "plan", write_recipe(workshop / "long.yaml", document))
    assert result.returncode == 2
    assert "export.max_length is 41, but the model has 40 positions" in result.stderr


def test_a_throw_away_input_is_refused_where_the_task_doesnt_take_it(workshop):
    document = recipe_document(workshop / "model", workshop / "texts.txt", input={"kind": "shout"})
    result = run(workshop, "plan", write_recipe(workshop / "refused.yaml", document))
    assert result.returncode == 2
    assert "input.kind is shout, but task embedding takes: text, waveform" in result.stderr


def test_a_precision_that_the_engine_doesnt_run_is_refused(workshop):
    document = recipe_document(
        workshop / "model",
        workshop / "texts.txt",
        targets={"paper": {"engine": "notebook", "precision": "fp16"}},
    )
    recipe = write_recipe(workshop / "clash.yaml", document)
    result = run(workshop, "build", recipe, "--repository", workshop / "none", "--store", workshop / "store")
    assert result.returncode == 3
    assert "target paper: engine notebook doesn't run precision fp16" in result.stderr
    assert not (workshop / "none").exists()


def test_a_misspelt_throw_away_task_is_offered(workshop):
    document = recipe_document(workshop / "model", workshop / "texts.txt", task={"kind": "loudnes"})
    result = run(workshop, "plan", write_recipe(workshop / "misspelt.yaml", document))
    assert result.returncode == 2
    assert "there are: classification, embedding, fill_mask, loudness, next_token" in result.stderr
    assert "Did you mean 'loudness'?" in result.stderr


def test_without_the_files_the_recipe_is_refused(workshop):
    command = [sys.executable, "-m", "tritonpack.cli", "plan", str(workshop / "tiny.yaml")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "'loudness' doesn't exist" in result.stderr
    assert "'shout' doesn't exist" in result.stderr
    assert "engine 'notebook' doesn't exist" in result.stderr
    assert "compress.0.kind: 'quieten' doesn't exist; there are: distill, prune" in result.stderr
    assert "gates.accuracy.dataset.kind: 'shouts' doesn't exist" in result.stderr
