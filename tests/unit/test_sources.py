from __future__ import annotations

import json
import os
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
from tritonpack.sources.python_module import PythonModuleOptions

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_bert import HIDDEN, write_bert, write_tokenizer

HUGGINGFACE = SOURCES.get("huggingface")
PYTHON = SOURCES.get("python_module")


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


class Payload:
    """Unpickling it runs code."""

    def __init__(self, flag):
        self.flag = flag

    def __reduce__(self):
        return os.mkdir, (str(self.flag),)


def test_what_a_directory_holds_is_located_without_loading_it(model):
    located = HUGGINGFACE.locate(options(), model.parent)
    assert located.config["hidden_size"] == HIDDEN
    assert located.tokenizer_file == model / "tokenizer.json"
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


FACTORY = """
import torch

class Net(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.table = torch.nn.Embedding(200, width)

    def forward(self, input_ids, attention_mask):
        return self.table(input_ids)

def build(width=8):
    return Net(width)

def not_a_module():
    return {"width": 8}
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "net_of_a_test.py").write_text(FACTORY)
    write_tokenizer(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("net_of_a_test")]:
        del sys.modules[name]


def python_options(factory="net_of_a_test:build", **others):
    return PythonModuleOptions(kind="python_module", factory=factory, tokenizer=".", **others)


def load_python(project, factory="net_of_a_test:build", **others):
    chosen = python_options(factory, **others)
    return PYTHON.load(PYTHON.locate(chosen, project), chosen, auto_class="AutoModel", optional_weights=())


def test_a_factory_beside_the_recipe_is_called_with_its_arguments(project):
    loaded = load_python(project, arguments={"width": 4})
    assert loaded.table.weight.shape == (200, 4)
    assert not loaded.training
    assert str(project) not in sys.path


def test_what_a_factory_says_of_itself_is_the_config(project):
    located = PYTHON.locate(python_options(config={"pad_token_id": 3}), project)
    assert located.config["pad_token_id"] == 3
    assert located.config["vocab_size"] > 100
    assert located.versions == ("torch",)


def test_locating_a_factory_imports_nothing(project):
    PYTHON.locate(python_options(), project)
    assert "net_of_a_test" not in sys.modules


def test_a_module_that_is_missing_is_named(project):
    with pytest.raises(SourceError, match="factory nowhere:build: there is no module 'nowhere'") as error:
        PYTHON.locate(python_options("nowhere:build"), project)
    assert f"put nowhere.py beside the recipe, in {project}" in error.value.hint
    with pytest.raises(SourceError, match=r"there is no module 'nowhere\.deep'"):
        PYTHON.locate(python_options("nowhere.deep:build"), project)


def test_a_function_that_is_missing_is_named(project):
    with pytest.raises(SourceError, match="module net_of_a_test has no 'bulid'"):
        load_python(project, "net_of_a_test:bulid")


def test_what_isnt_a_module_is_refused(project):
    with pytest.raises(SourceError, match=r"factory net_of_a_test:not_a_module returned dict, not an nn\.Module"):
        load_python(project, "net_of_a_test:not_a_module")


def test_a_factory_is_module_colon_function():
    with pytest.raises(ValueError, match="String should match pattern"):
        python_options("net_of_a_test.build")


def test_a_state_dict_is_loaded(project):
    save_file({"table.weight": torch.full((200, 8), 0.5)}, project / "weights.safetensors")
    assert load_python(project, weights="weights.safetensors").table.weight.unique().tolist() == [0.5]


@pytest.mark.parametrize(
    ("tensors", "words"),
    [
        ({"other.weight": torch.zeros(2)}, "doesn't fit net_of_a_test:build: table.weight, other.weight"),
        ({"table.weight": torch.zeros(200, 9)}, "can't be loaded: size mismatch for table.weight"),
    ],
)
def test_weights_that_dont_fit_are_named(project, tensors, words):
    save_file(tensors, project / "weights.safetensors")
    with pytest.raises(SourceError, match=words):
        load_python(project, weights="weights.safetensors")


def test_weights_that_are_missing_are_named(project):
    with pytest.raises(SourceError, match=r"weights .*absent\.pt aren't there"):
        PYTHON.locate(python_options(weights="absent.pt"), project)


def test_a_factorys_pickled_code_is_refused_and_doesnt_run(project, tmp_path):
    torch.save({"table.weight": torch.zeros(200, 8), "x": Payload(tmp_path / "ran")}, project / "weights.pt")
    with pytest.raises(SourceError, match="hold pickled code"):
        load_python(project, weights="weights.pt")
    assert not (tmp_path / "ran").exists()


def test_a_factory_without_a_tokenizer_says_so(project):
    (project / "tokenizer.json").unlink()
    with pytest.raises(SourceError, match=r"holds no tokenizer\.json"):
        PYTHON.locate(python_options(), project)


def digest(project, **others):
    return PYTHON.locate(python_options(**others), project).weights_digest


def test_the_digest_changes_with_code_arguments_and_weights(project):
    torch.save({"table.weight": torch.zeros(200, 8)}, project / "weights.pt")
    digests = [digest(project), digest(project, arguments={"width": 4}), digest(project, weights="weights.pt")]
    (project / "net_of_a_test.py").write_text(FACTORY + "\n# changed\n")
    digests.append(digest(project))
    torch.save({"table.weight": torch.ones(200, 8)}, project / "weights.pt")
    digests.append(digest(project, weights="weights.pt"))
    digests.append(digest(project, config={"pad_token_id": 3}))
    assert len(set(digests)) == 6


def test_changed_code_is_the_code_that_runs(project):
    """In one process too: what was digested must be what is called."""
    assert load_python(project).table.weight.shape == (200, 8)
    (project / "net_of_a_test.py").write_text(FACTORY.replace("width=8", "width=16"))
    assert load_python(project).table.weight.shape == (200, 16)


def test_two_recipes_may_have_a_module_of_the_same_name(project, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    write_tokenizer(other)
    (other / "net_of_a_test.py").write_text(FACTORY.replace("width=8", "width=5"))
    assert load_python(project).table.weight.shape == (200, 8)
    assert load_python(other).table.weight.shape == (200, 5)
    assert digest(project) != digest(other)


def test_the_digest_counts_what_the_module_may_import_from_beside_it(project):
    before = digest(project)
    (project / "layers_of_a_test.py").write_text("WIDTH = 3")
    assert digest(project) != before


def test_an_installed_modules_digest_is_its_own(project):
    before = PYTHON.locate(python_options("colorsys:rgb_to_hsv"), project).weights_digest
    (project / "layers_of_a_test.py").write_text("WIDTH = 3")
    assert PYTHON.locate(python_options("colorsys:rgb_to_hsv"), project).weights_digest == before


def test_a_package_without_an_init_file_is_found(project):
    (project / "net_of_a_test_space").mkdir()
    (project / "net_of_a_test_space" / "net.py").write_text(FACTORY)
    assert load_python(project, "net_of_a_test_space.net:build").table.weight.shape == (200, 8)


def test_the_digest_of_a_package_counts_its_files_and_nothing_around_it(project):
    package = project / "net_of_a_test_package"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "deep" / "__init__.py").write_text("")
    (package / "deep" / "net.py").write_text(FACTORY)
    (package / "parts.py").write_text("A = 1")

    def package_digest():
        located = PYTHON.locate(python_options("net_of_a_test_package.deep.net:build"), project)
        return located.weights_digest

    first = package_digest()
    (project / "beside.py").write_text("not = part of it")
    assert package_digest() == first
    (package / "parts.py").write_text("A = 2")
    assert package_digest() != first


def test_an_unknown_kind_of_source_is_a_configuration_error():
    assert isinstance(SOURCES, Registry)
    with pytest.raises(ConfigurationError, match="source 'hub' doesn't exist; there are: huggingface, python_module"):
        SOURCES.get("hub")
