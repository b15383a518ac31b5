from __future__ import annotations

import json
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from tritonpack.core.errors import RecipeError
from tritonpack.core.tensors import Tolerance
from tritonpack.recipe import load_recipe, recipe_from_document, recipe_schema

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_recipe import SMALLEST, changed, refused

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))


def without(path):
    result = deepcopy(SMALLEST)
    node = result
    *parents, last = path.split(".")
    for part in parents:
        node = node[part]
    del node[last]
    return result


def test_the_smallest_recipe_gets_the_defaults():
    recipe = recipe_from_document(SMALLEST)
    assert recipe.default_target == "cpu"
    assert recipe.export.model_dump() == {"opset": 20, "max_length": 512, "dynamic_axes": ("batch", "sequence")}
    assert recipe.serving.max_batch == 64
    assert recipe.serving.threads is None
    assert recipe.targets["cpu"].profile.max_batch == 64
    assert recipe.task.pooling == "mean"
    assert recipe.calibration is None


def test_the_first_target_is_the_default():
    targets = {"z": {"engine": "tensorrt", "precision": "fp16"}, "a": SMALLEST["targets"]["cpu"]}
    assert recipe_from_document({**SMALLEST, "targets": targets}).default_target == "z"


@pytest.mark.parametrize(
    ("path", "where", "nearest"),
    [
        ("nmae", "nmae", "name"),
        ("taks", "taks", "task"),
        ("source.modle", "source.modle", "model"),
        ("source.trust_remote", "source.trust_remote", "trust_remote_code"),
        ("task.pool", "task.pool", "pooling"),
        ("task.normalise", "task.normalise", "normalize"),
        ("export.max_len", "export.max_len", "max_length"),
        ("targets.cpu.engin", "targets.cpu.engin", "engine"),
        ("targets.cpu.profile.max_bach", "targets.cpu.profile.max_bach", "max_batch"),
        ("serving.queue_delay", "serving.queue_delay", "queue_delay_us"),
        ("serving.instanses", "serving.instanses", "instances"),
        ("serving.queue.timeout", "serving.queue.timeout", "timeout_us"),
        ("gates.parrity", "gates.parrity", "parity"),
        ("gates.parity.cpu.min_cosin", "gates.parity.cpu.min_cosin", "min_cosine"),
        ("gates.min_speed", "gates.min_speed", "min_speedup"),
        ("targets.cpu.fallbck", "targets.cpu.fallbck", "fallback"),
        ("targets.cpu.quantization.trails", "targets.cpu.quantization.trails", "trials"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest(path, where, nearest):
    error = refused(changed(path, 1))
    assert f"  {where}: unknown key" in error.message.splitlines()
    assert error.hint == f"Did you mean '{nearest}'?"
    assert error.context["fields"] == [where]


def test_an_unknown_key_of_calibration_is_refused_with_the_nearest():
    error = refused({**SMALLEST, "calibration": {"file": "t", "sample": 9}})
    assert error.hint == "Did you mean 'samples'?"


def test_a_target_may_be_called_like_a_task():
    error = refused({**SMALLEST, "targets": {"embedding": {**SMALLEST["targets"]["cpu"], "engin": "x"}}})
    assert "  targets.embedding.engin: unknown key" in error.message


def test_an_unknown_key_that_is_near_nothing_points_to_the_schema():
    error = refused(changed("qqq", 1))
    assert error.hint == "recipes/recipe.schema.json describes every field."


def test_a_key_that_isnt_text_is_refused():
    assert "7" in refused({**SMALLEST, 7: "x"}).message


@pytest.mark.parametrize(
    ("path", "value", "words", "hint"),
    [
        ("task.kind", "embeding", "task.kind: 'embeding'", "Did you mean 'embedding'?"),
        ("source.kind", "hugingface", "source.kind: 'hugingface'", "Did you mean 'huggingface'?"),
        ("targets.cpu.engine", "onnxruntme", "engine 'onnxruntme'", "Did you mean 'onnxruntime'?"),
        ("targets.cpu.precision", "int8dynamic", "precision 'int8dynamic'", "Did you mean 'int8_dynamic'?"),
        ("targets.cpu.precision", "quarter", "targets.cpu.precision: precision 'quarter'", ""),
        ("targets.cpu.fallback", ["fp23"], "targets.cpu.fallback.0: precision 'fp23'", "Did you mean 'fp32'?"),
        ("compress", [{"kind": "prun"}], "compress.0.kind: 'prun'", "Did you mean 'prune'?"),
        ("calibration", {"dataset": {"kind": "labeled"}}, "calibration.dataset.kind: 'labeled'", "'labelled'"),
    ],
)
def test_an_unknown_kind_lists_what_there_is(path, value, words, hint):
    error = refused(changed(path, value))
    assert f"{words} doesn't exist; there are: " in error.message
    assert hint in f"{error.message} {error.hint}"


@pytest.mark.parametrize(
    "path",
    ["name", "source", "source.kind", "source.model", "task", "task.kind", "targets", "targets.cpu.engine",
     "targets.cpu.precision"],
)  # fmt: skip
def test_a_missing_field_is_named(path):
    assert f"  {path}: missing" in refused(without(path)).message.splitlines()


@pytest.mark.parametrize(
    ("path", "value", "shown"),
    [
        ("name", "My Model", "'My Model'"),
        ("export.opset", 12, "12"),
        ("export.opset", "new", "'new'"),
        ("export.max_length", 0, "0"),
        ("serving.max_batch", 0, "0"),
        ("serving.max_batch", 9999, "9999"),
        ("serving.queue_delay_us", -1, "-1"),
        ("serving.threads", 0, "0"),
        ("serving.warmup", "perhaps", "'perhaps'"),
        ("serving.queue", 256, "256"),
        ("serving.queue.max_queue_size", 0, "0"),
        ("serving.queue.timeout_us", 10, "10"),
        ("serving.queue.priority_levels", 1, "1"),
        ("task.pooling", "max", "'max'"),
        ("targets", {}, "{}"),
        ("targets.cpu", "onnxruntime", "'onnxruntime'"),
        ("targets.CPU!", {"engine": "onnxruntime", "precision": "fp32"}, "'CPU!'"),
        ("source", "minilm", "'minilm'"),
        ("gates.parity.cpu.min_cosine", 1.5, "1.5"),
        ("gates.parity.cpu.max_abs_error", 0, "0"),
        ("calibration", {"file": "t", "samples": 1}, "1"),
    ],
)
def test_a_bad_value_is_named_with_its_field_and_the_value(path, value, shown):
    error = refused(changed(path, value))
    field = next(iter(error.context["fields"]))
    assert field.startswith(path.split(".")[0])
    assert f"(it is {shown})" in error.message


def test_every_problem_is_told_at_once():
    document = changed("export.opset", 12, changed("taks", 1, without("name")))
    error = refused(document)
    assert sorted(error.context["fields"]) == ["export.opset", "name", "taks"]
    assert len(error.message.splitlines()) == 4


def test_the_servers_batch_must_fit_the_engine():
    document = changed("targets.cpu.profile", {"max_batch": 16}, changed("serving.max_batch", 32))
    error = refused(document)
    assert "serving.max_batch is 32, but targets.cpu.profile.max_batch is 16" in error.message
    assert recipe_from_document(changed("serving.max_batch", 16, document)).serving.max_batch == 16


def test_the_servers_batch_must_hold_all_windows_of_a_request():
    document = {**SMALLEST, "task": {"kind": "question_answering"}, "serving": {"max_batch": 8}}
    message = refused(document).message
    assert "serving.max_batch is 8, but one request of input question_context may become 16 rows" in message
    few = {**document, "input": {"kind": "question_context", "max_windows": 8}}
    assert recipe_from_document(few).given.max_windows == 8


def test_int8_needs_calibration_data():
    document = changed("targets.cpu.precision", "int8")
    assert (
        "targets.cpu.precision is int8, which needs calibration data: add calibration: {file: FILE}"
        in refused(document).message
    )
    recipe = recipe_from_document({**document, "calibration": {"file": "texts.txt"}})
    assert recipe.calibration is not None
    assert recipe.calibration.samples == 256


def test_a_gate_for_a_target_that_isnt_there_is_refused():
    error = refused({**SMALLEST, "gates": {"parity": {"gpu": {"min_cosine": 0.9}}}})
    assert "gates.parity.gpu: there is no such target; there are: cpu" in error.message


def test_a_task_has_its_usual_input():
    assert recipe_from_document(SMALLEST).given.model_dump() == {"kind": "text"}
    given = recipe_from_document({**SMALLEST, "task": {"kind": "question_answering"}}).given
    assert given.model_dump() == {"kind": "question_context", "stride": None, "max_windows": 16}


def test_a_recipe_may_choose_another_of_the_tasks_inputs():
    document = {**SMALLEST, "task": {"kind": "classification"}}
    given = recipe_from_document({**document, "input": {"kind": "text_pair", "truncation": "only_first"}}).given
    assert given.model_dump() == {"kind": "text_pair", "truncation": "only_first"}


@pytest.mark.parametrize(
    ("task", "kind", "takes"),
    [
        ("embedding", "text_pair", "text, waveform"),
        ("token_classification", "two_texts", "text"),
        ("question_answering", "text", "question_context"),
    ],
)
def test_an_input_that_the_task_doesnt_take_is_refused(task, kind, takes):
    error = refused({**SMALLEST, "task": {"kind": task}, "input": {"kind": kind}})
    assert f"input.kind is {kind}, but task {task} takes: {takes}" in error.message


def test_an_unknown_key_or_kind_of_input_is_refused_with_the_nearest():
    error = refused({**SMALLEST, "input": {"kind": "waveform", "sampling_rate": 8000, "normalise": True}})
    assert "  input.normalise: unknown key" in error.message.splitlines()
    assert error.hint == "Did you mean 'normalize'?"
    error = refused({**SMALLEST, "input": {"kind": "text_pairs"}})
    assert "input.kind: 'text_pairs' doesn't exist; there are: " in error.message
    assert error.hint == "Did you mean 'text_pair'?"


def test_the_batch_axis_is_always_dynamic():
    assert "dynamic_axes must name 'batch'" in refused(changed("export.dynamic_axes", ["sequence"])).message
    assert recipe_from_document(changed("export.dynamic_axes", ["batch"])).export.dynamic_axes == ("batch",)


def test_a_gate_replaces_only_the_bounds_it_names():
    own = recipe_from_document(SMALLEST).tolerance("cpu")
    assert own == Tolerance(max_abs_error=1e-4, min_cosine=0.9999)
    gated = recipe_from_document({**SMALLEST, "gates": {"parity": {"cpu": {"max_abs_error": 0.5}}}})
    assert gated.tolerance("cpu") == Tolerance(max_abs_error=0.5, min_cosine=0.9999)


def test_paths_start_at_the_recipes_folder(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(SMALLEST), encoding="utf-8")
    assert load_recipe(path).folder == tmp_path


def test_the_order_of_targets_is_that_of_the_file(tmp_path):
    path = tmp_path / "recipe.yaml"
    target = SMALLEST["targets"]["cpu"]
    document = {**SMALLEST, "targets": {"z": target, "a": target, "m": target}}
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    assert list(load_recipe(path).targets) == ["z", "a", "m"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"name: [", "isn't YAML"),
        (b"\xff\xfe\x00", "isn't YAML"),
        (b"a\tb: c\n\t- d", "isn't YAML"),
        (b"", "holds no mapping"),
        (b"- name: x", "holds no mapping"),
        (b"just words", "holds no mapping"),
    ],
)
def test_what_isnt_a_mapping_in_yaml_is_refused(tmp_path, content, words):
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(RecipeError, match=words) as error:
        load_recipe(path)
    assert str(path) in error.value.message


@pytest.mark.parametrize("name", ["absent.yaml", ".", "file/below.yaml"])
def test_a_recipe_that_isnt_a_file_is_refused(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(RecipeError, match="isn't there") as error:
        load_recipe(tmp_path / name)
    assert error.value.hint == "Give the path of a YAML file."


def test_yaml_cant_run_code(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(f"name: !!python/object/apply:pathlib.Path.touch [{tmp_path}/ran]")
    with pytest.raises(RecipeError, match="isn't YAML"):
        load_recipe(path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_published_recipes_validate(path):
    assert load_recipe(path).name == path.stem


def test_the_published_schema_is_the_code_s():
    published = json.loads((ROOT / "recipes" / "recipe.schema.json").read_text(encoding="utf-8"))
    assert published == recipe_schema(), "run `make schema`"


def test_the_schema_refuses_unknown_keys_and_names_every_choice():
    schema = recipe_schema()
    assert schema["additionalProperties"] is False
    assert {
        name for name, part in _objects(schema).items() if part.get("additionalProperties", True) is not False
    } == set()
    assert schema["$defs"].keys() - _objects(schema).keys() == {"Calibrator"}
    assert schema["$defs"]["Calibrator"]["enum"] == ["minmax", "percentile", "entropy", "mse", "search"]
    target = schema["$defs"]["TargetSpec"]["properties"]
    assert "onnxruntime" in target["engine"]["enum"]
    assert "int8_dynamic" in target["precision"]["enum"]
    assert target["fallback"]["items"]["enum"] == target["precision"]["enum"]


def _objects(schema):
    """The definitions that have fields; an enumeration is one too, and has none."""
    return {name: node for name, node in schema["$defs"].items() if node["type"] == "object"}


def test_the_schema_describes_every_field():
    schema = recipe_schema()
    fields = {
        f"{name}.{field}": part for name, node in _objects(schema).items() for field, part in node["properties"].items()
    }
    plain = {name for name, part in fields.items() if not {"description", "$ref", "const", "anyOf"} & set(part)}
    assert plain <= {name for name in fields if "discriminator" in fields[name]}
