"""ONNX to an engine file, through whichever engine the target names."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tritonpack.core.action import Facts
    from tritonpack.core.tensors import ShapeRange
    from tritonpack.engines import Engine


def engine_from_onnx(onnx: Path, engine: Engine, profile: Mapping[str, ShapeRange], *, cache: Path, out: Path) -> Facts:
    """Compile, with a folder for the engine's side files.

    Raises:
        CompileError: the engine refuses the graph.
    """
    cache.mkdir(parents=True, exist_ok=True)
    return engine.compile(onnx, profile, out, cache)
