"""`benchmarks/gpu.py` over a tiny model: rehearsed on the CPU, and for real where there is a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "tiny"))

from tiny_bert import write_bert

from tritonpack.engines import ENGINES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recipe")
    write_bert(folder / "model")
    path = folder / "tiny.yaml"
    document = {
        "name": "tiny",
        "source": {"kind": "huggingface", "model": "./model"},
        "task": {"kind": "embedding"},
        "export": {"max_length": 32},
        "targets": {"cpu": {"engine": "onnxruntime", "precision": "fp32"}},
    }
    path.write_text(yaml.safe_dump(document))
    return path


def run(recipe, *words):
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--recipe", str(recipe), "--json", *words]
    ended = subprocess.run(
        [*command, "--store", str(recipe.parent / "store")], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return {(column["backend"], column["precision"]): column for column in json.loads(ended.stdout)["columns"]}


@pytest.mark.slow
def test_a_rehearsal_runs_what_the_cpu_can_run_and_says_why_the_rest_isnt(recipe, tmp_path):
    words = [word for name in ("torch", "onnxruntime", "tensorrt", "tensorrt-rtx") for word in ("--backend", name)]
    columns = run(recipe, "--rehearse", "--docs", str(tmp_path), *words)
    assert len(columns) == 12
    for backend, precision in (("PyTorch", "fp32"), ("PyTorch", "fp16"), ("ONNX Runtime", "fp16")):
        column = columns[backend, precision]
        assert column["why"] == ""
        assert column["cosine"] > 0.999
        assert {(call["batch"], call["length"]) for call in column["calls"]} == {(1, 16), (4, 16), (1, 32), (4, 32)}
    assert columns["ONNX Runtime", "int8"]["cosine"] > 0.5
    assert "torchao" in columns["PyTorch", "int8"]["why"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(ENGINES.get("tensorrt").can_execute(), reason="this machine has a GPU")
def test_every_graph_compiles_for_all_shapes_where_there_is_no_gpu_to_run_it(recipe):
    columns = run(recipe, "--rehearse", "--backend", "tensorrt-rtx")
    assert {column["why"] for column in columns.values()} == {"compiled, not executed: there is no GPU here"}


@pytest.mark.gpu
def test_on_a_gpu_the_page_has_its_name_and_figures(recipe, tmp_path):
    columns = run(recipe, "--rounds", "1", "--docs", str(tmp_path))
    assert columns["PyTorch", "fp32"]["calls"]
    page = (tmp_path / "benchmarks-gpu.md").read_text()
    assert page.startswith("# NVIDIA")
    assert (tmp_path / "benchmarks-gpu" / "batch.svg").is_file()


def test_a_recipe_that_isnt_right_is_a_clear_error(recipe):
    broken = recipe.with_name("broken.yaml")
    broken.write_text(recipe.read_text().replace("./model", "./nowhere"))
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--recipe", str(broken), "--rehearse"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "nowhere" in ended.stderr
    assert "Traceback" not in ended.stderr
