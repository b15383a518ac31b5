"""Which nodes of a padded graph work on each token by itself, and what they are where only tokens are held.

A rule says of a node on grids (`Grid`) what the same node is on flat values: ``(total, ...)``, one entry for each
token. Its outputs then hold the same numbers at the tokens, whatever stands at the padding. A node that no rule knows
mixes tokens, as attention and pooling do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from tritonpack.stages._grid import ROWS, Dims, Grid, grid_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

_MATRIX = 2
_EINSUM_OPERANDS = 2
_ADDED = 2
"""Where ``Gemm`` has what it adds."""
_ZERO_POINT = 2
"""Where ``MatMulInteger`` has the zero point of its first operand."""
_SLICE_AXES = 3
"""Where ``Slice`` has its axes."""


class Kind(Enum):
    """What a node is worth on flat values: a product always, a view only for what reads it."""

    PRODUCT = "product"
    LOOKUP = "lookup"
    POINTWISE = "pointwise"
    VIEW = "view"


class Role(Enum):
    """What an operand has an entry for."""

    TOKEN = "token"  # noqa: S105  of a text
    COLUMN = "column"
    ROW = "row"
    ANY = "any"


class Operand(NamedTuple):
    """An input of a token-wise node.

    Args:
        role: what it has an entry for.
        rest: its sizes behind that, as long as the node's output has axes there.
        cut: whether it has axes of length one where the output has the cells.
    """

    role: Role
    rest: tuple[int, ...]
    cut: bool = False


@dataclass(frozen=True)
class Form:
    """A token-wise node on flat values.

    Args:
        kind: what it is worth.
        operands: by position, the inputs that it reads; those that aren't named stay as they are.
        attributes: what changes.
        constants: by position, the numbers that stand in an input's place.
        operator: the operator, where it is another one.
        same: whether the flat value is simply operand 0's.
    """

    kind: Kind
    operands: dict[int, Operand]
    attributes: dict[str, Any] = field(default_factory=dict)
    constants: dict[int, list[int]] = field(default_factory=dict)
    operator: str = ""
    same: bool = False

    @property
    def tokens(self) -> list[int]:
        """Positions of the inputs with an entry for each token."""
        return [position for position, operand in self.operands.items() if operand.role is Role.TOKEN]


class Values:
    """What is known of a graph's values.

    Args:
        graph: the padded graph.
        dims: of every value.
        axes: names of the ragged axes.
    """

    def __init__(self, graph: Any, dims: Mapping[str, Dims], axes: Sequence[str]) -> None:
        self.dims = dims
        self._axes = axes
        self._tensors = {tensor.name: tensor for tensor in graph.initializer}
        self._order: dict[str, bool] = {}
        self.forms: list[Form | None] = []
        for node in graph.node:
            self._note_order(node)
            form = form_of(node, self)
            self.forms.append(form)
            if form is None and node.op_type != "Reshape":
                self._forget_order(node)

    def grid(self, name: str) -> Grid | None:
        """The grid that a value is."""
        return grid_of(self.dims.get(name), self._axes, transposed=self._order.get(name))

    def numbers(self, name: str) -> NDArray[np.generic] | None:
        """A constant's numbers."""
        import onnx

        return onnx.numpy_helper.to_array(self._tensors[name]) if name in self._tensors else None

    def sizes(self, name: str) -> tuple[int, ...] | None:
        """The dimensions of a value that no token has an entry in."""
        dims = self.dims.get(name)
        return None if dims is None else _sizes(dims)

    def _note_order(self, node: Any) -> None:
        """Merged cells have the order of the grid that they come from."""
        grids = [grid for grid in map(self.grid, node.input) if grid is not None]
        if node.op_type != "Transpose" and len({grid.transposed for grid in grids}) == 1:
            self._order.update(dict.fromkeys(node.output, grids[0].transposed))

    def _forget_order(self, node: Any) -> None:
        for name in node.output:
            self._order.pop(name, None)


