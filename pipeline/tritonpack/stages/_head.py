"""The nodes in front of a ragged graph: where a cell of the padded batch finds its token, and a token its cell."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tritonpack.core.model import RaggedAxis

_PREFIX = "ragged/"
_INT64 = 7


class Head:
    """Collects the head's nodes for one axis; every value's name starts with ``ragged/<axis>/``.

    Args:
        axis: the axis.

    Attributes:
        padded: by input, the name of its padded rows.
        nodes: in order.
        constants: what they read.
    """

    def __init__(self, axis: RaggedAxis) -> None:
        self.axis = axis
        self.prefix = f"{_PREFIX}{axis.name}/"
        self.padded: dict[str, str] = {}
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._numbers: set[str] = set()
        self._lengths = self._add("Cast", [axis.length_input], to=_INT64)
        self._zero, self._one = self._constant("zero", 0), self._constant("one", 1)
        self._ends = self._add("CumSum", [self._lengths, self._zero])
        self._starts = self._add("Sub", [self._ends, self._lengths])
        self._width = self._constant("longest", axis.longest)
        if axis.dynamic:
            shape = self._add("Shape", [axis.longest_input])
            count = self._add("Squeeze", [shape, self._constant("first", [0])])
            self._width = self._add("Min", [count, self._width])
        column = self._add("Range", [self._zero, self._width, self._one])
        self._is_token = self._add("Less", [column, self._lengths])
        self.index = self._add("Where", [self._is_token, self._add("Add", [self._starts, column]), self._zero])
        """``(rows, width)``: each cell's place in the flat tensors, 0 where it is padded."""

    def pad(self, name: str, value: Any) -> None:
        """Cut one flat input into padded rows."""
        import onnx

        cells = self._add("Gather", [name, self.index])
        fill, self.padded[name] = f"{self.prefix}pad_{name}", f"{self.prefix}padded_{name}"
        self.constants.append(onnx.numpy_helper.from_array(value, fill))
        self.nodes.append(onnx.helper.make_node("Where", [self._is_token, cells, fill], [self.padded[name]]))

    def places(self, *, transposed: bool, merged: bool) -> str:
        """For each cell of a grid, transposed or merged to one axis or both, its place in the flat tensors."""
        name = self._transposed_index if transposed else self.index
        return self._merged(name, transposed=transposed) if merged else name

    def cells(self, *, transposed: bool) -> str:
        """``(total,)``: the place of each token among the cells, counted row by row or column by column."""
        return self._cells_by_column if transposed else self._cells_by_row

    @cached_property
    def token_row(self) -> str:
        """``(total,)``: each token's row, which is how many rows end before it."""
        ended = self._add("LessOrEqual", [self._ends, self._place])
        counted = self._add("Cast", [ended], to=_INT64)
        row = self._add("ReduceSum", [counted, self._constant("first", [0])], keepdims=0)
        return self._add("Min", [row, self._add("Sub", [self._rows, self._one])])

    @cached_property
    def token_column(self) -> str:
        """``(total,)``: each token's place in its row; of a row that is too long, the last that there is."""
        starts = self._add("Squeeze", [self._starts, self._constant("second", [1])])
        column = self._add("Sub", [self._place, self._add("Gather", [starts, self.token_row])])
        return self._add("Min", [column, self._add("Sub", [self._width, self._one])])

    @cached_property
    def _place(self) -> str:
        shape = self._add("Shape", [next(iter(self.axis.pads))])
        total = self._add("Squeeze", [shape, self._constant("first", [0])])
        return self._add("Range", [self._zero, total, self._one])

    @cached_property
    def _rows(self) -> str:
        shape = self._add("Shape", [self._lengths], start=0, end=1)
        return self._add("Squeeze", [shape, self._constant("first", [0])])

    @cached_property
    def _cells_by_row(self) -> str:
        return self._add("Add", [self._add("Mul", [self.token_row, self._width]), self.token_column])

    @cached_property
    def _cells_by_column(self) -> str:
        return self._add("Add", [self._add("Mul", [self.token_column, self._rows]), self.token_row])

    @cached_property
    def _transposed_index(self) -> str:
        return self._add("Transpose", [self.index], perm=[1, 0])

    def _merged(self, index: str, *, transposed: bool) -> str:
        name = f"{self.prefix}places_{'by_column' if transposed else 'by_row'}"
        if name not in self._numbers:
            self._numbers.add(name)
            self._add("Reshape", [index, self._constant("all", [-1])], name)
        return name

    def _constant(self, name: str, value: int | list[int]) -> str:
        import onnx

        full = self.prefix + name
        if full not in self._numbers:
            self._numbers.add(full)
            self.constants.append(onnx.numpy_helper.from_array(np.array(value, dtype=np.int64), full))
        return full

    def _add(self, operator: str, inputs: list[str], output: str = "", **attributes: int | list[int]) -> str:
        import onnx

        output = output or f"{self.prefix}{len(self.nodes)}_{operator.lower()}"
        self.nodes.append(onnx.helper.make_node(operator, inputs, [output], **attributes))
        return output
