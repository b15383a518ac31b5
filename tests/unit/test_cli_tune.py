"""What `tritonpack tune` asks for, prints and writes, of results that are made up here."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import tritonpack.tuning.tune
from tritonpack.cli.tune import tune
from tritonpack.core.errors import ConfigurationError, LoadTestError, RecipeError

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_recipe import SMALLEST
from tiny_tuning import RECIPE, point, tuned

from tritonpack.tuning.confirm import confirmation_from_points
from tritonpack.tuning.tune import best_trial

FASTER = confirmation_from_points([point(4, speed) for speed in (100, 101, 99)], [point(8, 150) for _ in range(3)])


def found():
    overlay = best_trial(tuned().trials[1:]).settings.overlay(RECIPE)
    return tuned(lambda trials: best_trial(trials[1:]), FASTER, overlay)


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Call the command with a search that gives a result; returns click's result and what was asked for."""
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(yaml.safe_dump(SMALLEST))

    def run(result, *words, catch=False):
        asked = {}

        def searched(recipe, plan, load, texts, **others):
            asked.update(recipe=recipe, plan=plan, load=load, texts=texts)
            for number, trial in enumerate(result.trials):
                others["watcher"].says(f"trial {number}")
                others["watcher"].finished(trial, best_trial(result.trials[: number + 1]))
            return result

        monkeypatch.setattr(tritonpack.tuning.tune, "tune", searched)
        arguments = [str(recipe), "--slo", "p99<=25ms", "--generator", "python", *words]
        return CliRunner().invoke(tune, arguments, catch_exceptions=catch), asked

    return run


def test_a_result_is_printed_and_written(call, tmp_path):
    done, asked = call(found())
    assert done.exit_code == 0
    assert "tuned: the settings found keep p99<=25ms with 1.50 times the throughput" in " ".join(done.stdout.split())
    assert "0 (own)" in done.stdout
    assert "gpu (fp16) wasn't searched" in done.stdout
    assert "best so far" in done.stderr
    assert yaml.safe_load((tmp_path / "tiny.tuned.yaml").read_text())["target"] == "cpu"
    assert "<svg" in (tmp_path / "tiny.tuned.html").read_text()
    assert (asked["plan"].trials, asked["plan"].sampler, asked["texts"]["count"]) == (24, "tpe", 200)


def test_options_are_passed_on(call, tmp_path):
    texts = tmp_path / "t.txt"
    texts.write_text("one\ntwo\n")
    overlay = tmp_path / "o.yaml"
    overlay.write_text("serving: {instances: 2}")
    _, asked = call(
        tuned(), "--target", "cpu", "--precision", "int8_dynamic", "--trials", "5", "--timeout", "60", "--sampler",
        "grid", "--window", "1", "--max-concurrency", "8", "--rounds", "3", "--texts", str(texts), "--study",
        str(tmp_path / "s.db"), "--overlay", str(overlay),
    )  # fmt: skip
    plan = asked["plan"]
    assert (plan.targets, plan.precisions, plan.trials) == (("cpu",), ("int8_dynamic",), 5)
    assert (plan.timeout_s, plan.sampler, plan.window_s) == (60, "grid", 1)
    assert (plan.max_concurrency, plan.rounds, plan.study) == (8, 3, tmp_path / "s.db")
    assert asked["texts"]["source"] == "t.txt"
    assert asked["recipe"].serving.instances == 2


def test_settings_that_stay_leave_no_overlay(call, tmp_path):
    done, _ = call(tuned())
    assert done.exit_code == 0
    assert "kept: no other settings were found that keep p99<=25ms" in done.stdout
    assert not (tmp_path / "tiny.tuned.yaml").exists()
    assert (tmp_path / "tiny.tuned.html").exists()


def test_json_is_one_document(call, tmp_path):
    done, _ = call(found(), "--json", "--output", str(tmp_path / "o.yaml"), "--html", str(tmp_path / "p.html"))
    document = json.loads(done.stdout)
    assert done.stderr == ""
    assert (document["result"], document["overlay_file"]) == ("tuned", str(tmp_path / "o.yaml"))
    assert Path(document["html"]).is_file()


def test_an_objective_that_nothing_keeps_is_an_error_with_a_page(call, tmp_path):
    result = tuned()
    missed = replace(result.own, best=point(1, 50, 60.0))
    with pytest.raises(LoadTestError, match=r"no settings keep p99<=25ms; .* 2\.40 times") as error:
        call(replace(result, own=missed, trials=(missed,)))
    assert "tiny.tuned.html" in error.value.hint
    assert error.value.exit_code == 6
    assert (tmp_path / "tiny.tuned.html").exists()


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (["--slo", "fast"], ConfigurationError, "'fast'"),
        (["--trials", "0"], ConfigurationError, "--trials is 0"),
        (["--overlay", "none.yaml"], RecipeError, "none.yaml isn't there"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(call, words, error, message):
    with pytest.raises(error, match=message):
        call(tuned(), *words)
