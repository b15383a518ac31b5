"""What an attention's mask hides: proved by computing it on random rows, whatever operators it is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.engines._view import UnprovableError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tritonpack.engines._view import GraphView

    Array = np.ndarray[Any, Any]

HIDDEN = -1e4
"""A score that has this added, or less, has no weight: the exponential of FP32 is zero there."""
_RANK = 4
_SIZES = ((3, 7), (2, 5), (4, 3))
_REACH = 2048
_NUMBERS = 2**31


@dataclass
class Masking:
    """What is known about what hides an attention's scores.

    Attributes:
        keys: a grid of ``(rows, width)`` that is zero at the keys that no query sees; None where all are seen.
        causal: whether a query sees no key after it.
        biases: values that are added to the scores beside that, ``(1 or rows, 1 or heads, width, width)``.
    """

    keys: str | None = None
    causal: bool = False
    biases: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Pattern:
    """What a mask was found to be; of neither, it lets everything be seen."""

    keys: str | None
    causal: bool


class Masks:
    """The masks of one graph; each is computed once, however many layers read it."""

    def __init__(self, view: GraphView) -> None:
        self._view = view
        self._found: dict[tuple[str, bool], _Pattern | None] = {}

    def add(self, masking: Masking, name: str) -> None:
        """Account for a value that is added to the scores."""
        view = self._view
        if _took(masking, self._pattern(name, hides=True)):
            return
        where = view.maker(name, "Where")
        if where is not None:
            condition, kept, otherwise = where.input
            low = view.scalar(otherwise)
            if low is not None and low <= HIDDEN and _took(masking, self._pattern(condition, hides=False)):
                if view.scalar(kept) != 0:
                    self.add(masking, kept)
                return
        expand = view.maker(name, "Expand")
        if expand is not None and len(view.dims(expand.input[0]) or ()) == _RANK:
            self.add(masking, expand.input[0])
            return
        masking.biases.append(name)

    def fill(self, masking: Masking, condition: str, *, hides: bool) -> bool:
        """Account for a condition under which scores are hidden, or are not; whether it is of a known kind."""
        return _took(masking, self._pattern(condition, hides=hides))

    def _pattern(self, name: str, *, hides: bool) -> _Pattern | None:
        key = (name, hides)
        if key not in self._found:
            try:
                self._found[key] = self._proved(name, hides=hides)
            except UnprovableError:
                self._found[key] = None
        return self._found[key]

    def _proved(self, name: str, *, hides: bool) -> _Pattern | None:
        """The pattern that a mask has for random grids of several sizes."""
        view = self._view
        grids = view.grids_below([name])
        reach = _reach(view, name, grids)
        if reach > _REACH:
            return None
        candidates = [_Pattern(keys, causal) for causal in (False, True) for keys in (None, *grids)]
        rng = np.random.default_rng(0)
        for rows, width in (*_SIZES, (1, reach)):
            given = random_grids(view, grids, rng, rows, width)
            seen = _seen(view.computed([name], given)[0], hides=hides)
            shape = (rows, 1, width, width)
            if seen is None or np.broadcast_shapes(seen.shape, shape) != shape:
                return None
            seen = np.broadcast_to(seen, shape)
            candidates = [it for it in candidates if np.all(seen == _expected(it, given, width))]
        return candidates[0] if candidates else None


def _reach(view: GraphView, name: str, grids: Iterable[str]) -> int:
    """A width at which any window would show: above every number in a mask's making, and as wide as every table."""
    reach = 1
    for read in {read for node in view.part([name], grids) for read in (*node.input, *node.output)}:
        array = view.array(read)
        if array is None or not array.size:
            continue
        if array.dtype == np.bool_:
            reach = max(reach, *array.shape, 1)
            continue
        largest = float(np.max(np.abs(array.astype(np.float64))))
        if largest < (_NUMBERS if array.dtype.kind in "iu" else -HIDDEN):
            reach = max(reach, int(largest) + 2)
    return reach


def random_grids(
    view: GraphView, grids: Iterable[str], rng: np.random.Generator, rows: int, width: int
) -> dict[str, Array]:
    """Zeros and ones for each grid, the first of each row one, as the first token of a text is there."""
    import onnx

    given = {}
    for name in grids:
        values = rng.random((rows, width)) < 0.6  # noqa: PLR2004  a third is hidden, inside rows too
        values[:, 0] = True
        given[name] = values.astype(onnx.helper.tensor_dtype_to_np_dtype(view.element(name)))
    return given


def _seen(computed: Array, *, hides: bool) -> Array | None:
    """What a mask lets be seen; None if it does more, or less, than hide."""
    if computed.dtype == np.bool_:
        return np.logical_not(computed) if hides else computed
    if not hides or computed.dtype.kind != "f":
        return None
    shown = computed == 0
    return shown if np.all(shown | (computed <= HIDDEN)) else None


def _expected(pattern: _Pattern, given: dict[str, Array], width: int) -> Array:
    seen = np.ones((1, 1, width, width), bool)
    if pattern.keys is not None:
        seen = seen & (given[pattern.keys] != 0)[:, None, None, :]
    return seen & np.tri(width, dtype=bool) if pattern.causal else seen


def _took(masking: Masking, pattern: _Pattern | None) -> bool:
    """Add a pattern to what is known, unless another grid hides keys already."""
    if pattern is None:
        return False
    if pattern.keys is not None:
        if masking.keys not in {None, pattern.keys}:
            return False
        masking.keys = pattern.keys
    masking.causal = masking.causal or pattern.causal
    return True
