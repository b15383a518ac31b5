"""Which elements of a graph's values are padding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from tritonpack.core.tensors import Tensors
    from tritonpack.debugging._graph import Graph

Shape = tuple[int, ...]


class Padding:
    """What of each value isn't padding.

    An exported graph rarely says which axes of a value are the sequence's. Its values do: run with one row of
    another length, those axes have another size.

    Args:
        graph: the reference.
        inputs: padded, the batch first.
        lengths: by ragged axis, ``(batch,) int64``: how long each row really is.
        shapes_of: runs the graph and gives the shape of each value; fails where it can't take these inputs.
    """

    def __init__(
        self, graph: Graph, inputs: Tensors, lengths: Tensors, shapes_of: Callable[[Tensors], dict[str, Shape]]
    ) -> None:
        self._batch = len(next(iter(inputs.values())))
        self._lengths = lengths
        self._widths: dict[str, int] = {}
        self._places: dict[str, dict[str, list[int]]] = {}
        row = {name: array[:1] for name, array in inputs.items()}
        before: dict[str, Shape] = {}
        for axis, counts in lengths.items():
            places = graph.dynamic_inputs(axis)
            width = max((inputs[name].shape[place] for name, place in places.items()), default=0)
            if not width or int(counts.min()) >= width:
                continue
            before = before or shapes_of(row)
            self._widths[axis] = width
            self._places[axis] = _grown(before, row, places, shapes_of)

    def kept(self, value: str, shape: Shape) -> NDArray[np.bool_] | None:
        """What isn't padding, broadcast to the shape; None if all of it counts."""
        kept = None
        for axis, places in self._places.items():
            for place in places.get(value, []):
                real = self._real(axis, shape, place)
                if real is not None:
                    kept = real if kept is None else kept & real
        return kept

    def _real(self, axis: str, shape: Shape, place: int) -> NDArray[np.bool_] | None:
        """Along one axis: rows come first, each perhaps several times (heads), or flattened with the axis."""
        width = self._widths[axis]
        real: NDArray[np.bool_] = np.arange(width)[None, :] < self._lengths[axis][:, None]
        if place == 0:
            flat = real.reshape(-1, *(1 for _ in shape[1:]))
            return flat if shape[0] == flat.shape[0] else None
        if shape[place] != width or shape[0] % self._batch:
            return None
        sizes = [1] * len(shape)
        sizes[0], sizes[place] = shape[0], width
        return np.repeat(real, shape[0] // self._batch, axis=0).reshape(sizes)


def _grown(
    before: Mapping[str, Shape],
    row: Tensors,
    places: Mapping[str, int],
    shapes_of: Callable[[Tensors], dict[str, Shape]],
) -> dict[str, list[int]]:
    """By value, the axes that have another size in a row that is longer or shorter by one."""
    for change in (-1, 1):
        try:
            after = shapes_of({name: _changed(array, places.get(name), change) for name, array in row.items()})
        except Exception:  # noqa: BLE001, S112  the runtime's own; a model may have a least or a greatest length
            continue
        return {name: _other(shape, after.get(name, shape)) for name, shape in before.items()}
    return {}


def _changed(array: NDArray[Any], place: int | None, change: int) -> NDArray[Any]:
    if place is None:
        return array
    size = array.shape[place] + change
    changed: NDArray[Any] = np.take(array, np.minimum(np.arange(size), array.shape[place] - 1), axis=place)
    return changed


def _other(one: Sequence[int], other: Sequence[int]) -> list[int]:
    return [place for place, sizes in enumerate(zip(one, other, strict=False)) if sizes[0] != sizes[1]]
