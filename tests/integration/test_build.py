"""The whole build on a tiny model: every target, hits, gates, damage."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import pytest
from tiny_bert import HIDDEN, TARGETS, text_of, tiny_config, tiny_model, vocabulary

from tritonpack.core.digest import digest_of_file
from tritonpack.core.errors import RecipeError, UnsupportedError, VerificationError
from tritonpack.core.model import ModelTraits
from tritonpack.engines import ENGINES
from tritonpack.inputs import INPUTS, Sample
from tritonpack.repository.layout import damaged_files, read_manifest
from tritonpack.stages.raggedize import ragged_inputs
from tritonpack.tasks import TASKS

SERVED = [name for name, spec in TARGETS.items() if spec["engine"] == "onnxruntime"]
COMPILED = [name for name, spec in TARGETS.items() if spec["engine"] == "tensorrt_rtx"]
# Greatest distance of a unit vector's element from PyTorch's.
WITHIN = {"fp32": 1e-5, "fp16": 2e-3, "int8_dynamic": 0.05, "int8": 0.03}


TASK, TEXT = TASKS.get("embedding"), INPUTS.get("text")
TEXT_OPTIONS, MODEL = TEXT.options(kind="text"), ModelTraits(tiny_config().to_dict(), 48)


def sample(rows, length):
    return TEXT.sample(np.random.default_rng(5), rows, length, TEXT_OPTIONS, MODEL)


def texts(count):
    """Rows of texts like those that INT8 was calibrated on, but none of them."""
    rows = [
        [vocabulary().index(word) for word in ("[CLS]", *text_of(96 + row).split(), "[SEP]")] for row in range(count)
    ]
    lengths = np.array([len(row) for row in rows])
    ids = np.array([[*row, *[0] * (lengths.max() - len(row))] for row in rows])
    mask = (np.arange(lengths.max()) < lengths[:, None]).astype(np.int64)
    return Sample({"input_ids": ids, "attention_mask": mask}, {"sequence": lengths})


def answers(engine, rows, max_length=48):
    """An engine's vectors of sampled rows, each sent as a request of its own."""
    axes = TEXT.axes(TEXT_OPTIONS, ModelTraits(tiny_config().to_dict(), max_length))
    return engine.run(ragged_inputs(rows.inputs, axes, rows.lengths))["embedding_output"]


def outcomes(result):
    return {step.outcome.value for step in result.steps}


def pytorch(inputs):
    import torch

    names = ["input_ids", "attention_mask"]
    module = TASK.wrap(tiny_model(), names, TASK.options(kind="embedding"), MODEL)
    with torch.no_grad():
        return module(*(torch.from_numpy(inputs[name]) for name in names)).numpy()


@pytest.mark.parametrize("name", SERVED)
def test_each_engine_answers_as_pytorch_does(built, name):
    project, _ = built
    engine = ENGINES.get("onnxruntime").open(project.repository / "tiny_encoder" / "1" / f"{name}.onnx")
    # Ranges of INT8 are of texts; of ids that no text has it promises nothing.
    rows = texts(24) if name == "int8" else sample(24, 30)
    answer, expected = answers(engine, rows), pytorch(rows.inputs)
    assert (answer.dtype, answer.shape) == (np.float32, (24, HIDDEN))
    assert np.abs(answer - expected).max() < WITHIN[name]
    assert np.allclose(np.linalg.norm(answer, axis=1), 1, atol=1e-3)


@pytest.mark.parametrize("name", SERVED)
def test_every_step_to_a_served_engine_was_verified(built, name):
    (target,) = [target for target in built[1].targets if target.name == name]
    assert [report["status"] for report in target.verification] == ["verified"] * 4
    agreement = target.verification[-1]["outputs"]["embedding_output"]
    assert agreement["max_abs_error"] < WITHIN[name]
    assert agreement["min_cosine"] > 0.99


@pytest.mark.parametrize("name", COMPILED)
def test_a_plan_that_cant_run_here_is_compiled_and_never_called_verified(built, name):
    project, result = built
    (target,) = [target for target in result.targets if target.name == name]
    if ENGINES.get("tensorrt_rtx").can_execute():
        pytest.skip("this machine has a GPU: the plan is executed and verified")
    assert [report["status"] for report in target.verification] == ["verified"] * 3 + ["compiled, not executed"]
    path = result.engine_files[name]
    assert path == project.root / "engines" / "tiny" / f"{name}.plan"
    assert path.stat().st_size > 10_000
    manifest = json.loads(path.with_suffix(".json").read_text())
    assert manifest["sha256"] == digest_of_file(path)
    assert manifest["verification"][-1]["status"] == "compiled, not executed"
    assert manifest["facts"]["tensorrt"].startswith("tensorrt-rtx-cu13 1.")
    assert manifest["facts"]["platform"] == "linux_x86_64"


