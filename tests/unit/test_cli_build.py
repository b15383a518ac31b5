"""What `build` and `plan` say before a model is touched; the rest is in tests/integration."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import pytest
import yaml

from tritonpack.api import Build
from tritonpack.cli import main

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_package import target

cli_build = import_module("tritonpack.cli.build")

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
    monkeypatch.setattr("tritonpack.recipe.load_recipe", lambda _path, _overlays: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        main()


GATE = {"max_abs_error": None, "min_cosine": 0.95, "mean_cosine": None}
SEARCH = {
    "trials": 12,
    "layers": [
        {"name": "layer.0", "gain": 0.75, "quantized": True},
        {"name": "layer.1", "gain": 0.125, "quantized": False},
        {"name": "layer.2", "gain": 0.125, "quantized": False},
    ],
}


def printed(capsys, **changes):
    built = replace(target("small"), **{"verification": [], **changes})
    cli_build._print_build("tiny", Build([], [built], None, Path("models"), {}))
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines() if line.strip()]


def test_a_built_target_shows_its_gates_and_their_figures(capsys):
    agreement = {"max_abs_error": 0.02, "mean_abs_error": 0.001, "min_cosine": 0.97, "mean_cosine": 0.99}
    lines = printed(
        capsys,
        verification=[
            {"candidate": "ONNX int8", "status": "verified", "gate": GATE, "outputs": {"embedding_output": agreement}},
            {
                "candidate": "onnxruntime int8", "status": "verified", "metric": "spearman", "baseline": 0.81,
                "candidate_value": 0.805, "max_drop": 0.01,
            },
            {
                "candidate": "onnxruntime int8", "status": "verified", "speedup": 1.834, "safer": "fp16",
                "min_speedup": 1.05,
            },
            {"candidate": "tensorrt int8", "status": "compiled, not executed"},
        ],
    )  # fmt: skip
    assert lines[0] == "tiny, target small (int8), against PyTorch FP32"
    assert "int8 2.0e-02 / 1.0e-03 0.97000 / 0.99000 cos>=0.95 verified" in lines
    assert "onnxruntime int8: spearman 0.8100 -> 0.8050 drop<=0.01 verified" in lines
    assert "onnxruntime int8: speed 1.83 x fp16 speedup>=1.05 verified" in lines
    assert "tensorrt int8 compiled, not executed" in lines


def test_what_was_refused_and_what_a_search_chose_are_told(capsys):
    lines = " ".join(
        printed(
            capsys,
            precision="int8_dynamic",
            refused=[{"precision": "int8", "why": "int8: none of [7] sets"}],
            lineage=[{"stage": "search", "facts": SEARCH}, {"stage": "compile", "facts": {}}],
        )
    )
    assert "target small (int8_dynamic)" in lines
    assert "int8 was refused: int8: none of [7] sets" in lines
    assert (
        "1 of 3 groups of layers, 75% of the multiplications in int8_dynamic, after 12 trials; kept in floating point: "
        "layer.1, layer.2"
    ) in lines
    everything = {**SEARCH, "layers": SEARCH["layers"][:1]}
    lines = " ".join(printed(capsys, lineage=[{"stage": "search", "facts": everything}]))
    assert "1 of 1 groups of layers, 75% of the multiplications in int8, after 12 trials" in lines
    assert "kept in floating point" not in lines
    nothing = {"stage": "search", "facts": {"layers": [], "trials": 0}}
    assert "groups of layers" not in " ".join(printed(capsys, lineage=[nothing]))
