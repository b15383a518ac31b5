from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tritonpack.core.digest import digest_of_file
from tritonpack.repository.config import InstanceKind
from tritonpack.repository.layout import Content, read_manifest
from tritonpack.stages.package import package, write_engine

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_package import AXES, CODE, EMBEDDING, RECIPE, SERVING, assert_whole, bytes_of, config, steps, target


@pytest.fixture
def repository(tmp_path):
    return tmp_path / "models"


def test_three_models_are_written(repository):
    packaged = package(repository, RECIPE, [target("cpu")])
    assert (packaged.changed, packaged.served, packaged.dropped) == (True, ("cpu",), ())
    assert sorted(bytes_of(repository)) == [
        "manifest.json",
        "tiny/config.pbtxt",
        "tiny_encoder/1/cpu.onnx",
        "tiny_encoder/config.pbtxt",
        "tiny_encoder/configs/cpu.pbtxt",
        "tiny_tokenizer/1/model.py",
        "tiny_tokenizer/1/stage.py",
        "tiny_tokenizer/1/tokenizer.json",
        "tiny_tokenizer/config.pbtxt",
    ]
    assert (repository / "tiny" / "1").is_dir()
    assert (repository / "tiny_tokenizer" / "1" / "model.py").read_bytes() == (CODE / "model.py").read_bytes()
    assert (repository / "tiny_tokenizer" / "1" / "stage.py").read_bytes() == (CODE / "text.py").read_bytes()
    assert_whole(repository)


def test_the_ensemble_joins_tokenizer_and_encoder(repository):
    package(repository, RECIPE, [target("cpu")])
    ensemble = config(repository, "tiny/config.pbtxt")
    assert (ensemble.platform, ensemble.max_batch_size) == ("ensemble", 8)
    assert [(part.name, part.data_type, part.dims) for part in ensemble.input] == [("text", "TYPE_STRING", (1,))]
    assert [(part.name, part.data_type, part.dims) for part in ensemble.output] == [("embedding", "TYPE_FP32", (32,))]
    tokens, answer = ensemble.ensemble_scheduling.step
    assert (tokens.model_name, tokens.input_map) == ("tiny_tokenizer", {"text": "text"})
    assert tokens.output_map == answer.input_map == {"input_ids": "input_ids", "attention_mask": "attention_mask"}
    assert (answer.model_name, answer.output_map) == ("tiny_encoder", {"embedding_output": "embedding"})


def test_the_encoder_takes_ragged_rows(repository):
    package(repository, RECIPE, [target("cpu")])
    encoder = config(repository, "tiny_encoder/config.pbtxt")
    assert (encoder.backend, encoder.platform, encoder.default_model_filename) == ("onnxruntime", "", "cpu.onnx")
    assert all(part.allow_ragged_batch and part.dims == (-1,) for part in encoder.input)
    assert [(part.kind.value, part.target_name, part.source_input) for part in encoder.batch_input] == [
        ("BATCH_ITEM_SHAPE", ("sequence_length",), ("input_ids",)),
        ("BATCH_MAX_ELEMENT_COUNT_AS_SHAPE", ("longest_sequence",), ("input_ids",)),
    ]
    assert encoder.parameters["row_mask.attention_mask"].string_value == "input_ids,attention_mask"
    assert encoder.dynamic_batching.max_queue_delay_microseconds == 500
    assert encoder.parameters["intra_op_thread_count"].string_value == "3"
    assert encoder.instance_group[0].kind == InstanceKind.CPU


def test_a_gpu_target_gets_its_own_configuration(repository):
    package(repository, RECIPE, [target("gpu"), target("cpu")])
    gpu = config(repository, "tiny_encoder/configs/gpu.pbtxt")
    assert (gpu.platform, gpu.backend, gpu.default_model_filename) == ("tensorrt_plan", "", "gpu.plan")
    assert gpu.instance_group[0].kind == InstanceKind.GPU
    assert "intra_op_thread_count" not in gpu.parameters
    # The recipe's first target is the one that is served unless another is chosen.
    assert config(repository, "tiny_encoder/config.pbtxt") == config(repository, "tiny_encoder/configs/cpu.pbtxt")