def test_the_repository_is_whole_and_tells_every_lineage(built):
    project, result = built
    assert damaged_files(project.repository, "tiny") == {}
    assert result.packaged.served == tuple(SERVED)
    targets = read_manifest(project.repository)["recipes"]["tiny"]["targets"]
    engine, seen = ["lower", "ragged", "compile"], ["tokenizer", "tokenizer_facts", "calibration", "observe"]
    assert stages(targets["fp32"]) == ["export", *engine]
    assert stages(targets["fp16"]) == ["export", *seen, *engine]
    # Real rows and PyTorch's answers to them are both called a probe.
    assert stages(targets["int8"]) == ["export", *seen, "probe", "probe", "search", *engine]
    searched = targets["int8"]["lineage"][stages(targets["int8"]).index("search")]["facts"]
    # All groups together, and each alone, so that the manifest tells what each costs.
    assert (searched["met"], searched["trials"]) == (True, 9)
    assert sum(layer["gain"] for layer in searched["layers"]) == pytest.approx(1)
    assert [layer["nodes"] for layer in searched["layers"]] == [3, 1, 1, 1] * 2
    assert all(layer["quantized"] and layer["damage"] > 0 for layer in searched["layers"])
    assert targets["fp16"]["lineage"][-1]["sha256"] == targets["fp16"]["sha256"]


def stages(target):
    return [step["stage"] for step in target["lineage"]]


def test_int8_is_verified_on_rows_that_calibration_left(built):
    steps = {step.action.description: step.record.facts for step in built[1].steps}
    assert steps["calibration rows"]["samples"] == 64
    assert (steps["probe rows"]["samples"], steps["probe rows"]["held_out"]) == (32, True)


def test_the_tokenizer_is_prepared_for_serving(built):
    from tokenizers import Tokenizer

    project, _ = built
    tokenizer = Tokenizer.from_file(str(project.repository / "tiny_tokenizer" / "1" / "tokenizer.json"))
    assert tokenizer.padding is None
    assert tokenizer.truncation is None
    assert tokenizer.encode("the cat").tokens == ["[CLS]", "the", "cat", "[SEP]"]


def test_the_same_recipe_elsewhere_builds_the_same_bytes(built, project):
    source, _ = built
    project.build(*SERVED)
    first, second = (
        {
            path.relative_to(root): digest_of_file(path)
            for path in root.rglob("*")
            if path.is_file() and path.name != "manifest.json"
        }
        for root in (source.repository, project.repository)
    )
    assert first == second


def test_a_second_build_hits_everything_and_writes_nothing(project):
    project.build(*TARGETS)
    before = {path: path.stat().st_mtime_ns for path in project.repository.rglob("*")}
    result = project.build(*TARGETS)
    assert outcomes(result) == {"hit"}
    assert result.packaged.changed is False
    assert {path: path.stat().st_mtime_ns for path in project.repository.rglob("*")} == before


def test_only_serving_changed_rewrites_configurations_and_runs_nothing(project):
    project.build(*SERVED)
    engines = {path: path.stat() for path in project.repository.rglob("*.onnx")}
    result = project.build(*SERVED, serving={"max_batch": 4, "queue_delay_us": 7, "threads": 2, "response_cache": True})
    assert outcomes(result) == {"hit"}
    assert result.packaged.changed is True
    assert {path: path.stat().st_ino for path in engines} == {path: stat.st_ino for path, stat in engines.items()}
    text = (project.repository / "tiny_encoder" / "config.pbtxt").read_text()
    assert "max_batch_size: 4" in text
    assert "max_queue_delay_microseconds: 7" in text
    assert "response_cache" in (project.repository / "tiny" / "config.pbtxt").read_text()


@pytest.mark.parametrize("changes", [{"description": "other words"}, {"serving": {"max_batch": 2}}])
def test_what_people_read_or_triton_does_runs_nothing(project, changes):
    assert outcomes(project.build("fp32", **changes)) == {"hit"}


def test_another_opset_exports_again_but_keeps_the_reference(project):
    result = project.build("fp32", export={"max_length": 48, "opset": 18})
    ran = {step.action.stage for step in result.steps if step.outcome == "ran"}
    assert {"export", "compile", "ragged"} <= ran
    assert "reference" not in ran
    assert "tokenizer" not in ran


def digests_of_blobs(project):
    return {path.name for path in (project.store / "blobs").iterdir()}


IMPOSSIBLE = {"parity": {"int8": {"min_cosine": 1, "max_abs_error": 1e-9}}}
WHOLE_INT8 = {"int8": {**TARGETS["int8"], "quantization": {"layers": "all"}}}


