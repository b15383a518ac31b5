"""Where two graphs first part, and which layers drive them apart."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

from tritonpack.core.scopes import module_of
from tritonpack.debugging._pair import Pair

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.core.tensors import Tensors, Tolerance
    from tritonpack.debugging import Progress
    from tritonpack.debugging._difference import Difference
    from tritonpack.debugging._graph import Graph

_MOST = 0.8
_ODD = 5.0
"""A layer within tolerance is to blame alone if it adds this part of all that was added (errors squared), and this
many times what the graph's layers usually add."""

_NAMED = 4


@dataclass(frozen=True)
class Layer:
    """A value of the reference and what became of it in the candidate.

    Args:
        value: its name in both graphs.
        node: name of the node that computes it in the reference.
        operator: the node's type.
        module: path of the PyTorch module that the node comes from, e.g. ``encoder.layer.0.output.dense``; empty if
            the graph doesn't say.
        total: how far the candidate has come from the reference here.
        own: how far its own part of the candidate is off when it reads the reference's values: what it introduces.
    """

    value: str
    node: str
    operator: str
    module: str
    total: Difference
    own: Difference

    @property
    def place(self) -> str:
        """Where it lies, for people: the module, or the node where there is none."""
        return self.module or self.node or self.operator

    @property
    def described(self) -> str:
        """What computes it, as the end of a sentence."""
        return f"{self.operator} in {self.place} computes"

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        return {
            "value": self.value,
            "node": self.node,
            "operator": self.operator,
            "module": self.module,
            "total": self.total.to_json(),
            "introduced": self.own.to_json(),
        }


@dataclass(frozen=True)
class Comparison:
    """A candidate beside its reference, value by value.

    Args:
        layers: every value that has a name in both graphs, in the reference's order.
        outputs: how far the outputs are apart in the graphs as they are served, where nobody looks at what is between.
        unmatched: floating-point values of the reference that the candidate doesn't have.
        sources: the values that the first divergence is computed from, itself among them; empty without one.
        tolerance: what each value had to hold to.
    """

    layers: tuple[Layer, ...]
    outputs: dict[str, Difference]
    unmatched: tuple[str, ...]
    sources: frozenset[str]
    tolerance: Tolerance

    @property
    def first(self) -> Layer | None:
        """The first value out of tolerance."""
        return next((layer for layer in self.layers if layer.total.problem), None)

    @property
    def faulty(self) -> list[Layer]:
        """Those out of tolerance by themselves, in the graph's order."""
        return [layer for layer in self.layers if layer.own.problem]

    @property
    def agrees(self) -> bool:
        """Whether every value and every output is within tolerance."""
        return self.first is None and not any(difference.problem for difference in self.outputs.values())

    def contributors(self, count: int = 5) -> list[Layer]:
        """The layers that add most error by themselves, the worst first; at most ``count``."""
        added = (layer for layer in self.layers if layer.own.relative_error > 0)
        return sorted(added, key=lambda layer: -layer.own.relative_error)[:count]

    @property
    def culprit(self) -> Layer | None:
        """The one layer to blame for the first divergence; None where the error grew over many.

        A layer is to blame that is out of tolerance by itself, or that adds nearly all of what is added until there
        and much more than layers of this graph do.
        """
        if self.first is None or self.first.own.problem:
            return self.first
        alone = next((layer for layer in self.faulty if layer.value in self.sources), None)
        added = self.contributors(len(self.layers))
        counted = [layer for layer in added if layer.value in self.sources]
        if alone or not counted:
            return alone
        most, whole = counted[0].own.relative_error, sum(layer.own.relative_error**2 for layer in counted)
        usual = median(layer.own.relative_error for layer in added)
        odd = len(added) == 1 or most > _ODD * usual
        return counted[0] if odd and most**2 > _MOST * whole else None

    def explanation(self) -> str:
        """What was found, as a few sentences."""
        first, culprit = self.first, self.culprit
        if first is None:
            return self._without_divergence()
        found = f"The graphs first part at {first.value}, which {first.described}: {first.total.problem}."
        if culprit is first:
            cause = "This layer brings the error in by itself."
        elif culprit is not None:
            error = f"{culprit.own.relative_error:.3g} of relative error by itself"
            cause = f"The error comes from {culprit.value}, which {culprit.described}: {error}."
        elif self._reads_padding():
            cause = "Nothing before it differs outside padding, so that it reads positions that are padded."
        else:
            cause = "No layer before it is to blame alone: the error grew over many."
        return f"{found} {cause}{self._also_faulty()}"

    def advice(self) -> str:
        """What to try next, as a sentence; empty if there is nothing to do."""
        first, culprit = self.first, self.culprit
        if first is None:
            outside = "The runtime fuses these nodes when nobody looks at them: compare on another engine or version."
            return "" if self.agrees else outside
        if "infinity" in first.total.problem or "NaN" in first.total.problem:
            place = (culprit or first).place
            return f"Keep {place} in FP32 if its values leave the type's range, or use precision: bf16."
        if culprit or self.faulty:
            places = ", ".join(dict.fromkeys(layer.place for layer in ([culprit] if culprit else self.faulty[:3])))
            return f"Keep {places} in floating point, or write the part that fails to a file with --reduce FILE."
        if self._reads_padding():
            return f"Look at the mask that {first.place} or a layer before it should heed."
        most = ", ".join(dict.fromkeys(layer.place for layer in self.contributors(3)))
        return f"Keep what adds most in floating point ({most}), or choose another calibrator or precision."

    def to_json(self) -> dict[str, Any]:
        """As a JSON object."""
        first, culprit = self.first, self.culprit
        return {
            "agrees": self.agrees,
            "explanation": self.explanation(),
            "advice": self.advice(),
            "first": first and first.to_json(),
            "culprit": culprit and culprit.to_json(),
            "contributors": [layer.value for layer in self.contributors()],
            "tolerance": self.tolerance.to_json(),
            "outputs": {name: difference.to_json() for name, difference in self.outputs.items()},
            "layers": [layer.to_json() for layer in self.layers],
            "unmatched": list(self.unmatched),
        }

    def _reads_padding(self) -> bool:
        """Whether nothing is added on the way to the first divergence by anything that counts."""
        return not any(layer.own.relative_error > 0 for layer in self.layers if layer.value in self.sources)

    def _also_faulty(self) -> str:
        others = [layer for layer in self.faulty if layer is not self.culprit]
        worst = sorted(others, key=lambda layer: -layer.own.relative_error)[:_NAMED]
        names = ", ".join(f"{layer.value} in {layer.place}" for layer in worst)
        count = f"{len(others)} other {'layer is' if len(others) == 1 else 'layers are'}"
        return (
            f" {count} out of tolerance by {'itself' if len(others) == 1 else 'themselves'}: {names}." if names else ""
        )

    def _without_divergence(self) -> str:
        apart = [f"{name}: {difference.problem}" for name, difference in self.outputs.items() if difference.problem]
        within = f"All {len(self.layers)} values that both graphs name are within tolerance"
        return (
            f"{within}, but not the outputs of the graph as it is served ({'; '.join(apart)})."
            if apart
            else f"{within}."
        )