def test_the_tokenizer_is_told_what_the_recipe_says(repository):
    package(repository, RECIPE, [target("cpu")])
    tokenizer = config(repository, "tiny_tokenizer/config.pbtxt")
    assert {key: value.string_value for key, value in tokenizer.parameters.items()} == {
        "texts": "text",
        "outputs": "input_ids,attention_mask",
        "max_length": "48",
        "pad_id": "5",
        "truncation": "longest_first",
        "truncation_side": "right",
    }
    assert tokenizer.instance_group[0].count == 2
    assert [part.name for part in tokenizer.output] == ["input_ids", "attention_mask"]


def test_the_tokenizer_is_told_what_its_file_doesnt_say(repository):
    facts = {"unk_token_id": 0, "pad_type_id": 3, "split_special_tokens": True, "vocabulary": 9}
    package(repository, replace(RECIPE, steps=steps("embedding", EMBEDDING, facts=facts)), [target("cpu")])
    parameters = config(repository, "tiny_tokenizer/config.pbtxt").parameters
    assert {name: parameters[name].string_value for name in ("unk_id", "pad_type_id", "split_special_tokens")} == {
        "unk_id": "0",
        "pad_type_id": "3",
        "split_special_tokens": "true",
    }


def test_the_same_again_writes_nothing(repository):
    package(repository, RECIPE, [target("cpu")])
    before = {path: path.stat().st_mtime_ns for path in repository.rglob("*")}
    assert package(repository, RECIPE, [target("cpu")]).changed is False
    assert {path: path.stat().st_mtime_ns for path in repository.rglob("*")} == before


def test_only_serving_changes_only_configurations(repository):
    package(repository, RECIPE, [target("cpu")])
    before = bytes_of(repository)
    served = replace(SERVING, queue_delay_us=9, response_cache=True, warmup=False, threads=None)
    assert package(repository, replace(RECIPE, serving=served), [target("cpu")]).changed is True
    after = bytes_of(repository)
    assert after.keys() == before.keys()
    assert {path for path in after if after[path] != before[path]} == {
        "manifest.json",
        "tiny/config.pbtxt",
        "tiny_encoder/config.pbtxt",
        "tiny_encoder/configs/cpu.pbtxt",
        "tiny_tokenizer/config.pbtxt",
    }
    assert config(repository, "tiny/config.pbtxt").response_cache.enable is True
    assert config(repository, "tiny_encoder/config.pbtxt").model_warmup == ()


def test_what_a_call_may_cost_reaches_our_backend(repository):
    package(repository, RECIPE, [target("cpu")])
    assert "call_cost" not in config(repository, "tiny_encoder/config.pbtxt").parameters
    package(repository, replace(RECIPE, serving=replace(SERVING, call_cost=1e9)), [target("cpu")])
    assert config(repository, "tiny_encoder/config.pbtxt").parameters["call_cost"].string_value == "1e+09"


def test_a_new_engine_goes_beside_the_one_that_is_served(repository):
    package(repository, RECIPE, [target("cpu", "first")])
    package(repository, RECIPE, [target("cpu", "second")])
    assert (repository / "tiny_encoder/1/cpu.onnx").read_text() == "first"
    assert (repository / "tiny_encoder/2/cpu.onnx").read_text() == "second"
    assert config(repository, "tiny_encoder/config.pbtxt").version_policy is None
    assert versions(repository, "tiny_tokenizer") == {"1"}
    assert_whole(repository)


def test_a_new_tokenizer_is_a_new_version_of_the_tokenizer_alone(repository):
    package(repository, RECIPE, [target("cpu")])
    package(repository, replace(RECIPE, tokenizer=Content.of_bytes(b"{}")), [target("cpu")])
    assert versions(repository, "tiny_tokenizer") == {"1", "2"}
    assert versions(repository, "tiny_encoder") == {"1"}
    assert (repository / "tiny_tokenizer/2/model.py").is_file()