def files_of(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_impossible_gate_stops_the_build_and_leaves_nothing(project):
    targets = {**TARGETS, **WHOLE_INT8}
    project.build("fp32")
    before = files_of(project.repository)
    steps = project.build("int8", targets=targets).steps
    lowered = {step.record.digest for step in steps if step.action.description == "precision int8"}
    assert lowered
    assert lowered <= digests_of_blobs(project)
    before_int8 = files_of(project.repository)
    assert before_int8.keys() > before.keys()
    with pytest.raises(VerificationError) as error:
        project.build("int8", targets=targets, gates=IMPOSSIBLE)
    message = error.value.message
    assert message.startswith("ONNX int8: output 'embedding_output' ")
    assert "maximum error 0.0" in message
    assert "is over the gate 1e-09 (input 0: 32 rows, longest sequence " in message
    assert "gates.parity" in error.value.hint
    assert not lowered & digests_of_blobs(project)
    assert files_of(project.repository) == before_int8
    assert outcomes(project.build("fp32")) == {"hit"}


def test_a_search_that_finds_nothing_stops_the_build_and_says_what_came_nearest(project):
    project.build("int8")
    before = files_of(project.repository)
    with pytest.raises(VerificationError) as error:
        project.build("int8", gates=IMPOSSIBLE)
    message = error.value.message
    assert re.match(
        r"int8: none of the sets of layers that were tried keeps the budget, in \d+ trials; nearest: "
        r".*'embedding_output'.* 1e-09",
        message,
    )
    assert error.value.exit_code == 4
    assert all(word in error.value.hint for word in ("`fallback`", "gates.accuracy.max_drop", "gates.parity"))
    assert [layer["quantized"] for layer in error.value.context["layers"]] == [False] * 8
    assert all(layer["damage"] > 0 for layer in error.value.context["layers"])
    assert files_of(project.repository) == before


def test_a_damaged_blob_is_built_again_with_a_warning(project, caplog):
    steps = {step.action.description: step for step in project.build("fp16").steps}
    record = steps["precision fp16"].record
    blob = project.store / "blobs" / record.digest
    content = bytearray(blob.read_bytes())
    content[1000] ^= 0xFF
    blob.chmod(0o644)
    blob.write_bytes(content)
    os.utime(blob, ns=(record.mtime_ns + 1, record.mtime_ns + 1))
    result = project.build("fp16")
    assert f"store: blob {record.digest[:12]} isn't what it was; it is removed and made again" in caplog.messages
    assert [step.action.description for step in result.steps if step.outcome == "ran"] == ["precision fp16"]
    assert digest_of_file(blob) == record.digest
    assert result.packaged.changed is False


def test_a_damaged_engine_in_store_and_repository_is_made_again(project, caplog):
    """Even when its time and size say that nothing happened."""
    result = project.build("fp16")
    digest = result.targets[0].content.digest
    for path in (project.store / "blobs" / digest, project.repository / "tiny_encoder" / "1" / "fp16.onnx"):
        stat = path.stat()
        path.chmod(0o644)
        path.write_bytes(path.read_bytes()[:-1] + b"?")
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert project.build("fp16").packaged.changed is True
    assert "isn't what it was" in caplog.text
    assert digest_of_file(project.repository / "tiny_encoder" / "1" / "fp16.onnx") == digest


def test_an_unknown_target_names_the_ones_there_are(project):
    with pytest.raises(
        RecipeError, match="recipe tiny has no target 'fp61'; it has: fp32, fp16, int8_dynamic"
    ) as error:
        project.build("fp61")
    assert error.value.hint == "Did you mean 'fp16'?"
    assert not project.repository.exists()


def test_an_engine_that_doesnt_run_a_precision_is_refused(project):
    targets = {"bad": {"engine": "tensorrt_rtx", "precision": "int8_dynamic"}}
    with pytest.raises(UnsupportedError, match="engine tensorrt_rtx doesn't run precision int8_dynamic") as error:
        project.build("bad", targets=targets)
    assert error.value.hint == "int8_dynamic runs on onnxruntime."


def test_a_length_over_the_models_positions_is_refused(project):
    with pytest.raises(RecipeError, match=r"export\.max_length is 65, but the model has 64 positions") as error:
        project.build("fp32", export={"max_length": 65})
    assert error.value.hint == "Set export.max_length to 64 or less."


def test_calibration_data_that_isnt_there_is_named(project):
    with pytest.raises(RecipeError, match=r"calibration data .*absent\.txt isn't there"):
        project.build("int8", calibration={"file": "absent.txt"})


def test_the_model_may_lie_beside_the_recipe(project, built):
    (project.root / "model").symlink_to(built[0].root / "model")
    assert outcomes(project.build("fp32", source={"kind": "huggingface", "model": "./model"})) == {"hit"}


@pytest.mark.slow
def test_a_fixed_row_length_builds_and_answers(project):
    project.build("fp32", export={"max_length": 24, "dynamic_axes": ["batch"]})
    engine = ENGINES.get("onnxruntime").open(project.repository / "tiny_encoder" / "1" / "fp32.onnx")
    rows = sample(3, 10)
    assert np.abs(answers(engine, rows, 24) - pytorch(rows.inputs)).max() < 1e-5
