"""The rest of a graph as ONNX Runtime runs it fastest on a CPU: nothing that a constant or a neighbour can replace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.graphs import drop_unread, names_read

if TYPE_CHECKING:
    from tritonpack.engines._view import GraphView

    Array = np.ndarray[Any, Any]

_FLAT = 2
_MOVES = frozenset({"Expand", "Gather", "GatherElements", "Identity", "Reshape", "Slice", "Squeeze", "Unsqueeze"})
_UNNAMED = "unk__"


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


def join_reshapes(view: GraphView) -> int:
    """Let a Reshape to a constant shape read what the Reshape in front of it reads; how many there were."""
    joined = 0
    for node in view.graph.node:
        before = view.maker(node.input[0], "Reshape") if node.op_type == "Reshape" else None
        shape = view.array(node.input[1]) if before is not None else None
        if before is not None and shape is not None and np.all(shape != 0):
            node.input[0] = before.input[0]
            joined += 1
    return joined


def fold_rows(view: GraphView) -> int:
    """Add a constant where the same row of a table is added to every token; how many such sums there were.

    That are token types, where a model gets one text: the export looks zero up in a table of zeros for each token.
    """
    import onnx

    folded = 0
    for node in view.graph.node:
        for place in (0, 1) if node.op_type == "Add" else ():
            row = _row(view, node.input[place])
            if row is not None and _covers(view, node.input[1 - place], node.input[place]):
                name = f"{node.input[place]}/row"
                if name not in view.constants:
                    view.constants[name] = onnx.numpy_helper.from_array(row, name)
                    view.graph.initializer.append(view.constants[name])
                node.input[place] = name
                folded += 1
    return folded


def _row(view: GraphView, name: str) -> Array | None:
    """The row of a constant table that a value has for every token, dequantized if the table is quantized."""
    looked_up = name
    dequantize = view.maker(looked_up, "DequantizeLinear")
    if dequantize is not None:
        looked_up = dequantize.input[0]
    gather = view.maker(looked_up, "Gather")
    if gather is None or len(view.array_dims(gather.input[0])) != _FLAT or any(it.i for it in gather.attribute):
        return None
    index = _same(view, gather.input[1])
    if index is None:
        return None
    (rows,) = view.computed([name], {gather.input[1]: np.array([index], np.int64)})
    return rows[0] if rows.dtype == np.float32 else None


def _same(view: GraphView, name: str) -> int | None:
    """The one integer that all of a value is."""
    array = view.array(name)
    if array is not None:
        return int(array.flat[0]) if array.dtype == np.int64 and array.size and np.all(array == array.flat[0]) else None
    node = view.makers.get(name)
    return _same(view, node.input[0]) if node is not None and node.op_type in _MOVES else None


def _covers(view: GraphView, name: str, row: str) -> bool:
    """Whether a value has every token that a row is added to: its axes but the last are of any size, by name."""
    dims, added = view.dims(name), view.dims(row)
    if dims is None or added is None or len(dims) != len(added) or dims[-1] != added[-1]:
        return False
    return all(isinstance(dim, str) and dim and not dim.startswith(_UNNAMED) for dim in dims[:-1])


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
