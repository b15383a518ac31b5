from __future__ import annotations

import json
import pickle
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tritonpack.core.errors import ConfigurationError, SourceError
from tritonpack.core.registry import Registry
from tritonpack.sources import SOURCES
from tritonpack.sources.huggingface import HuggingFaceOptions

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from payload import Payload
from tiny_bert import HIDDEN, write_bert

HUGGINGFACE = SOURCES.get("huggingface")


@pytest.fixture(scope="session")
def bert(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("bert") / "model")


@pytest.fixture
def model(bert, tmp_path):
    return Path(shutil.copytree(bert, tmp_path / "model"))


def options(model="model", **others):
    return HuggingFaceOptions(kind="huggingface", model=str(model), **others)


def load(model, **others):
    chosen = options(model, **others)
    located = HUGGINGFACE.locate(chosen, model.parent)
    return HUGGINGFACE.load(located, chosen, auto_class="AutoModel", optional_weights=("pooler.",))


def pickled(folder, value):
    """Replace the weights by a pickle, as old checkpoints are."""
    (folder / "model.safetensors").unlink()
    torch.save(value, folder / "pytorch_model.bin")


def state(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def test_what_a_directory_holds_is_located_without_loading_it(model):
    located = HUGGINGFACE.locate(options(), model.parent)
    assert located.config["hidden_size"] == HIDDEN
    with located.tokenizer() as directory:
        assert directory == model
    assert located.versions == ("torch", "transformers")
    assert len(located.weights_digest) == len(located.tokenizer_digest) == 64


@pytest.mark.parametrize(
    ("name", "weights", "tokenizer"),
    [("model.safetensors", True, False), ("config.json", True, False), ("tokenizer.json", False, True),
     ("tokenizer_config.json", False, True), ("README.md", False, False)],
)  # fmt: skip
def test_digests_change_with_what_decides_the_numbers_and_with_nothing_else(model, name, weights, tokenizer):
    before = HUGGINGFACE.locate(options(), model.parent)
    path = model / name
    path.write_bytes((path.read_bytes() if path.exists() else b"{}") + b"\n")
    after = HUGGINGFACE.locate(options(), model.parent)
    assert (after.weights_digest != before.weights_digest) is weights
    assert (after.tokenizer_digest != before.tokenizer_digest) is tokenizer


def test_the_digests_dont_depend_on_the_place(model, tmp_path):
    here = HUGGINGFACE.locate(options(), model.parent)
    there = HUGGINGFACE.locate(options(shutil.copytree(model, tmp_path / "elsewhere")), Path())
    assert (here.weights_digest, here.tokenizer_digest) == (there.weights_digest, there.tokenizer_digest)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("config.json", "holds no config.json"),
        ("model.safetensors", "holds no weights: neither model.safetensors nor pytorch_model.bin"),
        ("tokenizer.json", "holds no tokenizer.json"),
    ],
)
def test_a_file_that_is_missing_is_named(model, missing, words):
    (model / missing).unlink()
    with pytest.raises(SourceError, match=words) as error:
        HUGGINGFACE.locate(options(), model.parent)
    assert str(model) in error.value.message
    assert error.value.hint != ""
    assert error.value.exit_code == 2