def form_of(node: Any, values: Values) -> Form | None:
    """The node on flat values, or None if it isn't known to be token-wise."""
    rule = _RULES.get(node.op_type) if node.domain in {"", "ai.onnx"} else None
    outputs = [values.grid(name) for name in node.output if name]
    if rule is None or not outputs or outputs[0] is None:
        return None
    if node.op_type != "DynamicQuantizeLinear" and not all(outputs):
        return None
    return rule(node, outputs[0], values)


def _operand(values: Values, name: str, grid: Grid) -> Operand | None:
    """What a value is to a node whose output is ``grid``, as it is broadcast there."""
    dims = values.dims.get(name)
    if dims is None or len(dims) > grid.rank:
        return None
    aligned: Dims = (1,) * (grid.rank - len(dims)) + dims
    lead, rest = aligned[: len(grid.lead)], _sizes(aligned[len(grid.lead) :])
    if rest is None:
        return None
    if lead == grid.lead:
        own = values.grid(name)
        same = own is not None and (own.transposed, len(dims)) == (grid.transposed, grid.rank)
        return Operand(Role.TOKEN, rest) if same else None
    if lead == (1,) * len(lead):
        return Operand(Role.ANY, rest, cut=not grid.merged and len(dims) == grid.rank)
    if lead == tuple(1 if size == ROWS else size for size in grid.lead):
        return Operand(Role.COLUMN, rest)
    return Operand(Role.ROW, rest) if lead == tuple(ROWS if size == ROWS else 1 for size in grid.lead) else None


def _pointwise(node: Any, grid: Grid, values: Values) -> Form | None:
    """Each result comes from the operands' entries at one place."""
    found = {position: _operand(values, name, grid) for position, name in enumerate(node.input) if name}
    operands = {position: operand for position, operand in found.items() if operand is not None}
    form = Form(Kind.POINTWISE, operands)
    return form if len(operands) == len(found) and form.tokens else None


def _expand(node: Any, grid: Grid, values: Values) -> Form | None:
    operand = _operand(values, node.input[0], grid)
    if operand is None or operand.role is Role.ANY:
        return None
    if operand.rest == grid.rest:
        return Form(Kind.VIEW, {0: operand}, same=True)
    return Form(Kind.VIEW, {0: operand}, constants={1: [1, *grid.rest]})


def _product(node: Any, grid: Grid, values: Values) -> Form | None:
    """By a matrix that is the same for every token."""
    own, matrix = values.grid(node.input[0]), values.sizes(node.input[1])
    if own is None or own.lead != grid.lead or matrix is None or len(matrix) != _MATRIX:
        return None
    zero_point = node.input[2] if len(node.input) > _ZERO_POINT else ""
    if node.op_type == "MatMulInteger" and zero_point and values.sizes(zero_point) not in {(), (1,)}:
        return None
    return Form(Kind.PRODUCT, {0: Operand(Role.TOKEN, own.rest)})


def _gemm(node: Any, grid: Grid, values: Values) -> Form | None:
    attributes = _attributes(node)
    added = values.sizes(node.input[2]) if len(node.input) > _ADDED else ()
    if attributes.get("transA", 0) or added is None or (len(added) == _MATRIX and added[0] != 1):
        return None
    return _product(node, grid, values)


def _einsum(node: Any, grid: Grid, values: Values) -> Form | None:
    """Two operands, the second the same for every token: the letters of the cells become one."""
    terms, _, result = _attributes(node)["equation"].decode().replace(" ", "").partition("->")
    first, _, second = terms.partition(",")
    own, cells = values.grid(node.input[0]), first[:2]
    if own is None or own.merged or own.lead != grid.lead or len(node.input) != _EINSUM_OPERANDS:
        return None
    if values.sizes(node.input[1]) is None or "." in terms or len(set(first)) < len(first):
        return None
    if result[:2] != cells or set(cells) & set(second):
        return None
    equation = f"{cells[0]}{first[2:]},{second}->{cells[0]}{result[2:]}"
    return Form(Kind.PRODUCT, {0: Operand(Role.TOKEN, own.rest)}, {"equation": equation})