def test_targets_of_earlier_builds_stay_while_they_are_the_same_model(repository):
    package(repository, RECIPE, [target("small")])
    packaged = package(repository, RECIPE, [target("cpu")])
    assert (packaged.served, packaged.dropped) == (("cpu", "small"), ())
    assert config(repository, "tiny_encoder/config.pbtxt").default_model_filename == "cpu.onnx"
    assert config(repository, "tiny_encoder/configs/small.pbtxt").default_model_filename == "small.onnx"
    assert_whole(repository)


def test_a_target_that_was_left_behind_names_its_version_and_the_others_follow_the_latest(repository):
    package(repository, RECIPE, [target("cpu", "1"), target("small", "1")])
    assert config(repository, "tiny_encoder/configs/small.pbtxt").version_policy is None
    package(repository, RECIPE, [target("cpu", "2")])
    assert config(repository, "tiny_encoder/configs/small.pbtxt").version_policy.specific.versions == (1,)
    assert config(repository, "tiny_encoder/configs/cpu.pbtxt").version_policy is None
    assert (repository / "tiny_encoder/1/small.onnx").is_file()
    assert (repository / "tiny_encoder/2/cpu.onnx").is_file()


def versions(repository, model):
    return {folder.name for folder in (repository / model).iterdir() if folder.name.isdigit()}


@pytest.mark.parametrize(
    "recipe",
    [
        replace(RECIPE, order=(("cpu", "onnxruntime", ("fp32",)),)),
        replace(RECIPE, order=(("cpu", "onnxruntime", ("fp32",)), ("small", "onnxruntime", ("int8_dynamic",)))),
        replace(RECIPE, order=(("cpu", "onnxruntime", ("fp32",)), ("small", "tensorrt", ("int8",)))),
    ],
    ids=["gone from the recipe", "another precision", "another engine"],
)
def test_a_target_that_the_recipe_no_longer_means_is_dropped(repository, recipe):
    package(repository, RECIPE, [target("cpu"), target("small")])
    packaged = package(repository, recipe, [target("cpu")])
    assert (packaged.served, packaged.dropped) == (("cpu",), ("small",))
    assert not (repository / "tiny_encoder/configs/small.pbtxt").exists()
    assert list(read_manifest(repository)["recipes"]["tiny"]["targets"]) == ["cpu"]


def test_a_target_that_fell_back_stays_as_long_as_the_recipe_lets_it(repository):
    fallen = replace(
        target("small", precision="int8_dynamic"), refused=[{"precision": "int8", "why": "it falls too far"}]
    )
    package(repository, RECIPE, [target("cpu"), fallen])
    packaged = package(repository, RECIPE, [target("cpu")])
    assert (packaged.served, packaged.dropped) == (("cpu", "small"), ())
    entry = read_manifest(repository)["recipes"]["tiny"]["targets"]["small"]
    assert (entry["precision"], entry["refused"]) == ("int8_dynamic", fallen.refused)
    order = tuple((name, engine, precisions[:1]) for name, engine, precisions in RECIPE.order)
    assert package(repository, replace(RECIPE, order=order), [target("cpu")]).dropped == ("small",)
    assert_whole(repository)


def test_targets_of_another_model_are_dropped(repository):
    package(repository, RECIPE, [target("cpu"), target("small")])
    packaged = package(repository, RECIPE, [target("cpu", "retrained", model="model 2")])
    assert (packaged.served, packaged.dropped) == (("cpu",), ("small",))
    assert_whole(repository)


@pytest.mark.parametrize("field", ["longest", "dynamic"])
def test_targets_for_rows_of_another_length_are_dropped(repository, field):
    """The exported graph is the same; but the tokenizer now cuts elsewhere than the old target's engine."""
    package(repository, RECIPE, [target("cpu"), target("small")])
    axes = (replace(AXES[0], **{"longest": {"longest": 96}, "dynamic": {"dynamic": False}}[field]),)
    packaged = package(repository, RECIPE, [replace(target("cpu", "longer"), axes=axes)])
    assert (packaged.served, packaged.dropped) == (("cpu",), ("small",))
    assert_whole(repository)


