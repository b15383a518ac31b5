"""The parts of an exported attention: the way to its scores, and the values that its heads are cut from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.engines._masks import HIDDEN
from tritonpack.engines._view import UnprovableError

if TYPE_CHECKING:
    from tritonpack.engines._view import GraphView

_SPLIT = [0, 2, 1, 3]
_TURNED = [0, 1, 3, 2]
_SPLIT_AND_TURNED = [0, 2, 3, 1]
_JOINED, _HEADS = 3, 4


class Form(Enum):
    """How a value holds its heads."""

    JOINED = "(rows, width, heads * size)"
    SPLIT = "(rows, width, heads, size)"
    HEADS = "(rows, heads, width, size)"


@dataclass(frozen=True)
class Source:
    """A value of the graph that queries, keys or values are read from.

    Args:
        name: the value's.
        form: how it holds its heads.
        last: how many elements its last axis has.
    """

    name: str
    form: Form
    last: int

    def shape(self, rows: int, width: int, heads: int) -> tuple[int, ...]:
        """The value's shape."""
        if self.form is Form.JOINED:
            return rows, width, self.last
        return (rows, width, heads, self.last) if self.form is Form.SPLIT else (rows, heads, width, self.last)


@dataclass(frozen=True)
class Scores:
    """The way from two matrices to the scores.

    Args:
        query: ``(rows, heads, width, size)``.
        key: turned, ``(rows, heads, size, width)``.
        scale: what the product is multiplied by.
        added: values added to the scores.
        filled: conditions under which scores are replaced, and whether they are hidden when it holds.
    """

    query: str
    key: str
    scale: float = 1.0
    added: tuple[str, ...] = ()
    filled: tuple[tuple[str, bool], ...] = ()


def scores_of(view: GraphView, name: str) -> Scores | None:
    """The scores that a value is, if it is a product of four axes with scales and masks."""
    node = view.maker(name, "MatMul", "Mul", "Div", "Add", "Where")
    return None if node is None else _SCORES[node.op_type](view, node)


def _product(view: GraphView, node: Any) -> Scores | None:
    ranks = {len(view.dims(name) or ()) for name in node.input}
    return Scores(*node.input) if ranks == {_HEADS} else None


def _scaled(view: GraphView, node: Any) -> Scores | None:
    below, factor = _factor(view, node)
    inner = scores_of(view, below) if factor is not None else None
    if inner is None or factor is None or inner.added or inner.filled:
        return None
    return replace(inner, scale=inner.scale * factor)


def _masked(view: GraphView, node: Any) -> Scores | None:
    for below, added in (tuple(node.input), tuple(node.input)[::-1]):
        inner = scores_of(view, below)
        if inner is not None:
            return replace(inner, added=(*inner.added, added))
    return None


def _filled(view: GraphView, node: Any) -> Scores | None:
    condition, *branches = node.input
    for hides, (low, below) in ((True, branches), (False, branches[::-1])):
        value = view.scalar(low)
        inner = scores_of(view, below) if value is not None and value <= HIDDEN else None
        if inner is not None:
            return replace(inner, filled=(*inner.filled, (condition, hides)))
    return None


_SCORES = {"MatMul": _product, "Mul": _scaled, "Div": _scaled, "Add": _masked, "Where": _filled}


def _factor(view: GraphView, node: Any) -> tuple[str, float | None]:
    """What a Mul or Div by a constant multiplies, and by what."""
    first, second = node.input
    if node.op_type == "Mul" and view.scalar(first) is not None:
        return second, view.scalar(first)
    factor = view.scalar(second)
    return first, factor and (1 / factor if node.op_type == "Div" else factor)


def unscaled(view: GraphView, name: str, scale: float) -> tuple[str, float]:
    """A value before it was multiplied by constants, and the scale times them."""
    while (node := view.maker(name, "Mul", "Div")) is not None:
        below, factor = _factor(view, node)
        if factor is None:
            break
        name, scale = below, scale * factor
    return name, scale


