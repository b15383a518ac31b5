"""The models that our own server serves here, built from the demo's recipe."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click
import yaml

from comparing.rounds import CACHED, FP32, INT8

if TYPE_CHECKING:
    from pathlib import Path

MODELS = {INT8: "minilm", FP32: "minilm_fp32", CACHED: "minilm_cached"}
_TIMEOUT_S = 600
_ERROR_LINES = 12


def build_models(recipe: Path, work: Path) -> Path:
    """Build all of them; what the store holds already isn't made again.

    Args:
        recipe: the demo's.
        work: where recipes and the repository are written.

    Returns:
        The model repository.

    Raises:
        click.ClickException: a build failed.
    """
    document = yaml.safe_load(recipe.read_text(encoding="utf-8"))
    # Answers are compared here themselves, and a gate of speed would decide by a moment's noise what is measured.
    del document["gates"]
    target = document["targets"]["cpu"]
    work.mkdir(parents=True, exist_ok=True)
    for side, name in MODELS.items():
        precise = {"engine": target["engine"], "precision": "fp32"} if side == FP32 else target
        serving = document["serving"] | ({"response_cache": True} if side == CACHED else {})
        _build(document | {"name": name, "targets": {"cpu": precise}, "serving": serving}, work)
    return work / "repository"


def _build(document: dict[str, Any], work: Path) -> None:
    path = work / f"{document['name']}.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    command = [sys.executable, "-m", "tritonpack.cli", "build", str(path), "--repository", str(work / "repository")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode:
        told = "\n".join(done.stderr.strip().splitlines()[-_ERROR_LINES:])
        raise click.ClickException(f"{path.name} doesn't build:\n{told}")
