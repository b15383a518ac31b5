"""Where the tokens of a batch lie in the values of a padded graph, as it shows when the graph runs.

A *grid* is a value with one entry for each cell of a padded batch: ``(rows, width, ...)``, the same transposed
(``(width, rows, ...)``), or either with both axes merged to one (``(rows x width, ...)``). Shapes are measured at a few
sizes and not inferred: after a precision's rewrite most values have no shape in the file, and where the exporter
wrote one, it calls one axis by several names.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from tritonpack.core.errors import LoweringError
from tritonpack.engines.onnxruntime import ROUNDING
from tritonpack.stages.export import tensor_specs

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tritonpack.core.model import RaggedAxis
    from tritonpack.core.tensors import Tensors, TensorSpec
    from tritonpack.engines import Session

Dims: TypeAlias = tuple[int | str | None, ...]
"""A number where an axis is as long whatever is sent, `ROWS`, a ragged axis's name, `cells_of` one, else None."""

ROWS = "/rows"
_BATCHES = (2, 3, 5)
_WIDTHS = (7, 11, 13, 17, 19, 23, 29, 31, 37)
_TABLES = frozenset({"Reshape", "Transpose", "Cast", "Unsqueeze", "Squeeze", "Identity"})
_PROBE = "shape_of/"


def cells_of(axis: str) -> str:
    """What an axis is called that has one entry for each cell of a padded batch."""
    return f"/cells/{axis}"


@dataclass(frozen=True)
class Grid:
    """How a value lies over the cells of an axis's padded batch.

    Args:
        axis: the ragged axis.
        transposed: whether the width comes before the rows.
        merged: whether the cells stand on one axis instead of two.
        rest: the sizes behind them.
    """

    axis: str
    transposed: bool
    merged: bool
    rest: tuple[int, ...]

    @property
    def lead(self) -> tuple[str, ...]:
        """The names of the axes that hold the cells."""
        if self.merged:
            return (cells_of(self.axis),)
        return (self.axis, ROWS) if self.transposed else (ROWS, self.axis)

    @property
    def rank(self) -> int:
        """How many axes the value has."""
        return len(self.lead) + len(self.rest)


def grid_of(dims: Dims | None, axes: Sequence[str], *, transposed: bool | None = None) -> Grid | None:
    """The grid that a value of these dimensions is, or None.

    Args:
        dims: the value's.
        axes: names of the ragged axes.
        transposed: the order of merged cells, which dimensions don't tell; None: unknown.
    """
    if dims is None:
        return None
    for axis in axes:
        forms = [(Grid(axis, False, False, ()), 2), (Grid(axis, True, False, ()), 2)]
        if transposed is not None:
            forms.append((Grid(axis, transposed, True, ()), 1))
        for form, lead in forms:
            rest = tuple(size for size in dims[lead:] if isinstance(size, int))
            if dims[:lead] == form.lead and len(rest) == len(dims) - lead:
                return Grid(axis, form.transposed, form.merged, rest)
    return None


class Rows:
    """Random rows for a padded graph.

    Args:
        model: the graph.
        axes: its ragged axes.
    """

    def __init__(self, model: Any, axes: Sequence[RaggedAxis]) -> None:
        self._specs: list[TensorSpec] = tensor_specs(model.graph.input)
        self._axes = {name: axis for axis in axes for name in axis.pads}
        self._bounds = _bounds(model.graph, [spec.name for spec in self._specs])

    def draw(self, rng: np.random.Generator, lengths: Mapping[str, Sequence[int]]) -> Tensors:
        """Padded inputs whose rows have these lengths, by axis; every id lies in the table that it is looked up in."""
        return {spec.name: self._one(rng, spec, lengths) for spec in self._specs}

    def _one(self, rng: np.random.Generator, spec: TensorSpec, lengths: Mapping[str, Sequence[int]]) -> Any:
        axis = self._axes.get(spec.name)
        rows = len(next(iter(lengths.values())))
        if axis is None:
            return self._numbers(rng, spec, (rows, *(int(size) for size in spec.shape[1:])))
        counts = np.asarray(lengths[axis.name])
        is_token = np.arange(counts.max()) < counts[:, None]
        if spec.name == axis.mask:
            return is_token.astype(spec.dtype)
        numbers = self._numbers(rng, spec, is_token.shape)
        return np.where(is_token, numbers, np.asarray(axis.pads[spec.name])).astype(spec.dtype)

    def _numbers(self, rng: np.random.Generator, spec: TensorSpec, shape: tuple[int, ...]) -> Any:
        if np.issubdtype(np.dtype(spec.dtype), np.floating):
            return rng.normal(size=shape).astype(spec.dtype)
        return rng.integers(0, self._bounds.get(spec.name, 2), shape).astype(spec.dtype)


