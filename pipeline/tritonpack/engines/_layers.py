"""The rest of a graph as ONNX Runtime runs it fastest on a CPU: sums that it doesn't fuse, and nothing unread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tritonpack.core.graphs import drop_unread, names_read

if TYPE_CHECKING:
    from tritonpack.engines._view import GraphView

_FLAT = 2


def split_norms(view: GraphView) -> int:
    """Let sums in front of layer norms be nodes of their own; how many there were.

    Of a sum of three axes and a norm ONNX Runtime makes one SkipLayerNormalization, which on the CPU takes longer than
    the two. It doesn't know them by the name of Sum, which adds two values as Add does. Sums of two axes it leaves
    alone, and its Add runs them on every core.
    """
    changed = 0
    for node in view.graph.node:
        add = view.maker(node.input[0], "Add") if node.op_type == "LayerNormalization" else None
        if add is not None and len(view.dims(add.output[0]) or ()) != _FLAT:
            add.op_type = "Sum"
            changed += 1
    return changed


def drop_dead(graph: Any) -> None:
    """Take out nodes and constants that no output needs: the runtime would run them."""
    while True:
        used = names_read(graph)
        kept = [node for node in graph.node if any(name in used for name in node.output)]
        if len(kept) == len(graph.node):
            break
        copies = [type(node).FromString(node.SerializeToString()) for node in kept]
        del graph.node[:]
        graph.node.extend(copies)
    drop_unread(graph)
