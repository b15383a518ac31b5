"""What precisions share that take a graph whole: nothing of them is searched."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.precisions import Group, Rewriting


class Whole:
    """What stays in FP32, if anything, follows from the graph and its values."""

    searchable = False

    def groups(self, onnx: Path) -> list[Group]:
        """None."""
        del onnx
        return []

    def studied(self, onnx: Path, how: Rewriting) -> Rewriting:
        """Nothing is decided ahead."""
        del onnx
        return how
