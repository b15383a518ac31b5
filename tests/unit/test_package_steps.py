"""Which Python steps a repository holds, and which it no longer does."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tritonpack.repository.layout import read_manifest
from tritonpack.stages.package import package

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_package import CODE, FILLED, LABELLED, LOGITS, MASKS, RECIPE, assert_whole, bytes_of, config, target


@pytest.fixture
def repository(tmp_path):
    return tmp_path / "models"


def test_a_task_with_answers_of_its_own_has_a_fourth_model(repository):
    package(repository, LABELLED, [target("cpu", outputs=LOGITS)])
    stage = (repository / "tiny_postprocessor" / "1" / "stage.py").read_bytes()
    assert stage == (CODE / "classification.py").read_bytes()
    assert {path for path in bytes_of(repository) if path.startswith("tiny_postprocessor")} == {
        "tiny_postprocessor/1/model.py",
        "tiny_postprocessor/1/stage.py",
        "tiny_postprocessor/config.pbtxt",
    }
    after = config(repository, "tiny_postprocessor/config.pbtxt")
    assert (after.max_batch_size, after.instance_group[0].count) == (8, 3)
    assert [part.name for part in after.input] == ["logits_output"]
    assert [part.name for part in after.output] == ["labels", "scores"]
    _, encoder, answer = config(repository, "tiny/config.pbtxt").ensemble_scheduling.step
    assert (answer.model_name, answer.input_map) == ("tiny_postprocessor", encoder.output_map)
    assert answer.output_map == {"labels": "labels", "scores": "scores"}
    assert read_manifest(repository)["recipes"]["tiny"]["models"] == {
        "ensemble": "tiny",
        "encoder": "tiny_encoder",
        "preprocessor": "tiny_tokenizer",
        "postprocessor": "tiny_postprocessor",
    }
    assert_whole(repository)


def test_answers_that_are_words_have_the_tokenizer_beside_them(repository):
    package(repository, FILLED, [target("cpu", outputs=MASKS)])
    words = (repository / "tiny_postprocessor" / "1" / "tokenizer.json").read_bytes()
    assert words == (repository / "tiny_tokenizer" / "1" / "tokenizer.json").read_bytes()
    step = config(repository, "tiny/config.pbtxt").ensemble_scheduling.step[2]
    assert step.input_map == {"logits_output": "logits_output", "input_ids": "input_ids"}


def test_a_recipe_whose_task_changed_leaves_nothing_of_the_old_one(repository):
    package(repository, FILLED, [target("cpu", "masks", model="masks", outputs=MASKS)])
    package(repository, RECIPE, [target("cpu", "vectors", model="vectors")])
    assert not any(path.startswith("tiny_postprocessor") for path in bytes_of(repository))
    assert not (repository / "tiny_postprocessor").exists()
    assert "postprocessor" not in read_manifest(repository)["recipes"]["tiny"]["models"]
    assert len(config(repository, "tiny/config.pbtxt").ensemble_scheduling.step) == 2
    assert_whole(repository)


def test_another_tasks_code_is_a_new_version_of_the_last_step(repository):
    package(repository, FILLED, [target("cpu", "masks", model="masks", outputs=MASKS)])
    package(repository, LABELLED, [target("cpu", "labels", model="labels", outputs=LOGITS)])
    stage = (repository / "tiny_postprocessor" / "2" / "stage.py").read_bytes()
    assert stage == (CODE / "classification.py").read_bytes()
    assert not (repository / "tiny_postprocessor" / "2" / "tokenizer.json").exists()
    assert_whole(repository)


def test_a_recipe_whose_task_changed_twice_leaves_no_version_of_the_old_ones(repository):
    """A folder without a configuration would keep Triton from starting."""
    package(repository, FILLED, [target("cpu", "masks", model="masks", outputs=MASKS)])
    package(repository, LABELLED, [target("cpu", "labels", model="labels", outputs=LOGITS)])
    package(repository, RECIPE, [target("cpu", "vectors", model="vectors")])
    assert not (repository / "tiny_postprocessor").exists()
    assert all((folder / "config.pbtxt").is_file() for folder in repository.iterdir() if folder.is_dir())


def test_a_step_goes_from_a_repository_that_is_a_mount_point_too(repository, monkeypatch):
    monkeypatch.setattr("tritonpack.repository.tree._is_mount", lambda _folder: True)
    package(repository, LABELLED, [target("cpu", outputs=LOGITS)])
    package(repository, RECIPE, [target("cpu", "vectors", model="vectors")])
    assert sorted(path.name for path in repository.iterdir() if not path.name.startswith(".")) == [
        "manifest.json",
        "tiny",
        "tiny_encoder",
        "tiny_tokenizer",
    ]
    assert_whole(repository)


def test_what_a_person_put_beside_a_step_that_goes_stays(repository):
    package(repository, LABELLED, [target("cpu", outputs=LOGITS)])
    (repository / "tiny_postprocessor" / "notes.txt").write_text("mine")
    package(repository, RECIPE, [target("cpu", "vectors", model="vectors")])
    assert {path for path in bytes_of(repository) if path.startswith("tiny_postprocessor")} == {
        "tiny_postprocessor/notes.txt"
    }


def test_another_recipes_steps_stay(repository):
    package(repository, replace(LABELLED, name="other"), [target("cpu", outputs=LOGITS)])
    package(repository, LABELLED, [target("cpu", outputs=LOGITS)])
    package(repository, RECIPE, [target("cpu", "vectors", model="vectors")])
    assert (repository / "other_postprocessor" / "1" / "stage.py").is_file()
    assert_whole(repository)
