"""What is imported when; how long it takes is the benchmarks' business."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ["torch", "transformers", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "tritonclient", "grpc", "optuna"]
LOADED = f"import json; print(json.dumps([name for name in {HEAVY} if name in sys.modules]))"


def command(*words):
    return f"from tritonpack.cli import main\ntry: main({list(words)})\nexcept SystemExit as end: assert end.code == 0"


def loaded_after(statement):
    code = f"import sys\n{statement}\n{LOADED}"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    "statement",
    [
        "import tritonpack",
        command("--help"),
        command("--version"),
        command("build", "--help"),
        command("tune", "--help"),
        "import tritonpack.recipe",
        "import tritonpack.api",
        "from tritonpack.engines import ENGINES; ENGINES.all()",
        "from tritonpack.precisions import PRECISIONS; PRECISIONS.all()",
        "from tritonpack.tasks import TASKS; TASKS.all()",
        "from tritonpack.inputs import INPUTS; INPUTS.all()",
        "from tritonpack.families import FAMILIES; FAMILIES.all()",
        "from tritonpack.sources import SOURCES; SOURCES.all()",
    ],
)
def test_nothing_heavy_is_imported(statement):
    assert loaded_after(statement) == []


def test_the_check_would_see_a_heavy_import():
    assert loaded_after("import onnxruntime") == ["onnxruntime"]
