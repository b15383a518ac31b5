"""What `build` and `plan` say before a model is touched; the rest is in tests/integration."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import yaml

from tritonpack.cli import main

RECIPE = {
    "name": "tiny",
    "source": {"kind": "huggingface", "model": "./model"},
    "task": {"kind": "embedding"},
    "targets": {"cpu": {"engine": "onnxruntime", "precision": "fp32"}},
}


@pytest.fixture
def recipe(tmp_path):
    def write(**changes):
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump({**RECIPE, **changes}), encoding="utf-8")
        return path

    return write


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRITONPACK_HOME", str(tmp_path / "home"))

    def call(*arguments):
        # The arguments as a shell would give them, since the error handler looks for --json there.
        monkeypatch.setattr(sys, "argv", ["tritonpack", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, *capsys.readouterr()

    return call


def test_a_recipe_that_isnt_there(run):
    code, out, error = run("build", "absent.yaml")
    assert (code, out) == (2, "")
    assert error == "error: recipe absent.yaml isn't there\nhint:  Give the path of a YAML file.\n"


@pytest.mark.parametrize("verb", ["build", "plan"])
def test_a_recipe_that_doesnt_validate(run, recipe, verb):
    code, _, error = run(verb, recipe(taks=1))
    assert code == 2
    assert "  taks: unknown key\n" in error
    assert error.endswith("hint:  Did you mean 'task'?\n")


@pytest.mark.parametrize("verb", ["build", "plan"])
def test_a_model_that_isnt_there(run, recipe, tmp_path, verb):
    code, _, error = run(verb, recipe())
    assert code == 2
    assert f"error: model directory {tmp_path / 'model'} isn't there\n" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.yaml"]


def test_an_unknown_target(run, recipe):
    code, _, error = run("build", recipe(), "--target", "cup")
    assert code == 2
    assert error == "error: recipe tiny has no target 'cup'; it has: cpu\nhint:  Did you mean 'cpu'?\n"


@pytest.mark.parametrize("where", ["before", "after"])
def test_an_error_with_json_is_one_document(run, recipe, where):
    path = recipe(taks=1)
    code, out, error = run("build", *(["--json", path] if where == "before" else [path, "--json"]))
    assert (code, out) == (2, "")
    document = json.loads(error)
    assert document["error"] == "RecipeError"
    assert document["hint"] == "Did you mean 'task'?"
    assert document["context"] == {"fields": ["taks"]}
    assert document["exit_code"] == 2


@pytest.mark.parametrize(
    "arguments", [["bulid"], ["build"], ["build", "a.yaml", "--targt", "x"], ["build", "a.yaml", "b.yaml"]]
)
def test_a_command_line_that_isnt_one_is_a_configuration_error(run, arguments):
    code, out, error = run(*arguments)
    assert (code, out) == (2, "")
    assert error.startswith("Usage: tritonpack")


def test_markup_in_a_message_is_text(run, tmp_path):
    code, _, error = run("build", Path("[red]absent[/red].yaml"))
    assert code == 2
    assert "recipe [red]absent[/red].yaml isn't there" in error
    assert list(tmp_path.iterdir()) == []


def test_a_bug_keeps_its_traceback(monkeypatch, recipe):
    monkeypatch.setattr(sys, "argv", ["tritonpack", "plan", str(recipe())])
    monkeypatch.setattr("tritonpack.recipe.load_recipe", lambda _path: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        main()
