"""Models that come another way: a Python factory, a pickle of tensors, code of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

import numpy as np
import pytest
import torch
from tiny_bert import vocabulary, write_tokenizer

from tritonpack.core.errors import SourceError, StageError
from tritonpack.core.model import RaggedAxis
from tritonpack.engines import ENGINES
from tritonpack.stages.raggedize import ragged_inputs

FACTORY = """
import torch

class Bag(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.table = torch.nn.Embedding(130, width)

    def forward(self, input_ids, attention_mask):
        return self.table(input_ids)

def build(width):
    return Bag(width)
"""


def test_a_python_factory_builds(fresh):
    (fresh.root / "bag_of_a_test.py").write_text(FACTORY)
    (fresh.root / "tokens").mkdir()
    write_tokenizer(fresh.root / "tokens")
    table = torch.randn(130, 6, generator=torch.Generator().manual_seed(1))
    torch.save({"table.weight": table}, fresh.root / "weights.pt")
    source = {
        "kind": "python_module",
        "factory": "bag_of_a_test:build",
        "arguments": {"width": 6},
        "weights": "weights.pt",
        "tokenizer": "tokens",
        "config": {"pad_token_id": 0},
    }
    result = fresh.build("fp32", source=source)
    assert result.packaged.served == ("fp32",)
    engine = ENGINES.get("onnxruntime").open(fresh.repository / "tiny_encoder" / "1" / "fp32.onnx")
    ids = np.array([[4, 5, 6], [7, 8, 9]])
    axes = [RaggedAxis("sequence", "attention_mask", {"input_ids": 0, "attention_mask": 0}, 48)]
    padded = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
    answer = engine.run(ragged_inputs(padded, axes, {"sequence": [2, 3]}))
    expected = np.stack([table[[4, 5]].mean(0), table[[7, 8, 9]].mean(0)])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert np.abs(answer["embedding_output"] - expected).max() < 1e-5
    assert {step.outcome.value for step in fresh.build("fp32", source=source).steps} == {"hit"}
    (fresh.root / "bag_of_a_test.py").write_text(FACTORY + "\n# another line\n")
    again = fresh.build("fp32", source=source)
    assert {step.action.stage for step in again.steps if step.outcome == "ran"} >= {"export", "reference"}


@pytest.fixture
def model(built, fresh):
    return shutil.copytree(built[0].root / "model", fresh.root / "model")


def test_a_model_of_pickled_tensors_builds(fresh, model):
    from safetensors.torch import load_file

    torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()
    assert fresh.build("fp32", source={"kind": "huggingface", "model": "model/"}).packaged.served == ("fp32",)


def test_a_model_with_code_of_its_own_is_refused(fresh, model):
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "mine.Model"}}))
    (model / "mine.py").write_text("raise AssertionError('this code must not run')")
    with pytest.raises(SourceError, match="brings its own model code") as error:
        fresh.build("fp32", source={"kind": "huggingface", "model": "model/"})
    assert "trust_remote_code: true" in error.value.hint
    assert not fresh.repository.exists()
    assert not fresh.store.exists()


def test_a_tokenizer_of_another_model_is_refused(fresh, model):
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["onetoomany"] = len(vocabulary())
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(SourceError, match=r"ids go up to 129 \('onetoomany'\), but the model has embeddings for 129"):
        fresh.build("fp32", source={"kind": "huggingface", "model": "model/"})
    assert not fresh.repository.exists()


def test_weights_that_config_json_doesnt_describe_are_refused(fresh, model, capfd):
    folder = shutil.copytree(model, fresh.root / "other")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 100}))
    with pytest.raises(SourceError, match=r"word_embeddings\.weight is \(129, 32\) in the weights, but \(100, 32\) by"):
        fresh.build("fp32", source={"kind": "huggingface", "model": str(folder)})
    assert capfd.readouterr() == ("", "")
    assert not fresh.repository.exists()


def test_a_tokenizer_that_doesnt_read_is_refused(fresh, model):
    (model / "tokenizer.json").write_text('{"model": "nonsense"}')
    with pytest.raises(SourceError, match=r"tokenizer\.json isn't a tokenizer"):
        fresh.build("fp32", source={"kind": "huggingface", "model": "model/"})


def test_a_hub_name_offline_is_one_clear_error(fresh, tmp_path):
    fresh.recipe(source={"kind": "huggingface", "model": "some-org/some-model"})
    result = subprocess.run(
        fresh.command("build"),
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 2
    assert "model 'some-org/some-model' is neither a directory here nor can it be had from the hub" in result.stderr
    assert "hint:  Check the name and the network" in result.stderr
    assert "Traceback" not in result.stderr


BROKEN = """
import torch

class Broken(torch.nn.Module):
    def forward(self, input_ids, attention_mask):
        {body}

def build():
    return Broken()
"""


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("raise ValueError('this model has an opinion')", "this model has an opinion"),
        (
            "return input_ids.float()[:, :, None] if input_ids.sum() > 0 else input_ids.float()",
            "PyTorch can't export the model",
        ),
        ("return torch.randn(7, 3, 2)", ""),
    ],
    ids=["raises", "data-dependent", "fixed batch"],
)
def test_a_model_that_cant_be_exported_says_why(fresh, body, words):
    (fresh.root / "broken_of_a_test.py").write_text(BROKEN.format(body=body))
    write_tokenizer(fresh.root)
    source = {"kind": "python_module", "factory": "broken_of_a_test:build", "tokenizer": "."}
    with pytest.raises(StageError) as error:
        fresh.build("fp32", source=source)
    assert words in error.value.message
    assert error.value.exit_code == 4
    assert "--traceback" not in error.value.hint
    assert not fresh.repository.exists()
