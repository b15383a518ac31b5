"""Which nodes stay in FP32 when a graph goes to sixteen bits, and why.

What real data showed decides, and what the graph itself says: constants, weights, positions.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tritonpack.core.observations import Observations
from tritonpack.core.scopes import module_of
from tritonpack.precisions._flow import Flow
from tritonpack.precisions._scopes import nodes_of_modules, nodes_of_positions

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tritonpack.core.action import Facts
    from tritonpack.precisions._formats import Format

_HEADROOM = 2.0
"""How much further than the observed data other data may go."""
_REPORTED = 50
_NUMBER = re.compile(r"\.\d+(?=\.|$)")
_BOUNDS = frozenset({"Clip", "Max", "Min"})
"""A constant of theirs out of range bounds nothing: it makes no value large."""
_CARRIERS = frozenset(
    {
        "Add", "Sub", "Mul", "Neg", "Abs", "Where", "Clip", "Max", "Min", "Expand", "Tile", "Pad", "Unsqueeze",
        "Squeeze", "Flatten", "Reshape", "Transpose", "Slice", "Split", "Concat", "Gather", "GatherElements",
        "GatherND", "Identity", "Cast",
    }
)  # fmt: skip
"""What they make of a value out of range is out of range too."""
_ROOTS = frozenset(
    {"Sqrt", "Reciprocal", "Pow", "Log", "Expand", "Unsqueeze", "Squeeze", "Reshape", "Transpose", "Identity", "Cast"}
)
"""What they make of a value near zero, such as a variance and its epsilon, must not become zero or its inverse."""
_SCORES = frozenset(
    {
        "Add", "Sub", "Mul", "Div", "Where", "Clip", "Max", "Min", "Reshape", "Transpose", "Unsqueeze", "Squeeze",
        "Slice", "Concat", "Identity", "Cast",
    }
)  # fmt: skip
"""What lies between a softmax and the product that makes its logits."""
_PRODUCTS = frozenset({"MatMul", "Gemm", "Einsum", "Conv"})
_SCALES = frozenset({*_PRODUCTS, "Mul", "Div", "Gather"})
_FACTORS = 2


class Why(StrEnum):
    """Why a node stays in FP32; of several reasons the first of these is told."""

    CONSTANT = "constant"
    WEIGHT = "weight"
    SUM = "sum"
    LOGITS = "logits"
    NOT_FINITE = "not finite"
    RANGE = "out of range"
    TINY = "too small"
    MODULE = "module"
    POSITION = "position"
    OPERATOR = "operator"


_Reason: TypeAlias = tuple[str, Why, float | None]
"""A node's first output, why it stays, and the figure."""
_ORDER = {why: rank for rank, why in enumerate(Why)}


@dataclass(frozen=True)
class Kept:
    """A node that stays in FP32.

    Args:
        output: its first output.
        node: its name, or its first output where it has none.
        module: path of the submodule that it came from.
        why: the reason.
        value: the magnitude that is out of range, too small or too coarse; None where no figure is the reason.
    """

    output: str
    node: str
    module: str
    why: Why
    value: float | None = None


@dataclass(frozen=True)
class Rules:
    """What a precision keeps beside what its format can't hold.

    Args:
        format: what the others compute in.
        logits: the greatest magnitude of a softmax' logits that the format resolves well enough.
        operators: operators that always stay in FP32.
        modules: last names of submodules that do.
    """

    format: Format
    logits: float
    operators: frozenset[str] = frozenset()
    modules: tuple[str, ...] = ()


def kept_nodes(graph: Any, rules: Rules, observed: Observations | None) -> list[Kept]:
    """The nodes that stay in FP32, in the graph's order.

    Args:
        graph: with every value's type inferred.
        rules: the precision's own.
        observed: its values on real data, as far as they are known.
    """
    flow = Flow(graph)
    seen = observed or Observations(rows=0)
    found: list[_Reason] = [
        *_constants(flow, rules.format),
        *_values(flow, rules.format, seen),
        *_sums(flow, rules.format, seen),
        *_logits(flow, rules.logits, seen),
        *((name, Why.MODULE, None) for name in nodes_of_modules(graph, rules.modules)),
        *((name, Why.POSITION, None) for name in nodes_of_positions(graph)),
        *((node.output[0], Why.OPERATOR, None) for node in graph.node if node.op_type in rules.operators),
    ]
    reasons: dict[str, _Reason] = {}
    for reason in found:
        reasons[reason[0]] = min(reasons.get(reason[0], reason), reason, key=_rank)
    return [
        Kept(node.output[0], node.name or node.output[0], module_of(node), *reasons[node.output[0]][1:])
        for node in graph.node
        if node.output[0] in reasons
    ]


