"""Which part of the model a node came from, and which nodes compute positions instead of activations."""

from __future__ import annotations

from typing import Any

from tritonpack.core.scopes import modules_of
from tritonpack.precisions._flow import float_values

_ANGLES = frozenset({"Sin", "Cos"})


def nodes_of_modules(graph: Any, modules: tuple[str, ...]) -> set[str]:
    """The nodes inside submodules of these names, and the sums that their results go into.

    PyTorch's type promotion does the same: what is added to a value in FP32 is in FP32 from there on,
    so that a residual stream stays wide until the next product narrows it.

    Args:
        graph: as it was exported, with each node's module path in its metadata.
        modules: last parts of module paths, e.g. ``wo`` for ``encoder.block.0.layer.1.DenseReluDense.wo``.

    Returns:
        Each node's first output, since a name is optional.
    """
    chosen: set[str] = set()
    wide: set[str] = set()
    for node in graph.node:
        promoted = node.op_type == "Add" and not wide.isdisjoint(node.input)
        if promoted or not _module_names(node).isdisjoint(modules):
            chosen.add(node.output[0])
            wide.update(node.output)
    return chosen


def nodes_of_positions(graph: Any) -> set[str]:
    """The nodes that compute indices and angles from integers alone.

    FP16 has eleven bits: rounded, the logarithm of a distance falls into another bucket, and the sine of a
    late position is that of another position.

    Args:
        graph: with every value's type inferred.

    Returns:
        Each node's first output.
    """
    floats = float_values(graph)
    producers = {output: node for node in graph.node for output in node.output}
    activations = _activations(graph, floats)
    ends = [node for node in graph.node if node.op_type in _ANGLES or _makes_integers(node, floats)]
    open_values = [name for node in ends for name in node.input]
    chosen = {node.output[0] for node in ends if node.op_type in _ANGLES and activations.isdisjoint(node.output)}
    while open_values:
        value = open_values.pop()
        node = producers.get(value)
        if node is None or value not in floats or value in activations or node.output[0] in chosen:
            continue
        chosen.add(node.output[0])
        open_values += node.input
    return chosen


def _module_names(node: Any) -> set[str]:
    """The last part of each module's path that the node lies in."""
    return {path.rpartition(".")[2] for path in modules_of(node)}


def _makes_integers(node: Any, floats: set[str]) -> bool:
    return node.op_type == "Cast" and node.input[0] in floats and node.output[0] not in floats


def _activations(graph: Any, floats: set[str]) -> set[str]:
    """Every value that depends on an embedding or on a floating-point input."""
    weights = {tensor.name for tensor in graph.initializer}
    found = {value.name for value in graph.input if value.name in floats}
    for node in graph.node:
        embeds = node.op_type == "Gather" and node.input[0] in weights and node.output[0] in floats
        if embeds or not found.isdisjoint(node.input):
            found.update(node.output)
    return found