def test_targets_of_a_manifest_without_axes_are_dropped(repository):
    """Their engines take other names than the configurations now say."""
    package(repository, RECIPE, [target("cpu"), target("small")])
    manifest = json.loads((repository / "manifest.json").read_text())
    for entry in manifest["recipes"]["tiny"]["targets"].values():
        del entry["axes"]
    (repository / "manifest.json").write_text(json.dumps(manifest))
    packaged = package(repository, RECIPE, [target("cpu")])
    assert (packaged.served, packaged.dropped) == (("cpu",), ("small",))


@pytest.mark.parametrize("damage", [None, "sMALL engine"])
def test_an_earlier_target_whose_file_is_damaged_is_dropped_not_served(repository, damage):
    package(repository, RECIPE, [target("cpu"), target("small")])
    path = repository / "tiny_encoder" / "1" / "small.onnx"
    path.unlink() if damage is None else path.write_text(damage)
    packaged = package(repository, RECIPE, [target("cpu")])
    assert (packaged.served, packaged.dropped) == (("cpu",), ("small",))
    assert_whole(repository)
    assert package(repository, RECIPE, [target("cpu"), target("small")]).served == ("cpu", "small")
    assert_whole(repository)


def test_a_damaged_file_is_put_right_where_it_is(repository):
    package(repository, RECIPE, [target("cpu")])
    before = bytes_of(repository)
    (repository / "tiny_encoder/1/cpu.onnx").write_text("damaged")
    (repository / "tiny_tokenizer/1/model.py").unlink()
    (repository / "tiny/config.pbtxt").write_text("name: 'mine'")
    assert package(repository, RECIPE, [target("cpu")]).changed is True
    assert bytes_of(repository) == before


def test_the_manifest_tells_how_each_engine_came_to_be(repository):
    package(repository, RECIPE, [target("cpu")])
    entry = read_manifest(repository)["recipes"]["tiny"]["targets"]["cpu"]
    assert entry["lineage"] == [{"stage": "export"}]
    assert entry["verification"] == [{"status": "verified"}]
    assert entry["sha256"] == digest_of_file(repository / "tiny_encoder/1/cpu.onnx")
    assert (entry["engine"], entry["precision"], entry["version"]) == ("onnxruntime", "fp32", 1)


def test_two_recipes_share_a_repository(repository):
    package(repository, RECIPE, [target("cpu")])
    package(repository, replace(RECIPE, name="other"), [target("cpu")])
    assert sorted(read_manifest(repository)["recipes"]) == ["other", "tiny"]
    assert_whole(repository)


PACKAGE = """
import sys
from dataclasses import replace
from pathlib import Path
sys.path.insert(0, str(Path(sys.argv[1]).parents[1] / "tiny"))
import tiny_package as t
from tritonpack.stages.package import package
print("ready", flush=True)
sys.stdin.readline()
for number in range(10):
    recipe = replace(t.RECIPE, name=f"{sys.argv[3]}{number}")
    package(Path(sys.argv[2]), recipe, [t.target("cpu")])
"""


def test_two_builds_at_once_forget_none_of_each_others_models(repository):
    command = [sys.executable, "-c", PACKAGE, __file__, str(repository)]
    writers = [
        subprocess.Popen([*command, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for name in "ab"
    ]
    assert [writer.stdout.readline() for writer in writers] == ["ready\n", "ready\n"]
    for writer in writers:
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=60)
        assert writer.returncode == 0
    assert sorted(read_manifest(repository)["recipes"]) == sorted(f"{n}{i}" for n in "ab" for i in range(10))
    assert_whole(repository)


def test_an_engine_that_no_backend_loads_is_written_with_a_manifest(tmp_path):
    built = replace(target("gpu"), triton=None)
    path = write_engine(tmp_path / "engines", "tiny", built)
    assert path == tmp_path / "engines" / "tiny" / "gpu.plan"
    assert path.read_text() == "gpu engine"
    manifest = json.loads((path.parent / "gpu.json").read_text())
    assert manifest["sha256"] == digest_of_file(path)
    assert manifest["triton"] is None
    assert (manifest["recipe"], manifest["target"]) == ("tiny", "gpu")
    write_engine(tmp_path / "engines", "tiny", replace(built, content=Content.of_bytes(b"another")))
    assert path.read_text() == "another"
    assert sorted(child.name for child in path.parent.iterdir()) == ["gpu.json", "gpu.plan"]