def facts_of_kept(kept: Sequence[Kept]) -> Facts:
    """What a report says of them: how many nodes, how many a reason, and one entry a module and reason.

    Of an entry's nodes it names the first and the greatest figure; where no figure is the reason, layers that differ
    in their number share an entry. Of very many entries those with most nodes are told.
    """
    groups: dict[tuple[str, Why], list[Kept]] = {}
    for one in kept:
        module = _NUMBER.sub(".*", one.module) if one.value is None else one.module
        groups.setdefault((module, one.why), []).append(one)
    told = sorted(groups, key=lambda key: -len(groups[key]))[:_REPORTED]
    return {
        "fp32_nodes": len(kept),
        "kept_counts": dict(Counter(one.why.value for one in kept)),
        "kept": [
            {
                "node": nodes[0].node,
                "module": module,
                "why": why.value,
                "value": max((one.value for one in nodes if one.value is not None), default=None),
                "nodes": len(nodes),
            }
            for (module, why), nodes in groups.items()
            if (module, why) in told
        ],
    }


def _rank(reason: _Reason) -> tuple[int, float]:
    """The weightiest first, of like ones the one with the greatest figure."""
    return _ORDER[reason[1]], -(reason[2] or 0.0)


def _constants(flow: Flow, format_: Format) -> Iterator[_Reason]:
    """Nodes that read a constant that the format can't hold, and what it makes of the values after them."""
    for name, array in flow.constants.items():
        if format_.holds(array):
            continue
        top = float(np.abs(array[np.isfinite(array)]).max())
        why = Why.CONSTANT if array.size == 1 else Why.WEIGHT
        large = top > format_.greatest
        if name in flow.producers:
            yield flow.producers[name].output[0], why, top
        for node in flow.readers(name):
            if not large and array.size > 1 and name not in _scales(node):
                continue
            yield node.output[0], why, top
            if not large or node.op_type not in _BOUNDS:
                after = Why.RANGE if large else Why.TINY
                for reader in _reached(flow, node, _CARRIERS if large else _ROOTS):
                    yield reader.output[0], after, top


def _scales(node: Any) -> list[str]:
    """The inputs that a node multiplies; tiny numbers that are only added to others don't matter."""
    return list(node.input[:_FACTORS]) if node.op_type in _SCALES else []


def _reached(flow: Flow, start: Any, carriers: frozenset[str]) -> Iterator[Any]:
    """The nodes that read the start's results, directly or through ``carriers``; these read large values wide."""
    pending, seen = [start], {start.output[0]}
    while pending:
        node = pending.pop()
        for reader in (r for name in node.output if name in flow.floats for r in flow.readers(name)):
            if reader.output[0] in seen:
                continue
            seen.add(reader.output[0])
            yield reader
            if reader.op_type in carriers:
                pending.append(reader)


def _values(flow: Flow, format_: Format, seen: Observations) -> Iterator[_Reason]:
    """Producers and consumers of values that the format can't hold."""
    for name, magnitude in seen.magnitudes.items():
        why = _why_not_held(magnitude, format_)
        if why is None:
            continue
        value = magnitude if math.isfinite(magnitude) else None
        for node in (*flow.makers(name), *flow.readers(name)):
            yield node.output[0], why, value


def _why_not_held(magnitude: float, format_: Format) -> Why | None:
    if not math.isfinite(magnitude):
        return Why.NOT_FINITE
    if magnitude * _HEADROOM > format_.greatest:
        return Why.RANGE
    return Why.TINY if 0.0 < magnitude < format_.least else None


def _sums(flow: Flow, format_: Format, seen: Observations) -> Iterator[_Reason]:
    for name, total in seen.sums.items():
        if total * _HEADROOM > format_.greatest:
            for node in flow.makers(name):
                yield node.output[0], Why.SUM, total if math.isfinite(total) else None


def _logits(flow: Flow, limit: float, seen: Observations) -> Iterator[_Reason]:
    """Softmaxes of large logits, and all that makes these, back to their product."""
    for name, magnitude in seen.logits.items():
        if magnitude >= limit:
            for node in (n for softmax in flow.makers(name) for n in (softmax, *_scores(flow, softmax))):
                yield node.output[0], Why.LOGITS, magnitude if math.isfinite(magnitude) else None


def _scores(flow: Flow, softmax: Any) -> Iterator[Any]:
    """What makes a softmax' logits, back to the products."""
    pending, seen = [softmax], set()
    while pending:
        for name in (name for name in pending.pop().input if name in flow.floats and name not in seen):
            seen.add(name)
            for node in flow.makers(name):
                if node.op_type in _SCORES | _PRODUCTS:
                    yield node
                if node.op_type in _SCORES:
                    pending.append(node)
