"""`tritonpack tune` as a person calls it: a tiny model, real servers, real load."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[1] / "tiny"))  # tests import no package of their own

from tiny_bert import recipe_document, write_bert, write_recipe, write_texts

from tritonpack.api import build
from tritonpack.recipe import load_recipe

pytestmark = [pytest.mark.server, pytest.mark.load, pytest.mark.slow]
TARGETS = {
    "exact": {"engine": "onnxruntime", "precision": "fp32"},
    "gpu": {"engine": "tensorrt", "precision": "fp16"},
}
SHORT = ("--window", 0.3, "--max-concurrency", 4, "--rounds", 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A recipe whose model is built already."""
    folder = tmp_path_factory.mktemp("tune")
    document = recipe_document(write_bert(folder / "model"), write_texts(folder), targets=TARGETS)
    recipe = load_recipe(write_recipe(folder / "tiny.yaml", document))
    build(recipe, ["exact"], repository=folder / "repository", store=folder / "store")
    return folder


@pytest.fixture
def tune(folder):
    """Call the command on the recipe; the store is shared, everything else isn't."""

    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from tritonpack.cli import main; main()", "tune", folder / "tiny.yaml"]
        words = [*command, "--store", folder / "store", *SHORT, *arguments]
        return subprocess.run([*map(str, words)], capture_output=True, text=True, check=False, env=dict(os.environ))

    return run


@pytest.mark.parametrize("generator", ["perf_analyzer", "python"])
def test_a_search_measures_the_recipes_own_settings_and_others(tune, folder, tmp_path, generator):
    overlay = tmp_path / "tiny.tuned.yaml"
    done = tune("--slo", "p99<=5s", "--trials", 3, "--generator", generator, "--output", overlay, "--json")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert len(document["trials"]) == 3
    assert document["own"]["settings"] == {
        "target": "exact", "precision": "fp32", "max_batch": 8, "queue_delay_us": 0, "instances": 1, "threads": 1,
        "call_cost": None,
    }  # fmt: skip
    for trial in document["trials"]:
        check_trial(trial)
    check_result(document, folder, overlay)
    assert list(document["left_out"]) == ["gpu"]
    assert generator.split("_")[0] in document["evidence"]["versions"]["load"].lower()
    assert "<svg" in overlay.with_suffix(".html").read_text()


def check_trial(trial):
    assert trial["outcome"] in {"complete", "pruned"}, trial["error"]
    loads = [point["concurrency"] for point in trial["points"]]
    assert loads[0] == 1
    assert max(loads) <= 4
    for point in trial["points"]:
        assert point["throughput_per_s"] > 0
        assert 0 < point["latency_us"]["p50"] <= point["latency_us"]["p99"]
    assert trial["best"] in trial["points"]


def check_result(document, folder, overlay):
    """Which settings win is the machine's business; what is written has to follow from what was measured."""
    confirmation = document["confirmation"]
    assert overlay.exists() == (document["result"] == "tuned")
    if confirmation is not None:
        assert len(confirmation["own"]) == len(confirmation["found"]) == 3
        assert (confirmation["verdict"] == "faster") == (confirmation["ratio"]["low"] > 1)
    if document["result"] == "tuned":
        assert confirmation["verdict"] == "faster"
        settings = document["found"]["settings"]
        serving = load_recipe(folder / "tiny.yaml", [overlay]).serving.model_dump()
        assert {name: serving[name] for name in settings if name in serving} == {
            name: value for name, value in settings.items() if name in serving
        }


def test_a_search_goes_on_and_what_it_is_of_is_checked(tune, tmp_path):
    study = tmp_path / "study.db"
    kept = ("--generator", "python", "--study", study, "--output", tmp_path / "o.yaml", "--json")
    first, second = (tune("--slo", "p99<=5s", "--trials", trials, *kept) for trials in (1, 2))
    assert (first.returncode, second.returncode) == (0, 0), first.stderr + second.stderr
    before, after = json.loads(first.stdout), json.loads(second.stdout)
    assert after["trials"][0] == before["trials"][0]
    assert len(after["trials"]) == 2
    other = tune("--slo", "p99<=6s", "--trials", 2, *kept)
    assert other.returncode == 2
    assert "is of another SLO: p99<=5000ms, not p99<=6000ms" in json.loads(other.stderr)["message"]


def test_an_objective_that_nothing_keeps_is_one_error_with_a_page(tune, tmp_path):
    done = tune("--slo", "p50<=1us", "--trials", 1, "--generator", "python", "--output", tmp_path / "o.yaml")
    assert done.returncode == 6
    assert "no settings keep p50<=0.001ms" in " ".join(done.stderr.split())
    assert (tmp_path / "o.html").exists()
    assert not (tmp_path / "o.yaml").exists()


def test_a_target_that_cannot_be_served_here_is_refused(tune):
    done = tune("--slo", "p99<=5s", "--target", "gpu", "--generator", "python")
    assert done.returncode == 3
    assert "engine tensorrt can't be served on this machine" in " ".join(done.stderr.split())
    unknown = tune("--slo", "p99<=5s", "--target", "cpuu", "--generator", "python")
    assert unknown.returncode == 2
    assert "exact, gpu" in unknown.stderr


def test_an_overlay_is_laid_over_the_recipe_by_build(folder, tmp_path):
    overlay = tmp_path / "o.yaml"
    overlay.write_text(yaml.safe_dump({"serving": {"max_batch": 4, "instances": 2}, "evidence": {"slo": "p99<=5ms"}}))
    words = ["build", folder / "tiny.yaml", "--overlay", overlay, "--store", folder / "store"]
    command = [sys.executable, "-c", "from tritonpack.cli import main; main()", *words]
    done = subprocess.run(
        [*map(str, command), "--repository", str(tmp_path / "r"), "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {step["outcome"] for step in json.loads(done.stdout)["steps"]} == {"hit"}
    config = (tmp_path / "r" / "tiny_encoder" / "config.pbtxt").read_text()
    assert "max_batch_size: 4" in config
    assert "count: 2" in config
