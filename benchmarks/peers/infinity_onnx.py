"""infinity-emb with its ONNX engine: a graph exported by optimum, which infinity then optimizes."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

from peers.infinity_torch import PEER as TORCH
from peers.infinity_torch import command_of

if TYPE_CHECKING:
    from pathlib import Path

    from peers import Place

_TIMEOUT_S = 300


def optimum(place: Place, *arguments: str) -> None:
    """Run optimum's command line."""
    program = str(place.python.with_name("optimum-cli"))
    subprocess.run([program, *arguments], check=True, timeout=_TIMEOUT_S, capture_output=True)


def export(place: Place, folder: Path) -> None:
    """Write the graph and the tokenizer."""
    options = ["--model", str(place.model), "--task", "feature-extraction", "--library-name", "transformers"]
    optimum(place, "export", "onnx", *options, str(folder))


def _prepare(place: Place) -> None:
    if not (place.work / "model.onnx").is_file():
        export(place, place.work)


def _command(place: Place) -> list[str]:
    # The graph's path must be one that begins in the model's folder, so infinity starts there. It looks for graphs in
    # all folders below, so that its cache, where the optimized one goes, lies beside. Without a word it takes the
    # first token's vector for the text's.
    cache = place.work.with_name(f"{place.work.name}.cache")
    return ["env", f"HF_HUB_CACHE={cache}", *command_of(place, "optimum", "."), "--pooling-method", "mean"]


PEER = replace(
    TORCH,
    title="infinity-emb, ONNX",
    settings="as with torch; ONNX Runtime on the graph that optimum exports and infinity fuses, FP32",
    command=_command,
    prepare=_prepare,
)
