from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from tritonpack.core.errors import SourceError
from tritonpack.sources import SOURCES
from tritonpack.sources.python_module import PythonModuleOptions

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from payload import Payload
from tiny_bert import write_tokenizer

PYTHON = SOURCES.get("python_module")

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


def test_a_model_of_no_text_needs_no_tokenizer(project):
    chosen = PythonModuleOptions(kind="python_module", factory="net_of_a_test:build")
    located = PYTHON.locate(chosen, project)
    assert (located.tokenizer_digest, located.mask_token_id, located.truncation_side) == (None, None, "right")
    assert "vocab_size" not in located.config
    assert PYTHON.load(located, chosen, auto_class="AutoModel", optional_weights=()).table.weight.shape == (200, 8)


def test_a_config_may_lie_in_a_file(project):
    (project / "config.json").write_text('{"pad_token_id": 3, "id2label": {"0": "no", "1": "yes"}}')
    located = PYTHON.locate(python_options(config="config.json"), project)
    assert located.config["id2label"] == {"0": "no", "1": "yes"}
    assert located.config["vocab_size"] == 129
    said = python_options(config={"pad_token_id": 3, "id2label": {"0": "no", "1": "yes"}})
    assert PYTHON.locate(said, project).weights_digest == located.weights_digest
    (project / "config.json").write_text('{"pad_token_id": 4}')
    assert PYTHON.locate(python_options(config="config.json"), project).weights_digest != located.weights_digest


def test_the_configs_own_vocabulary_counts(project):
    assert PYTHON.locate(python_options(config={"vocab_size": 777}), project).config["vocab_size"] == 777


@pytest.mark.parametrize(
    ("content", "words"), [(None, "doesn't read"), ("{", "doesn't read"), ("[]", "no JSON object")]
)
def test_a_config_file_that_doesnt_read_is_named(project, content, words):
    if content is not None:
        (project / "config.json").write_text(content)
    with pytest.raises(SourceError, match=rf"config\.json .*{words}"):
        PYTHON.locate(python_options(config="config.json"), project)


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