@pytest.mark.parametrize("content", ["{", "[]", "\udcff"])
def test_a_config_that_doesnt_read_is_named(model, content):
    (model / "config.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(SourceError, match=r"config\.json"):
        HUGGINGFACE.locate(options(), model.parent)


@pytest.mark.parametrize("name", ["./absent", "absent/", "/absent/model", "~/absent", "a b"])
def test_a_directory_that_isnt_there_is_named(tmp_path, name):
    with pytest.raises(SourceError, match="isn't there") as error:
        HUGGINGFACE.locate(options(name), tmp_path)
    assert error.value.context["field"] == "source.model"


@pytest.mark.parametrize("name", ["some-org/no-such-model", "no-such-model", "odd--name", "a/" + "b" * 200])
def test_a_hub_name_offline_is_one_clear_error(tmp_path, monkeypatch, name):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(SourceError, match=f"model '{name}' is neither a directory here nor can it be had") as error:
        HUGGINGFACE.locate(options(name), tmp_path)
    assert "\n" not in error.value.message
    assert "Check the name and the network" in error.value.hint
    assert error.value.context["value"] == name


def test_safe_weights_load_in_fp32_for_evaluation(model):
    loaded = load(model)
    assert not loaded.training
    assert {weight.dtype for weight in loaded.parameters()} == {torch.float32}
    expected = state(model)["embeddings.word_embeddings.weight"]
    assert torch.equal(loaded.embeddings.word_embeddings.weight, expected)


def test_pickled_tensors_load(model):
    weights = state(model)
    pickled(model, weights)
    assert torch.equal(load(model).embeddings.word_embeddings.weight, weights["embeddings.word_embeddings.weight"])


def test_pickled_code_is_refused_and_doesnt_run(model, tmp_path):
    pickled(model, {**state(model), "surprise": Payload(tmp_path / "ran")})
    with pytest.raises(SourceError, match=r"hold pickled code, which would run while loading: .*mkdir") as error:
        load(model)
    assert not (tmp_path / "ran").exists()
    assert error.value.hint == "Save them as safetensors; or, if you trust their author, say trust_remote_code: true."


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")  # torch says so before it refuses
def test_a_plain_pickle_is_refused_and_doesnt_run(model, tmp_path):
    (model / "model.safetensors").unlink()
    (model / "pytorch_model.bin").write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    with pytest.raises(SourceError):
        load(model)
    assert not (tmp_path / "ran").exists()


def test_pickled_code_runs_only_when_the_recipe_trusts_it(model, tmp_path):
    pickled(model, {**state(model), "surprise": Payload(tmp_path / "ran")})
    load(model, trust_remote_code=True)
    assert (tmp_path / "ran").is_dir()


@pytest.mark.parametrize("content", [b"", b"not weights at all", b"\x08\x00\x00\x00\x00\x00\x00\x00{}      "])
def test_weights_that_dont_read_are_named(model, content):
    (model / "model.safetensors").write_bytes(content)
    with pytest.raises(SourceError, match=r"can't be loaded|has no weights for") as error:
        load(model)
    assert error.value.hint != ""


def test_a_truncated_checkpoint_is_named(model):
    path = model / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(SourceError, match="can't be loaded"):
        load(model)


def test_a_checkpoint_that_lacks_weights_is_refused(model):
    weights = {name: value for name, value in state(model).items() if "layer.1.output" not in name}
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(SourceError, match=r"has no weights for encoder\.layer\.1\.output") as error:
        load(model)
    assert "and 1 more" in error.value.message
    assert "AutoModel" in error.value.hint


def test_weights_that_the_task_doesnt_use_may_lack(model):
    weights = {name: value for name, value in state(model).items() if not name.startswith("pooler.")}
    save_file(weights, model / "model.safetensors", metadata={"format": "pt"})
    load(model)


def test_model_code_of_its_own_is_refused_unless_trusted(model):
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "mine.Model"}}))
    with pytest.raises(SourceError, match="brings its own model code") as error:
        HUGGINGFACE.locate(options(), model.parent)
    assert "trust_remote_code: true" in error.value.hint
    trusted = HUGGINGFACE.locate(options(trust_remote_code=True), model.parent)
    (model / "mine.py").write_text("changed = True")
    after = HUGGINGFACE.locate(options(trust_remote_code=True), model.parent)
    assert after.weights_digest != trusted.weights_digest


def test_an_unknown_kind_of_source_is_a_configuration_error():
    assert isinstance(SOURCES, Registry)
    with pytest.raises(
        ConfigurationError, match="source 'hub' doesn't exist; there are: huggingface, python_module, word_vectors"
    ):
        SOURCES.get("hub")
