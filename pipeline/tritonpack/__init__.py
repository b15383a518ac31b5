"""From a PyTorch model to a served, verified, load-tested Triton deployment.

    import tritonpack
    from pathlib import Path

    recipe = tritonpack.load_recipe(Path("recipes/minilm.yaml"))
    tritonpack.build(recipe, ["cpu"], repository=Path("model_repository"))
    tritonpack.evaluate(recipe, ["cpu"]).to_json()

Names are imported when they are first used, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tritonpack.api import Build, build, plan
    from tritonpack.assess import evaluate
    from tritonpack.core.errors import TritonpackError
    from tritonpack.recipe import Recipe, load_recipe, recipe_schema
    from tritonpack.reports.documents import Evaluation

# ONNX Runtime reports to its vendor unless it is told not to before it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0"

__all__ = [
    "Build",
    "Evaluation",
    "Recipe",
    "TritonpackError",
    "build",
    "evaluate",
    "load_recipe",
    "plan",
    "recipe_schema",
]

_HOMES = {
    "Build": "tritonpack.api",
    "Evaluation": "tritonpack.reports.documents",
    "Recipe": "tritonpack.recipe",
    "TritonpackError": "tritonpack.core.errors",
    "build": "tritonpack.api",
    "evaluate": "tritonpack.assess",
    "load_recipe": "tritonpack.recipe",
    "plan": "tritonpack.api",
    "recipe_schema": "tritonpack.recipe",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'tritonpack' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)