def observed_dims(model: Any, axes: Sequence[RaggedAxis]) -> dict[str, Dims]:
    """The dimensions of every value of a padded graph, from runs at several sizes.

    Args:
        model: the graph.
        axes: its ragged axes, all of any length.

    Raises:
        LoweringError: rows can't differ in length.
        CompileError: ONNX Runtime refuses the graph.
    """
    import onnx

    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    graph = probed.graph
    values = [spec.name for spec in graph.input] + [name for node in model.graph.node for name in node.output if name]
    graph.node.extend(onnx.helper.make_node("Shape", [name], [_PROBE + name]) for name in values)
    del graph.output[:]
    graph.output.extend(
        onnx.helper.make_tensor_value_info(_PROBE + name, onnx.TensorProto.INT64, None) for name in values
    )
    sizes = _sizes(axes)
    rows, rng = Rows(model, axes), np.random.default_rng(0)
    session = opened(probed)
    runs = []
    for size in sizes:
        lengths = {axis.name: [size[axis.name]] * size[ROWS] for axis in axes}
        runs.append(session.run(rows.draw(rng, lengths)))
    symbols = _symbols(sizes, [axis.name for axis in axes])
    found = {name: _dims([run[_PROBE + name].tolist() for run in runs], symbols) for name in values}
    return {**{tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}, **found}


def opened(model: Any) -> Session:
    """A model in ONNX Runtime as its graph says, without optimizations.

    These round elsewhere, and where few bits are left, that alone moves an answer by some percent. bfloat16, which
    the runtime lacks, is computed in FP32 and rounded.

    Raises:
        CompileError: it refuses the graph.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4  # what it refuses is told by whoever asked
    file = model.SerializeToString()
    try:
        return _AsItIs(onnxruntime.InferenceSession(file, options, ["CPUExecutionProvider"]))
    except Exception:  # noqa: BLE001  its exception types live in a private module; the next one speaks
        with TemporaryDirectory() as folder:
            path = Path(folder) / "graph.onnx"
            path.write_bytes(file)
            return ROUNDING.open(path)


class _AsItIs:
    """A graph that no optimization has changed."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def run(self, inputs: Tensors) -> Tensors:
        """Every output by name."""
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, inputs), strict=True))


def _sizes(axes: Sequence[RaggedAxis]) -> list[dict[str, int]]:
    """By run, how many rows there are and how wide each axis is; no two of them agree in every run."""
    sizes: list[dict[str, int]] = [{ROWS: rows} for rows in _BATCHES]
    taken: set[int] = set(_BATCHES)
    for axis in axes:
        fitting = (size for size in (*_WIDTHS, *range(1, axis.longest + 1)) if axis.least <= size <= axis.longest)
        widths = list(islice(_new(fitting, taken), len(_BATCHES)))
        if len(widths) < len(_BATCHES):
            raise LoweringError(f"rows of {axis.least} to {axis.longest} hardly differ in length", axis=axis.name)
        taken.update(widths)
        for size, width in zip(sizes, widths, strict=True):
            size[axis.name] = width
    return sizes


def _new(numbers: Iterator[int], taken: set[int]) -> Iterator[int]:
    seen = set(taken)
    for number in numbers:
        if number not in seen:
            seen.add(number)
            yield number


def _symbols(sizes: Sequence[Mapping[str, int]], axes: Sequence[str]) -> dict[tuple[int, ...], str]:
    """What an axis is called by how long it was in every run."""
    found = {tuple(size[name] for size in sizes): name for name in (ROWS, *axes)}
    return found | {tuple(size[ROWS] * size[name] for size in sizes): cells_of(name) for name in axes}


def _dims(shapes: Sequence[Sequence[int]], symbols: Mapping[tuple[int, ...], str]) -> Dims:
    if len({len(shape) for shape in shapes}) > 1:
        return (None,)
    return tuple(sizes[0] if len(set(sizes)) == 1 else symbols.get(sizes) for sizes in zip(*shapes, strict=True))


def _bounds(graph: Any, inputs: Sequence[str]) -> dict[str, int]:
    """By input whose numbers are looked up in tables, how many entries the smallest of them has."""
    sizes = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    origin = {name: name for name in inputs}
    bounds: dict[str, int] = {}
    for node in graph.node:
        if node.op_type in _TABLES and node.input[0] in origin:
            origin[node.output[0]] = origin[node.input[0]]
        elif node.op_type == "Gather" and node.input[1] in origin and node.input[0] in sizes:
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
            name, entries = origin[node.input[1]], sizes[node.input[0]][axis]
            bounds[name] = min(entries, bounds.get(name, entries))
    return bounds
