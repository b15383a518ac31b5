"""A new task, precision or engine is one file: throw-away ones are found, offered in recipes and build."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from tiny_bert import recipe_document, write_bert, write_recipe, write_texts

from tritonpack.core.digest import digest_of_file
from tritonpack.repository.layout import read_manifest

TASK = """
from typing import Literal
import numpy as np
from pydantic import Field
from tritonpack.core.tensors import TensorSpec, agreement_of
from tritonpack.tasks import TaskOptions
from tritonpack.tasks.embedding import Embedding

class Options(TaskOptions):
    kind: Literal["loudness"]
    scale: float = Field(1.0, description="A factor.")

class Loudness(Embedding):
    version = 1
    options = Options
    answers = {"loudness": "loudness_output"}

    def signature(self, config):
        inputs = [TensorSpec(name, "int64", ("batch", "sequence")) for name in ("input_ids", "attention_mask")]
        return inputs, [TensorSpec("loudness_output", "float32", ("batch", 1))]

    def wrap(self, model, options):
        import torch

        class Loud(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.model = model

            def forward(self, input_ids, attention_mask):
                hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
                loud = (hidden.abs().sum(dim=2) * attention_mask).sum(dim=1) / attention_mask.sum(dim=1)
                return options.scale * loud[:, None]

        return Loud().eval()

TASK = Loudness()
"""

PRECISION = """
import onnx
from tritonpack.core.tensors import Tolerance

class Labelled:
    version = 1
    packages = ("onnx",)
    needs_calibration = False
    engines = frozenset({"onnxruntime", "notebook"})
    tolerance = Tolerance(min_cosine=0.99)

    def rewrite(self, onnx_file, calibration, out):
        model = onnx.load(onnx_file)
        model.doc_string = "labelled"
        onnx.save(model, out)
        return {"label": "labelled"}

PRECISION = Labelled()
"""

ENGINE = """
from tritonpack.engines.onnxruntime import OnnxRuntime

class Notebook(OnnxRuntime):
    suffix = ".note"
    triton = {"backend": "notebook"}

    def compile(self, onnx, profile, out, cache):
        out.write_bytes(b"note:" + onnx.read_bytes())
        return {"platform": "paper"}

    def open(self, path):
        content = path.read_bytes()
        if not content.startswith(b"note:"):
            return super().open(path)
        import tempfile, pathlib
        with tempfile.TemporaryDirectory() as folder:
            graph = pathlib.Path(folder) / "graph.onnx"
            graph.write_bytes(content[5:])
            return super().open(graph)

ENGINE = Notebook()
"""

PROGRAM = """
import sys
from pathlib import Path
import tritonpack.engines, tritonpack.precisions, tritonpack.tasks
for room in (tritonpack.engines, tritonpack.precisions, tritonpack.tasks):
    room.__path__.append(str(Path(sys.argv[1]) / room.__name__.rpartition(".")[2]))
from tritonpack.cli import main
main(sys.argv[2:])
"""


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    root = tmp_path_factory.mktemp("workshop")
    for room, name, text in (
        ("tasks", "loudness", TASK),
        ("precisions", "labelled", PRECISION),
        ("engines", "notebook", ENGINE),
    ):
        (root / "rooms" / room).mkdir(parents=True)
        (root / "rooms" / room / f"{name}.py").write_text(text)
    document = recipe_document(
        write_bert(root / "model"),
        write_texts(root),
        task={"kind": "loudness", "scale": 2},
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
    assert [report["status"] for report in document["targets"]["paper"]["verification"]] == ["verified"] * 4
    assert list(document["targets"]["paper"]["verification"][-1]["outputs"]) == ["loudness_output"]
    engine = repository / "tiny_encoder" / "1" / "paper.note"
    assert engine.read_bytes().startswith(b"note:")
    assert b"labelled" in engine.read_bytes()
    manifest = read_manifest(repository)["recipes"]["tiny"]
    assert manifest["targets"]["paper"]["facts"]["platform"] == "paper"
    assert manifest["files"]["tiny_encoder/1/paper.note"]["sha256"] == digest_of_file(engine)
    config = (repository / "tiny_encoder" / "config.pbtxt").read_text()
    assert 'backend: "notebook"' in config
    assert 'name: "loudness"' in (repository / "tiny" / "config.pbtxt").read_text()


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
    assert "there are: embedding, loudness" in result.stderr
    assert "Did you mean 'loudness'?" in result.stderr


def test_without_the_files_the_recipe_is_refused(workshop):
    command = [sys.executable, "-m", "tritonpack.cli", "plan", str(workshop / "tiny.yaml")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "'loudness' doesn't exist" in result.stderr
    assert "engine 'notebook' doesn't exist" in result.stderr
