"""infinity-emb with its ONNX engine: a graph exported by optimum, which infinity then optimizes."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

from peers.infinity_torch import PEER as TORCH
from peers.infinity_torch import command_of

if TYPE_CHECKING:
    from peers import Place

_EXPORT_TIMEOUT_S = 300


def export(place: Place) -> None:
    """Export the graph; infinity writes its optimized one beside it, so it can't lie with the weights."""
    made = place.work / "model"
    if (made / "model.onnx").is_file():
        return
    shutil.rmtree(made, ignore_errors=True)
    program = [str(place.python.with_name("optimum-cli")), "export", "onnx", "--model", str(place.model)]
    options = ["--task", "feature-extraction", "--library-name", "transformers", str(made)]
    subprocess.run([*program, *options], check=True, timeout=_EXPORT_TIMEOUT_S, capture_output=True)


PEER = replace(
    TORCH,
    title="infinity-emb, ONNX",
    settings="as with torch; ONNX Runtime on the graph that optimum exports and fuses, FP32",
    command=lambda place: command_of(place, "optimum", place.work / "model"),
    prepare=export,
)