def unturned(view: GraphView, name: str) -> Source | None:
    """The keys whose last axes were turned; None where nothing turns them."""
    transpose = view.maker(name, "Transpose")
    if transpose is not None:
        order = _order(transpose)
        if order == _TURNED:
            return source_of(view, transpose.input[0])
        return _split_source(view, transpose.input[0]) if order == _SPLIT_AND_TURNED else None
    try:
        return _unturned_through_three_axes(view, name)
    except UnprovableError:
        return None


def _unturned_through_three_axes(view: GraphView, name: str) -> Source | None:
    """The export turns keys with rows and heads as one axis, between two Reshapes; proved by running them."""
    below = name
    for operator in ("Reshape", "Transpose", "Reshape"):
        node = view.maker(below, operator)
        if node is None:
            return None
        below = node.input[0]
    heads = (view.dims(below) or (0, 0))[1]
    rows = np.random.default_rng(0).normal(size=(2, heads if isinstance(heads, int) and heads else 3, 5, 4))
    (turned,) = view.computed([name], {below: rows.astype(np.float32)})
    return source_of(view, below) if np.array_equal(turned, rows.astype(np.float32).transpose(_TURNED)) else None


def source_of(view: GraphView, name: str) -> Source | None:
    """What a value of the form HEADS is read from."""
    transpose = view.maker(name, "Transpose")
    if transpose is not None and _order(transpose) == _SPLIT:
        return _split_source(view, transpose.input[0])
    return heads_of(view, name)


def heads_of(view: GraphView, name: str) -> Source | None:
    """A value of the form HEADS itself."""
    return _source(view, name, Form.HEADS)


def _split_source(view: GraphView, name: str) -> Source | None:
    """What a value of the form SPLIT is read from."""
    reshape = view.maker(name, "Reshape")
    split = view.dims(name)
    if reshape is not None and split is not None and len(split) == _HEADS:
        joined = view.dims(reshape.input[0])
        if joined is not None and len(joined) == _JOINED and _same_rows(view, reshape.input[0], joined, split):
            return _source(view, reshape.input[0], Form.JOINED)
    return _source(view, name, Form.SPLIT)


def _same_rows(view: GraphView, name: str, joined: tuple[int | str, ...], split: tuple[int | str, ...]) -> bool:
    """Whether a value's first two axes are rows and width, as after the Reshape."""
    if all(joined[:2]) and joined[:2] == split[:2]:
        return True
    gather = view.maker(name, "Gather")
    return gather is not None and view.is_grid(gather.input[1])


def _source(view: GraphView, name: str, form: Form) -> Source | None:
    dims = view.dims(name)
    last = dims[-1] if dims else 0
    return Source(name, form, last) if isinstance(last, int) and last else None


def end_of(view: GraphView, softmax: Any) -> tuple[str, Any] | None:
    """The values that a Softmax's weights are multiplied with, and the Transpose behind that product."""
    weights = softmax.output[0]
    axis = next((attribute.i for attribute in softmax.attribute if attribute.name == "axis"), -1)
    if axis not in {-1, _HEADS - 1}:
        return None
    for reader in view.readers(weights):
        if reader.op_type == "IsNaN":  # a row of which everything is hidden, made zero
            cleaned = view.sole_reader(reader.output[0], "Where")
            weights = cleaned.output[0] if cleaned is not None else weights
    product = view.sole_reader(weights, "MatMul")
    if product is None or product.input[0] != weights:
        return None
    joined = view.sole_reader(product.output[0], "Transpose")
    if joined is None or _order(joined) != _SPLIT:
        return None
    readers = view.readers(joined.output[0])
    return (product.input[1], joined) if joined.output[0] not in view.outputs and _all_reshape(view, readers) else None


def _all_reshape(view: GraphView, readers: list[Any]) -> bool:
    """Whether nodes bring a value to a shape that is said in full, but for its rows and width."""
    return all(
        node.op_type == "Reshape" and ((shape := view.array(node.input[1])) is None or np.all(shape[2:] != 0))
        for node in readers
    )


def _order(transpose: Any) -> list[int]:
    return next((list(attribute.ints) for attribute in transpose.attribute if attribute.name == "perm"), [])