def _gather(node: Any, grid: Grid, values: Values) -> Form | None:
    """Each token's row of a table, or the same entries of every token."""
    axis, (data, indices) = _attributes(node).get("axis", 0), node.input
    own, looked_up = values.grid(data), values.grid(indices)
    if looked_up is not None and looked_up.lead == grid.lead and axis == 0 and values.sizes(data) is not None:
        return Form(Kind.LOOKUP, {1: Operand(Role.TOKEN, looked_up.rest)})
    if own is None or own.lead != grid.lead or values.sizes(indices) is None or axis < 0:
        return None
    behind = axis - len(own.lead)
    return Form(Kind.VIEW, {0: Operand(Role.TOKEN, own.rest)}, {"axis": behind + 1}) if behind >= 0 else None


def _norm(node: Any, grid: Grid, values: Values) -> Form | None:
    """A node that works along the last axes, its other operands the same for every token."""
    own, axis = _own(node, grid, values), _attributes(node).get("axis", -1)
    others = [values.sizes(name) for name in node.input[1:] if name]
    if own is None or len(node.output) > 1 or any(sizes is None or len(sizes) > len(own.rest) for sizes in others):
        return None
    behind = axis if axis < 0 else axis - own.rank
    if -behind > len(own.rest):
        return None
    return Form(Kind.POINTWISE, {0: Operand(Role.TOKEN, own.rest)}, {"axis": behind})


def _reduce(node: Any, grid: Grid, values: Values) -> Form | None:
    own, attributes = _own(node, grid, values), _attributes(node)
    given = values.numbers(node.input[1]) if len(node.input) > 1 else np.array(attributes.get("axes", []))
    if own is None or given is None or not given.size:
        return None
    behind = [axis if axis < 0 else axis - own.rank for axis in map(int, given.ravel())]
    if any(-axis > len(own.rest) for axis in behind):
        return None
    operands = {0: Operand(Role.TOKEN, own.rest)}
    if len(node.input) > 1:
        return Form(Kind.POINTWISE, operands, constants={1: behind})
    return Form(Kind.POINTWISE, operands, {"axes": behind})


def _quantize(node: Any, grid: Grid, values: Values) -> Form | None:
    """With one scale, or with one for each entry of an axis behind the cells."""
    own, scales = _own(node, grid, values), values.sizes(node.input[1])
    if own is None or scales is None or len(scales) > 1:
        return None
    operands = {0: Operand(Role.TOKEN, own.rest)}
    if scales in {(), (1,)}:
        return Form(Kind.POINTWISE, operands)
    axis = _attributes(node).get("axis", 1)
    behind = axis if axis < 0 else axis - own.rank
    return Form(Kind.POINTWISE, operands, {"axis": behind}) if -behind <= len(own.rest) else None


def _quantize_dynamically(node: Any, grid: Grid, values: Values) -> Form | None:
    """One scale from all cells; on flat values from all tokens, which is nearer to what it should be."""
    own = _own(node, grid, values)
    return None if own is None else Form(Kind.POINTWISE, {0: Operand(Role.TOKEN, own.rest)})


def _reshape(node: Any, grid: Grid, values: Values) -> Form | None:
    """Any change of shape that leaves the cells where they are."""
    own = values.grid(node.input[0])
    if own is None or (own.axis, own.transposed) != (grid.axis, grid.transposed):
        return None
    operands = {0: Operand(Role.TOKEN, own.rest)}
    if own.rest == grid.rest:
        return Form(Kind.VIEW, operands, same=True)
    return Form(Kind.VIEW, operands, constants={1: [-1, *grid.rest]}, operator="Reshape")


