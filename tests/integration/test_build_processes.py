"""Builds as processes: the command line, two at once, one that is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import time

import pytest

from tritonpack.core.digest import digest_of_file
from tritonpack.repository.layout import damaged_files, read_manifest


def test_build_prints_one_document(project):
    document = project.document_of("build", "--target", "fp16", "--target", "rtx_fp16")
    assert document["recipe"] == "tiny"
    assert document["repository"] == str(project.repository)
    assert document["repository_changed"] is True
    assert document["served_targets"] == ["fp16"]
    assert document["dropped_targets"] == []
    assert document["engine_files"] == {"rtx_fp16": str(project.root / "engines" / "tiny" / "rtx_fp16.plan")}
    assert {step["outcome"] for step in document["steps"]} == {"hit"}
    assert {"stage", "description", "outcome", "seconds", "sha256", "size"} == set(document["steps"][0])
    fp16 = document["targets"]["fp16"]
    assert (fp16["engine"], fp16["precision"], fp16["file"]) == ("onnxruntime", "fp16", "fp16.onnx")
    assert fp16["sha256"] == digest_of_file(project.repository / "tiny_encoder" / "1" / "fp16.onnx")
    assert fp16["verification"][-1]["outputs"]["embedding_output"]["min_cosine"] > 0.999


def test_the_first_target_is_built_when_none_is_named(project):
    assert list(project.document_of("build")["targets"]) == ["fp32"]


def test_build_prints_a_table_for_people(project):
    result = project.run("build", "--target", "fp16")
    assert result.returncode == 0, result.stderr
    assert "tiny, target fp16 (fp16), against PyTorch FP32" in result.stdout
    assert "fp16, ragged" in result.stdout
    assert "cos>=0.999" in result.stdout
    assert f"model repository {project.repository}: written; targets fp16" in result.stdout


def test_a_repository_with_brackets_in_its_name_is_printed_as_it_is(project):
    repository = project.root / "[red]models"
    result = subprocess.run(
        [*project.command("build"), "--repository", str(repository)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert f"model repository {repository}: written; targets fp32" in result.stdout


FULL = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
from tritonpack.cli import main
main(sys.argv[1:])
"""


@pytest.mark.parametrize("place", ["store", "repository"])
def test_a_full_disk_is_exit_code_5_and_leaves_store_and_repository_intact(project, place):
    """Of the tiny model only the engines are larger than the limit."""
    if place == "store":
        project.recipe(export={"max_length": 40})
    before = {path: path.read_bytes() for path in (project.store / "blobs").iterdir()}
    command = project.command("build", "--target", "fp16")
    result = subprocess.run([command[0], "-c", FULL, *command[3:]], capture_output=True, text=True, check=False)
    assert result.returncode == 5, result.stderr
    assert "File too large" in result.stderr
    assert "hint:  Free some space" in result.stderr
    assert "Traceback" not in result.stderr
    assert not project.repository.exists()
    assert {path: path.read_bytes() for path in before} == before
    project.recipe()
    assert project.document_of("build", "--target", "fp16")["served_targets"] == ["fp16"]
    assert_whole(project)


def test_plan_shows_misses_then_hits_and_makes_nothing(project, fresh):
    misses = fresh.document_of("plan", "--target", "fp32")["targets"]["fp32"]
    assert {step["outcome"] for step in misses} == {"miss", "miss, behind another"}
    assert misses[0] == {"stage": "export", "description": "PyTorch -> ONNX", "outcome": "miss"}
    assert not fresh.store.exists()
    document = project.document_of("plan")
    assert {step["outcome"] for steps in document["targets"].values() for step in steps} == {"hit"}
    assert list(document["targets"]) == list(project.document["targets"])
    assert document["unsupported"] == {}


def test_plan_tells_what_cant_be_built_here(project):
    targets = {**project.document["targets"], "bad": {"engine": "tensorrt_rtx", "precision": "int8_dynamic"}}
    project.recipe(targets=targets)
    document = project.document_of("plan")
    assert list(document["unsupported"]) == ["bad"]
    assert document["unsupported"]["bad"]["hint"] == "int8_dynamic runs on onnxruntime."


PROGRAM = """
import sys
from tritonpack.cli import main
try:
    main(sys.argv[1:])
finally:
    heavy = ["torch", "transformers", "onnx", "tensorrt_rtx", "tensorrt"]
    print([name for name in heavy if name in sys.modules], file=sys.stderr)
"""


def test_a_build_of_hits_imports_nothing_heavy(project):
    command = project.command("build", *[f"--target={name}" for name in project.document["targets"]])
    result = subprocess.run([command[0], "-c", PROGRAM, *command[3:]], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines()[-1] == "[]"
    assert " hit, 0 ran in 0.0 s" in result.stdout


@pytest.mark.parametrize(
    ("changes", "arguments", "code", "words"),
    [
        ({"taks": 1}, [], 2, "Did you mean 'task'?"),
        ({}, ["--target", "fp61"], 2, "Did you mean 'fp16'?"),
        ({"export": {"max_length": 65}}, [], 2, "the model has 64 positions"),
        ({"gates": {"parity": {"fp16": {"max_abs_error": 1e-9}}}}, ["--target", "fp16"], 4, "is over the gate 1e-09"),
    ],
    ids=["unknown key", "unknown target", "too long", "impossible gate"],
)
def test_an_error_is_a_message_a_hint_and_an_exit_code(project, changes, arguments, code, words):
    from tiny_bert import write_recipe

    write_recipe(project.path, {**project.document, **changes})
    result = project.run("build", *arguments)
    assert result.returncode == code
    assert words in result.stderr.replace("\n", " ")
    assert "error: " in result.stderr
    assert "hint:  " in result.stderr
    assert "Traceback" not in result.stderr
    assert not project.repository.exists()
    again = project.run("build", *arguments, "--json")
    assert again.stdout == ""
    document = json.loads(again.stderr)
    assert document["exit_code"] == again.returncode == code
    assert words in document["message"] + document["hint"]


def assert_whole(project):
    assert damaged_files(project.repository, "tiny") == {}
    for path in (project.store / "actions").iterdir():
        record = json.loads(path.read_text())
        assert digest_of_file(project.store / "blobs" / record["digest"]) == record["digest"]
    assert list((project.store / "tmp").iterdir()) == []


@pytest.mark.slow
def test_a_killed_build_leaves_nothing_that_the_next_one_minds(fresh):
    with subprocess.Popen(fresh.command("build"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as build:
        scratch = fresh.store / "tmp"
        while not (scratch.is_dir() and any(scratch.iterdir())):
            assert build.poll() is None
            time.sleep(0.01)
        build.send_signal(signal.SIGKILL)
    assert build.returncode == -signal.SIGKILL
    assert any(scratch.iterdir())
    assert not fresh.repository.exists()
    document = fresh.document_of("build")
    assert document["served_targets"] == ["fp32"]
    assert_whole(fresh)


@pytest.mark.slow
def test_two_builds_at_once_share_the_work(fresh):
    commands = [
        fresh.command("build", "--target", "fp32", "--json"),
        fresh.command("build", "--target", "fp16", "--json"),
    ]
    builds = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for command in commands
    ]
    outputs = [build.communicate(timeout=120) for build in builds]
    assert [build.returncode for build in builds] == [0, 0], outputs
    exported = [
        step["outcome"] for output, _ in outputs for step in json.loads(output)["steps"] if step["stage"] == "export"
    ]
    assert sorted(exported) == ["hit", "ran"]
    assert list(read_manifest(fresh.repository)["recipes"]["tiny"]["targets"]) == ["fp32", "fp16"]
    assert_whole(fresh)
