"""What `benchmarks/gpu.py` writes, from figures that are known; and that without a GPU it writes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from accelerated.page import page, svg_from_results
from accelerated.results import Column, Results
from accelerated.workers import reason
from gpu import WHOLE, Plan

from tritonpack.core.errors import MissingExtraError
from tritonpack.engines import ENGINES

ROOT = Path(__file__).parents[2]


def results(*columns):
    return Results("NVIDIA Test, 1 GB", "tiny", (1, 8), (16, 512), 3, {"torch": "2"}, "a host", columns)


def executed(backend="PyTorch", precision="fp32", factor=1.0, **fields):
    times = {(1, 16): 2.0, (8, 16): 4.0, (1, 512): 10.0, (8, 512): 50.0}
    return Column(
        backend,
        precision,
        load_s=1.25,
        cosine=0.99991,
        milliseconds={s: factor * t for s, t in times.items()},
        **fields,
    )


def test_the_page_names_the_device_and_gives_every_call():
    text = page(results(executed(), executed("TensorRT", "fp16", 0.1)), "benchmarks-gpu/batch.svg")
    assert text.startswith("# NVIDIA Test, 1 GB\n")
    assert "| PyTorch | FP32 | 1.2 | 0.99991 |  |" in text
    assert "| PyTorch | FP32 | 2,000 | 160 |" in text  # best batch: 8 rows in 4 ms and in 50 ms
    assert "| TensorRT | FP16 | 20,000 | 1,600 |" in text
    assert "| 512 | 8 | 50 (160) |" in text
    assert "## FP16: milliseconds a call (texts a second)" in text
    assert "## INT8" not in text


def test_what_isnt_executed_is_a_row_with_its_reason():
    text = page(results(executed(), Column("TensorRT", "int8", why="tensorrt isn't installed")), "picture.svg")
    assert "| TensorRT | INT8 |  |  | tensorrt isn't installed |" in text
    assert "TensorRT" not in text.split("## Texts a second")[1]


def test_a_page_of_reasons_alone_has_no_picture():
    text = page(results(Column("TensorRT", "fp32", why="none")), "picture.svg")
    assert "picture.svg" not in text
    assert "| TensorRT | FP32 |  |  | none |" in text


def test_a_shape_that_failed_is_left_out_and_named():
    column = executed(failures={(8, 512): "OutOfMemoryError: 1 GB"})
    del column.milliseconds[8, 512]
    text = page(results(column), "picture.svg")
    assert "| 512 | 8 |  |" in text
    assert "- PyTorch, 8 rows of 512: OutOfMemoryError: 1 GB" in text
    assert column.best_rate(512) == pytest.approx(100)
    assert column.rate((8, 512)) is None


def test_the_picture_has_a_panel_for_each_executed_precision():
    drawn = results(executed(), executed("TensorRT", "fp16", 0.1), Column("TensorRT", "int8", why="none"))
    svg = svg_from_results(drawn)
    ET.fromstring(svg)  # noqa: S314  our own
    assert "FP32, 16 tokens" in svg
    assert "FP16, 16 tokens" in svg
    assert "INT8" not in svg


def test_the_plan_covers_what_was_asked_and_leaves_out_what_a_model_doesnt_take():
    assert (WHOLE.batches[0], WHOLE.batches[-1], WHOLE.lengths[0], WHOLE.lengths[-1]) == (1, 128, 16, 512)
    assert WHOLE.up_to(64).lengths == (16, 32, 64)
    assert WHOLE.up_to(8).lengths == (8,)
    assert Plan((1, 2), (16, 32), 1, 0.1).shapes == [(1, 16), (2, 16), (1, 32), (2, 32)]


def test_a_reason_is_one_line_that_fits_a_table():
    assert reason(ValueError("a\n  b | c")) == "ValueError: a b / c"
    assert (
        reason(MissingExtraError("x isn't there", hint="pip install x", package="x")) == "x isn't there pip install x"
    )
    assert len(reason(ValueError("long " * 200))) == 300


@pytest.mark.skipif(ENGINES.get("tensorrt").can_execute(), reason="this machine has a GPU")
def test_without_a_gpu_it_says_so_and_writes_nothing(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), "--recipe", str(ROOT / "recipes" / "minilm.yaml")]
    plain = subprocess.run([*command, "--docs", str(tmp_path)], capture_output=True, text=True, check=False)
    as_json = subprocess.run([*command, "--docs", str(tmp_path), "--json"], capture_output=True, text=True, check=False)
    assert (plain.returncode, as_json.returncode) == (0, 0)
    assert "no NVIDIA GPU" in plain.stdout
    assert json.loads(as_json.stdout)["device"] is None
    assert list(tmp_path.iterdir()) == []
