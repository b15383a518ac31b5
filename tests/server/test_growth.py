"""`benchmarks/growth.py` over a tiny ensemble: every curve measured, drawn and written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CURVES = {"length", "batch", "concurrency", "models", "weights"}

pytestmark = [pytest.mark.server, pytest.mark.slow]


def test_every_curve_is_measured_drawn_and_written(tiny_repository, tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks" / "growth.py"), "--quick", "--json", "--model", "tiny"]
    command += ["--repository", str(tiny_repository), "--docs", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    curves = {curve["name"]: curve for curve in json.loads(ended.stdout)["curves"]}
    assert set(curves) == CURVES
    points = [point for curve in curves.values() for point in curve["median_lowest_highest"]]
    assert all(min(values) > 0 for point in points for name, values in point.items() if name != "x")
    assert [point["x"] for point in curves["models"]["median_lowest_highest"]] == [1, 2]
    one, two = (point["processes"][0] for point in curves["models"]["median_lowest_highest"])
    assert two > one
    assert {path.stem for path in (tmp_path / "growth").glob("*.svg")} == CURVES
    page = (tmp_path / "growth.md").read_text()
    assert all(f"growth/{name}.svg" in page for name in CURVES)
    assert json.loads((tmp_path / "growth.json").read_text()) == json.loads(ended.stdout)


def test_a_model_that_isnt_there_is_a_clear_error(tiny_repository):
    command = [sys.executable, str(ROOT / "benchmarks" / "growth.py"), "--quick", "--model", "nothing"]
    ended = subprocess.run(
        [*command, "--repository", str(tiny_repository)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2
    assert "there is no model 'nothing'" in ended.stderr
