"""Attention as one operator of ONNX Runtime, wherever that is proved to give the same numbers.

Recognized is softmax(q k^T * scale + masks) v with the heads split off and joined again by Reshape and Transpose,
as `scaled_dot_product_attention` and the eager attention of `transformers` are exported; anything else stays as it is.
Each core is run beside what replaces it, on random numbers, before it is replaced.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tritonpack.engines._heads import Form, Scores, Source, end_of, heads_of, scores_of, source_of, unscaled, unturned
from tritonpack.engines._masks import Masking, Masks, random_grids
from tritonpack.engines._view import CONTRIB, GraphView, UnprovableError, opsets

_PREFIX = "attention/"
_EXACT = 1e-5
_SIZES = ((3, 6), (2, 9))
_LOWEST = float(np.finfo(np.float32).min)


def fuse_attention(model: Any) -> int:
    """Replace every attention core that is recognized and proved; how many there were.

    Args:
        model: changed in place; what nothing reads any more stays in it.
    """
    view = GraphView(model)
    fusion = _Fusion(view)
    places: dict[int, list[Any]] = {}
    for node in view.graph.node:
        if node.op_type == "Softmax":
            found = fusion.replaced(node)
            if found is not None:
                place, nodes = found
                places[id(place)] = nodes
    if places:
        old = list(view.graph.node)
        nodes = [new for node in old for new in (*places.get(id(node), ()), node)]
        copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
        del view.graph.node[:]
        view.graph.node.extend(copies)
        imported = opsets(model)
        copied = [type(entry).FromString(entry.SerializeToString()) for entry in imported]
        del model.opset_import[:]
        model.opset_import.extend(copied)
    return len(places)


@dataclass(frozen=True)
class _Core:
    """What goes into an attention.

    Args:
        query: its queries.
        key: its keys.
        value: its values.
        heads: how many.
        scale: what scores are multiplied by.
        name: unique in the graph.
    """

    query: Source
    key: Source
    value: Source
    heads: int
    scale: float
    name: str

    @property
    def sources(self) -> tuple[Source, Source, Source]:
        """All three."""
        return self.query, self.key, self.value


class _Fusion:
    """Finds what replaces each core; the cores share what they read."""

    def __init__(self, view: GraphView) -> None:
        self._view = view
        self._masks = Masks(view)
        self._made: set[str] = set()

    def replaced(self, softmax: Any) -> tuple[Any, list[Any]] | None:
        """The Transpose behind a Softmax's core and the nodes to put in front of it, its readers led to them."""
        view = self._view
        scores, end = scores_of(view, softmax.input[0]), end_of(view, softmax)
        core = _core(view, scores, end[0]) if scores is not None and end is not None else None
        if scores is None or end is None or core is None:
            return None
        masking = self._masking(scores)
        if masking is None:
            return None
        nodes = _nodes(core, masking)
        old, new = end[1].output[0], nodes[-1].output[0]
        if not self._equal(core, masking, nodes, old, new):
            return None
        for reader in view.readers(old):
            reader.input[0] = new
        fresh = [node for node in nodes if node.output[0] not in self._made]
        self._made.update(node.output[0] for node in fresh)
        return end[1], fresh

    def _masking(self, scores: Scores) -> Masking | None:
        masking = Masking()
        for condition, hides in scores.filled:
            if not self._masks.fill(masking, condition, hides=hides):
                return None
        for name in scores.added:
            self._masks.add(masking, name)
        return masking

    def _equal(self, core: _Core, masking: Masking, nodes: list[Any], old: str, new: str) -> bool:
        """Whether both give the same for every query that is itself seen, for random numbers of two sizes."""
        view, rng = self._view, np.random.default_rng(0)
        cuts = [source.name for source in core.sources]
        grids = view.grids_below([old, *masking.biases, *([masking.keys] if masking.keys else [])], cuts)
        for rows, width in _SIZES:
            given = random_grids(view, grids, rng, rows, width)
            for source in core.sources:
                shape = source.shape(rows, width, core.heads)
                given.setdefault(source.name, rng.normal(size=shape).astype(np.float32))
            try:
                expected, found = view.computed([old, new], given, nodes)
            except UnprovableError:
                return False
            seen = given[masking.keys] != 0 if masking.keys else np.ones((rows, width), bool)
            if expected.size != found.size:
                return False
            error = np.abs(expected.reshape(found.shape) - found)[seen]
            if not np.all(error <= _EXACT * np.abs(expected).max()):
                return False
        return True


def _core(view: GraphView, scores: Scores, value: str) -> _Core | None:
    import onnx

    queries, scale = unscaled(view, scores.query, scores.scale)
    turned, scale = unscaled(view, scores.key, scale)
    query, key = source_of(view, queries), unturned(view, turned)
    by_heads = key is not None and key.form is Form.HEADS
    values = heads_of(view, value) if by_heads else source_of(view, value)
    heads = next((dims[1] for name in (queries, value) if len(dims := view.dims(name) or ()) == 4 and dims[1]), None)  # noqa: PLR2004  by heads
    if query is None or key is None or values is None or not isinstance(heads, int):
        return None
    if any(view.element(source.name) != onnx.TensorProto.FLOAT for source in (query, key, values)):
        return None
    return _Core(query, key, values, heads, scale, f"{_PREFIX}{scores.query}")


def _nodes(core: _Core, masking: Masking) -> list[Any]:
    """The operator, behind what brings its inputs to its forms; it takes keys and values by heads, but no queries."""
    import onnx

    make = onnx.helper.make_node
    nodes: list[Any] = []
    by_heads = core.key.form is Form.HEADS
    given = [_joined(core.query, core, nodes)]
    given += [source.name if by_heads else _joined(source, core, nodes) for source in (core.key, core.value)]
    given += ["", ""]
    if masking.keys is not None:
        given[-1] = f"{_PREFIX}{masking.keys}/keys"
        nodes.append(make("Cast", [masking.keys], [given[-1]], to=onnx.TensorProto.INT32))
    if masking.biases:
        bias = masking.biases[0]
        for name in masking.biases[1:]:
            nodes.append(make("Add", [bias, name], [f"{_PREFIX}{bias}+{name}"]))
            bias = nodes[-1].output[0]
        given.append(bias)
    while not given[-1]:
        given.pop()
    attributes = {"num_heads": core.heads, "scale": core.scale, "mask_filter_value": _LOWEST}
    attributes |= {"unidirectional": 1} if masking.causal else {}
    nodes.append(make("MultiHeadAttention", given, [f"{core.name}/attended"], domain=CONTRIB, **attributes))
    return nodes


def _joined(source: Source, core: _Core, nodes: list[Any]) -> str:
    """A source with its heads side by side."""
    import onnx

    if source.form is Form.JOINED:
        return source.name
    split = source.name
    if source.form is Form.HEADS:
        split = f"{_PREFIX}{source.name}/split"
        nodes.append(onnx.helper.make_node("Transpose", [source.name], [split], perm=[0, 2, 1, 3]))
    name = f"{_PREFIX}{source.name}/joined"
    shape = f"{_PREFIX}{source.name}/shape"
    nodes.append(onnx.helper.make_node("Constant", [], [shape], value_ints=[0, 0, source.last * core.heads]))
    nodes.append(onnx.helper.make_node("Reshape", [split, shape], [name]))
    return name
