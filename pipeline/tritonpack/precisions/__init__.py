"""ONNX to ONNX rewrites: one file a precision, each holding ``PRECISION``.

Precision lives in the graph, as casts and Q/DQ pairs; no engine is ever told one.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from tritonpack.core.registry import Registry
from tritonpack.precisions._quantize import weight_nodes

__all__ = ["PRECISIONS", "Calibrator", "Data", "Group", "Precision", "Rewriting", "weight_nodes"]

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tritonpack.core.action import Facts
    from tritonpack.core.observations import Observations
    from tritonpack.core.tensors import Tolerance
    from tritonpack.precisions._ranges import Range


class Calibrator(StrEnum):
    """How the range of an activation follows from its histogram."""

    MINMAX = "minmax"
    PERCENTILE = "percentile"
    ENTROPY = "entropy"
    MSE = "mse"
    SEARCH = "search"


class Data(StrEnum):
    """What a precision wants to know of real data."""

    UNUSED = "unused"
    HELPFUL = "helpful"
    NEEDED = "needed"


@dataclass(frozen=True)
class Rewriting:
    """How a graph is rewritten.

    Args:
        observed: the graph's values on real data, unless the precision doesn't use them.
        fp32_modules: last names of the model's submodules whose values leave FP16's range.
        keep: names of the groups (`Group.name`) that stay in floating point.
        calibrator: how ranges follow from histograms.
        smoothing: how far outliers of an activation move into its weights, 0 (none) to 1; None never moves any.
        ranges: by value, what `Precision.studied` chose; None to choose while rewriting.
    """

    observed: Observations | None = None
    fp32_modules: tuple[str, ...] = ()
    keep: frozenset[str] = frozenset()
    calibrator: Calibrator = Calibrator.MINMAX
    smoothing: float | None = None
    ranges: Mapping[str, Range] | None = None


@dataclass(frozen=True)
class Group:
    """Nodes that a search quantizes together or not at all, since they read one value.

    Args:
        name: for people and for `Rewriting.keep`: where in the model it lies, e.g.
            ``encoder.layer.0.attention.self.{query,key,value}``; unique in the graph.
        nodes: names of the products.
        multiplications: multiply-accumulates for one row of activations.
    """

    name: str
    nodes: tuple[str, ...]
    multiplications: int


class Precision(Protocol):
    """A precision.

    Args:
        version: raised when the rewrite would write another graph.
        packages: distributions whose versions decide the result; part of the action's key.
        data: whether `rewrite` uses observations of real data.
        searchable: whether some products can stay in floating point while others don't.
        engines: the engines that understand the rewritten graph.
        tolerance: the gate that a model must keep when the recipe names none.
    """

    version: int
    packages: tuple[str, ...]
    data: Data
    searchable: bool
    engines: frozenset[str]
    tolerance: Tolerance

    def groups(self, onnx: Path) -> list[Group]:
        """What can be left in floating point, in the graph's order; empty if it is all or nothing."""

    def studied(self, onnx: Path, how: Rewriting) -> Rewriting:
        """The same with everything decided that doesn't depend on what is kept, for those who rewrite often.

        Raises:
            LoweringError: as `rewrite`.
        """

    def rewrite(self, onnx: Path, out: Path, how: Rewriting) -> Facts:
        """Write the graph ``onnx`` in this precision to ``out``; inputs and outputs keep their types.

        Raises:
            LoweringError: the graph can't be rewritten.
        """


PRECISIONS: Registry[Precision] = Registry("tritonpack.precisions", "PRECISION")
