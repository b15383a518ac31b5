"""What runs a graph: one file an engine, each holding ``ENGINE``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from tritonpack.core.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tritonpack.core.action import Facts
    from tritonpack.core.tensors import ShapeRange, Tensors


class Session(Protocol):
    """An engine file, opened to run in this process."""

    def run(self, inputs: Tensors) -> Tensors:
        """Every output by name for these inputs."""


class Engine(Protocol):
    """An engine.

    Args:
        suffix: of the file that it compiles to, e.g. ``.plan``.
        triton: the fields that name its backend in a model's configuration, or None when no Triton
            backend loads the file.
        version: raised when `compile` would write another file.
    """

    suffix: str
    triton: Mapping[str, str] | None
    version: int

    def identity(self) -> str:
        """Versions of everything that decides the compiled file; imports nothing heavy.

        Raises:
            MissingExtraError: the engine isn't installed; the hint says how to get it.
        """

    def compile(self, onnx: Path, profile: Mapping[str, ShapeRange], out: Path, cache: Path) -> Facts:
        """Write the engine for the graph ``onnx`` and these input shapes to ``out``.

        Args:
            onnx: the graph, in its final precision.
            profile: least, best and greatest shape of every input.
            out: the file to write.
            cache: a folder for append-only side files (timing caches), outside every key.

        Raises:
            CompileError: the graph can't be compiled, with the engine's own reason.
        """

    def can_execute(self) -> bool:
        """Whether this machine can run what the engine compiles."""

    def open(self, path: Path) -> Session:
        """Load a compiled file to run it here."""


ENGINES: Registry[Engine] = Registry("tritonpack.engines", "ENGINE")
