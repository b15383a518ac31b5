"""What the nodes of an ONNX graph read, also in graphs inside them; needs nothing but the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def subgraphs(node: Any) -> Iterator[Any]:
    """The graphs that a node holds as attributes, e.g. the branches of an ``If``."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def names_read(graph: Any) -> set[str]:
    """Every value that a node of the graph, or of a graph inside it, or the graph's end reads."""
    names = {output.name for output in graph.output}
    for node in graph.node:
        names.update(node.input)
        for inner in subgraphs(node):
            names |= names_read(inner)
    return names


def drop_unread(graph: Any) -> None:
    """Take out constants that nothing reads."""
    used = names_read(graph)
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
