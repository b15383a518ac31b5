"""What the values of a graph look like on calibration data, in one pass and in memory that doesn't grow with it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import SourceError
from tritonpack.core.observations import BINS, SAMPLED_ROWS, Activation, Observations, write_observations
from tritonpack.precisions import weight_nodes
from tritonpack.stages._magnitudes import magnitudes_from_onnx

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from tritonpack.core.action import Facts
    from tritonpack.core.tensors import Tensors

VERSION = 1
_ELEMENTS = 512
_BYTES = 256 * 2**20
"""What may be fetched at once: so many positions, and fewer where products are wide or many; more is no faster."""
_CHANNELS_AXIS = 2
_FINE_EXPONENT = 14
_FINE_BINS = 2**_FINE_EXPONENT
_LEAST_EXPONENT = -100
"""Magnitudes below two to this power count as zero."""


def observations_from_onnx(onnx: Path, batches: Sequence[Tensors], *, masks: Sequence[str], out: Path) -> Facts:
    """Run the graph over the batches and write `core.observations.Observations` of it.

    Args:
        onnx: the exported graph, inputs padded.
        batches: inputs by name; the first axis of each is the row.
        masks: names of inputs ``(batch, length)`` that are 0 at padding. A value ``(batch, length, ...)``, or
            ``(batch * length, k)``, counts where its mask isn't 0; any other counts whole.
        out: the file to write.

    Raises:
        SourceError: there is no batch.
    """
    if not batches:
        raise SourceError("no data to observe the graph on", hint="Name calibration data in the recipe.")
    activations = _activations(onnx, batches, masks)
    magnitudes, sums, logits = magnitudes_from_onnx(onnx, list(_slices(batches, _ELEMENTS)))
    rows = sum(_rows(batch) for batch in batches)
    write_observations(Observations(rows, activations, magnitudes, sums, logits), out)
    return {"rows": rows, "activations": len(activations), "values": len(magnitudes)}


def _activations(onnx: Path, batches: Sequence[Tensors], masks: Sequence[str]) -> dict[str, Activation]:
    """What products with weights read, by the value's name."""
    import onnx as onnx_package

    model = onnx_package.load(onnx)
    widths = _widths(model.graph)
    if not widths:
        return {}
    observers = {value: _Observer(width) for value, width in widths.items()}
    elements = max(1, min(_ELEMENTS, _BYTES // (4 * sum(widths.values()))))
    session = _session(model, list(widths))
    for inputs in _slices(batches, elements):
        counted = [inputs[name] != 0 for name in masks]
        for value, array in zip(widths, session.run(list(widths), inputs), strict=True):
            observers[value].add(_counted(array, counted))
    return {value: observer.result() for value, observer in observers.items()}


def _widths(graph: Any) -> dict[str, int]:
    """By each value that products with weights read, how many channels it has."""
    dims = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    found = {}
    for node in weight_nodes(graph):
        transposed = any(attribute.name == "transB" and attribute.i for attribute in node.attribute)
        found[node.input[0]] = dims[node.input[1]][1 if transposed else 0]
    return found


def _session(model: Any, values: list[str]) -> Any:
    """The model with these values as outputs; ``model`` is changed."""
    import onnx
    import onnxruntime

    known = {output.name for output in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=value) for value in values if value not in known)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # An arena keeps the greatest batch's memory; a pattern plans for shapes that don't come again.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _rows(batch: Tensors) -> int:
    return len(next(iter(batch.values())))


def _slices(batches: Sequence[Tensors], elements: int) -> Iterator[Tensors]:
    """The batches in runs of rows that have no more elements than this, or one row."""
    for batch in batches:
        in_a_row = max(int(np.prod(array.shape[1:2])) for array in batch.values())
        step = max(1, elements // max(1, in_a_row))
        for begin in range(0, _rows(batch), step):
            yield {name: array[begin : begin + step] for name, array in batch.items()}


def _counted(array: NDArray[Any], masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.float32]:
    """The rows ``(n, k)`` of ``(..., k)`` that aren't padding."""
    rows = array.reshape(-1, array.shape[-1])
    for mask in masks:
        if array.shape[:-1] == (mask.size,):
            return rows[mask.reshape(-1)]
        if array.ndim > _CHANNELS_AXIS and array.shape[:2] == mask.shape:
            return rows[np.repeat(mask.reshape(-1), len(rows) // mask.size)]
    return rows


class _Observer:
    """What `Activation` holds, of rows that come bit by bit.

    Magnitudes are counted in fine bins up to a power of two, which is doubled, and its bins merged by twos,
    when a greater one comes. So bins never split a magnitude between them, and the order of rows doesn't count.
    """

    def __init__(self, channels: int) -> None:
        self._fine = np.zeros(_FINE_BINS, dtype=np.int64)
        self._exponent = _LEAST_EXPONENT
        self._channels = np.zeros(channels, dtype=np.float32)
        self._random = np.random.default_rng(0)
        self._keys = np.zeros(0)
        self._rows = np.zeros((0, channels), dtype=np.float32)

    def add(self, rows: NDArray[np.float32]) -> None:
        """Count rows ``(n, k)``; those that hold a NaN or an infinity are left out."""
        magnitudes = np.abs(rows)
        if not np.isfinite(magnitudes.max(initial=0.0)):
            finite = np.isfinite(magnitudes).all(axis=1)
            rows, magnitudes = rows[finite], magnitudes[finite]
        if not len(rows):
            return
        self._channels = np.maximum(self._channels, magnitudes.max(axis=0))
        self._widen(float(magnitudes.max()))
        scale = np.float32(2.0 ** (_FINE_EXPONENT - self._exponent))
        self._fine += np.bincount((magnitudes.reshape(-1) * scale).astype(np.intp), minlength=_FINE_BINS)
        self._sample(rows)

    def result(self) -> Activation:
        """What was seen, in equal bins from 0 to the greatest."""
        greatest = float(self._channels.max(initial=0.0))
        below = np.concatenate([[0], np.cumsum(self._fine)])
        edges = np.linspace(0.0, 2.0**self._exponent, len(below))
        found = np.rint(np.interp(np.linspace(0.0, greatest, BINS + 1), edges, below))
        # All that lies in the greatest's own bin is at most as great.
        found[-1] = below[-1]
        return Activation(np.diff(found).astype(np.int64), greatest, self._channels, self._rows)

    def _widen(self, greatest: float) -> None:
        exponent = math.frexp(greatest)[1] if greatest > 0 else self._exponent
        if exponent > self._exponent:
            merged = 2 ** min(exponent - self._exponent, _FINE_EXPONENT)
            sums = self._fine.reshape(-1, merged).sum(axis=1)
            self._fine = np.pad(sums, (0, _FINE_BINS - len(sums)))
            self._exponent = exponent

    def _sample(self, rows: NDArray[np.float32]) -> None:
        """Give each row a random key and keep those with the least: every row has the same chance."""
        keys = np.concatenate([self._keys, self._random.random(len(rows))])
        chosen = np.sort(np.argsort(keys, kind="stable")[:SAMPLED_ROWS])
        own = chosen[chosen < len(self._rows)]
        self._rows = np.concatenate([self._rows[own], rows[chosen[len(own) :] - len(self._rows)]])
        self._keys = keys[chosen]