def _transpose(node: Any, grid: Grid, values: Values) -> Form | None:
    """Flat values have the tokens row by row, whichever way the cells lie."""
    own = values.grid(node.input[0])
    if own is None or (own.axis, own.merged) != (grid.axis, grid.merged):
        return None
    lead, order = len(own.lead), list(_attributes(node).get("perm", reversed(range(own.rank))))
    if sorted(order[:lead]) != list(range(lead)):
        return None
    behind = [0, *(axis - lead + 1 for axis in order[lead:])]
    operands = {0: Operand(Role.TOKEN, own.rest)}
    if behind == sorted(behind):
        return Form(Kind.VIEW, operands, same=True)
    return Form(Kind.VIEW, operands, {"perm": behind})


def _slice(node: Any, grid: Grid, values: Values) -> Form | None:
    own = _own(node, grid, values)
    axes = values.numbers(node.input[_SLICE_AXES]) if len(node.input) > _SLICE_AXES else None
    if own is None or axes is None:
        return None
    behind = [axis if axis < 0 else axis - own.rank for axis in map(int, axes.ravel())]
    if any(-axis > len(own.rest) for axis in behind):
        return None
    return Form(Kind.VIEW, {0: Operand(Role.TOKEN, own.rest)}, constants={_SLICE_AXES: behind})


def _along(node: Any, grid: Grid, values: Values) -> Form | None:
    """``Split`` and ``Concat`` along an axis behind the cells."""
    owns = [values.grid(name) for name in (node.input if node.op_type == "Concat" else node.input[:1])]
    axis = _attributes(node).get("axis", 0)
    behind = axis if axis < 0 else axis - grid.rank
    if -behind > len(grid.rest):
        return None
    if any(own is None or own.lead != grid.lead or own.transposed != grid.transposed for own in owns):
        return None
    operands = {at: Operand(Role.TOKEN, own.rest) for at, own in enumerate(owns) if own is not None}
    return Form(Kind.VIEW, operands, {"axis": behind})


def _own(node: Any, grid: Grid, values: Values) -> Grid | None:
    """The grid that the first operand is, if the output's cells lie the same way."""
    own = values.grid(node.input[0])
    return own if own is not None and own.lead == grid.lead and own.transposed == grid.transposed else None


def _attributes(node: Any) -> dict[str, Any]:
    import onnx

    return {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}


def _sizes(dims: Dims) -> tuple[int, ...] | None:
    sizes = tuple(size for size in dims if isinstance(size, int))
    return sizes if len(sizes) == len(dims) else None


_POINTWISE = (
    "Abs", "Add", "And", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "Cast", "Ceil", "Celu", "Clip", "Cos", "Div", "Elu",
    "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual", "HardSigmoid", "HardSwish", "Identity",
    "IsInf", "IsNaN", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Mean", "Min", "Mish", "Mod", "Mul", "Neg",
    "Not", "Or", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Sin", "Softplus",
    "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tanh", "Where", "Xor",
)  # fmt: skip
_REDUCTIONS = (
    "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd",
    "ReduceSum", "ReduceSumSquare",
)  # fmt: skip
_Rule: TypeAlias = "Callable[[Any, Grid, Values], Form | None]"
_RULES: dict[str, _Rule] = {
    **dict.fromkeys(_POINTWISE, _pointwise),
    **dict.fromkeys(_REDUCTIONS, _reduce),
    **dict.fromkeys(("LayerNormalization", "RMSNormalization", "Softmax", "LogSoftmax"), _norm),
    **dict.fromkeys(("QuantizeLinear", "DequantizeLinear"), _quantize),
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze", "Flatten"), _reshape),
    **dict.fromkeys(("Split", "Concat"), _along),
    **dict.fromkeys(("MatMul", "MatMulInteger"), _product),
    "DynamicQuantizeLinear": _quantize_dynamically,
    "Einsum": _einsum,
    "Expand": _expand,
    "Gather": _gather,
    "Gemm": _gemm,
    "Slice": _slice,
    "Transpose": _transpose,
}