def comparison_of(
    reference: Path,
    candidate: Path,
    inputs: Tensors,
    *,
    tolerance: Tolerance,
    lengths: Tensors | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare every floating-point value that two graphs have in common, on one input, in ONNX Runtime.

    Values are matched by name, which every precision keeps for values that mean the same. A value in FP16 or
    bfloat16 is compared as the number that it holds.

    Args:
        reference: the graph that is right.
        candidate: a rewrite of it, or an edited copy.
        inputs: the graphs' inputs by name, padded, ``(batch, ...)``.
        tolerance: what each value must hold to; the bounds also limit relative errors (see `difference_of`).
        lengths: by ragged axis (the name in the inputs' shapes), ``(batch,) int64``: how long each row really is;
            what stands behind it doesn't count.
        progress: called with what is being done, how many values are done, and of how many.

    Raises:
        ConfigurationError: the inputs aren't the graphs', or no value has a name in both.
        CompileError: the runtime refuses the reference.
    """
    with Pair(
        reference, candidate, inputs, lengths=lengths or {}, tolerance=tolerance, progress=progress or _silent
    ) as pair:
        totals, own = pair.totals(), pair.own()
        layers = tuple(_layer(pair.reference, value, totals[value], own[value]) for value in pair.matched)
        first = next((layer for layer in layers if layer.total.problem), None)
        sources = frozenset(pair.candidate.sources(first.value)) if first else frozenset()
        return Comparison(layers, pair.outputs(), tuple(pair.unmatched), sources, tolerance)


def _layer(graph: Graph, value: str, total: Difference, own: Difference) -> Layer:
    node = graph.node_of(value)
    return Layer(value, node.name, node.op_type, module_of(node), total, own)


def _silent(doing: str, done: int, of: int) -> None:
    del doing, done, of
