"""What one call of the engine costs, measured when the model is loaded, and the parts that cost the least.

A call of rows of different length costs, in microseconds of all cores together,

    call + token * (sum of the lengths) + grid * (rows * longest) + square * (rows * longest ** 2)

A graph that pads all its work has a large ``grid``; one that works on the tokens alone has a small one, and pays for
padding in its attention only. The second term is the same however rows are cut into parts, so it's left out of
`Costs`; it's fitted, since ``grid`` would stand for it otherwise. The cores' time is taken and not the clock's: where
something else runs on them, the clock says little about a call.
"""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Array = np.ndarray[Any, Any]

# Of the cores' time: 0.3 s or less where two threads work.
BUDGET_S = 0.5
# Each as (rows, length) in units of the shortest length: equal rows, and one long row among short ones.
_SHAPES = (((1, 1),), ((1, 4),), ((4, 1),), ((1, 4), (3, 1)), ((4, 4),), ((1, 8), (7, 1)), ((8, 2),), ((4, 8),))
_SHORTEST = 8
_LONGEST = 2**16
_LEAST_SHAPES = 5
_LEAST_CALL = 0.25


@dataclass(frozen=True)
class Costs:
    """What a part costs: ``call + rows * (grid * longest + square * longest ** 2)``, in one unit or another.

    Attributes:
        max_waste: the largest share of a part that may be padding; 1 leaves it to the costs.
    """

    call: float = 16.0
    grid: float = 1.0
    square: float = 0.0
    max_waste: float = 1.0

    @classmethod
    def from_parameters(cls, parameters: Mapping[str, str]) -> Costs | None:
        """What the configuration says; None where it says nothing and they are to be measured.

        Raises:
            ValueError: a value isn't a number, or is negative.
        """
        fields = {
            "call": "call_cost",
            "grid": "grid_cost",
            "square": "square_cost",
            "max_waste": "max_padding_waste",
        }
        given = {field: parameters[name] for field, name in fields.items() if name in parameters}
        if not given:
            return None
        values = {field: number_from_parameter(fields[field], text) for field, text in given.items()}
        return cls(**values)


def parts_from_lengths(lengths: Array, costs: Costs) -> list[Array]:
    """Cut rows into parts that are run together, at the least total cost.

    Rows of equal length belong together, and of the others a part is a run of neighbours in the order of their
    lengths; so the best cuts are found exactly, by dynamic programming over the different lengths.

    Args:
        lengths: (rows,) the length of each row.
        costs: what a part costs.

    Returns:
        For each part the indices of its rows, in their order.
    """
    if len(lengths) == 1:
        return [np.zeros(1, np.int64)]
    values, inverse, counts = np.unique(lengths, return_inverse=True, return_counts=True)
    first = _first_of_parts(values.astype(np.float64), counts, costs)
    ends = [len(values)]
    while ends[-1] > 0:
        ends.append(first[ends[-1]])
    if len(ends) == 2:  # noqa: PLR2004 - the end and 0: one part
        return [np.arange(len(lengths))]
    part_of_value = np.repeat(np.arange(len(ends) - 1), np.diff(ends[::-1]))
    part_of_row = part_of_value[inverse]
    return [np.flatnonzero(part_of_row == part) for part in range(len(ends) - 1)]


def pieces_of_parts(parts: Sequence[Array], lengths: Array, most: float) -> list[Array]:
    """Cut parts again whose calls would be larger than a processor's caches like, into even pieces.

    Args:
        parts: indices of rows.
        lengths: (rows,) the length of each row.
        most: rows times the longest row of a piece, unless it is one row.

    Returns:
        Parts as they were, or pieces of them with rows of like length together.
    """
    pieces: list[Array] = []
    for part in parts:
        of_part = lengths[part]
        count = math.ceil(len(part) * int(of_part.max()) / most)
        if count <= 1:
            pieces.append(part)
        else:
            pieces += np.array_split(part[of_part.argsort(kind="stable")], min(count, len(part)))
    return pieces


def _first_of_parts(values: Array, counts: Array, costs: Costs) -> list[int]:
    """For each end of a part, exclusive, where the cheapest last part begins."""
    rows = np.concatenate([[0], np.cumsum(counts)])
    held = rows[1:] - rows[:-1, None]  # [first, last]: rows of that part
    cost = costs.call + held * (costs.grid * values + costs.square * values * values)
    if costs.max_waste < 1:
        used = np.concatenate([[0.0], np.cumsum(counts * values)])
        padded = held * values
        cost[padded - (used[1:] - used[:-1, None]) > costs.max_waste * padded] = np.inf
    best, first = np.zeros(len(values) + 1), [0]
    for end in range(1, len(values) + 1):
        total = best[:end] + cost[:end, end - 1]
        place = int(total.argmin())
        best[end] = total[place]
        first.append(place)
    return first


def fitted_costs(run: Callable[[Sequence[int]], Any], budget_s: float = BUDGET_S) -> Costs | None:
    """Time a handful of calls, each several times, and fit what they cost.

    Args:
        run: calls the engine with rows of these lengths; it may fail where a model takes no rows so short or long.
        budget_s: about how much of the cores' time it may take in all; a call is left out that would take longer
            than what is left of it.

    Returns:
        The costs in microseconds, or None where too few calls could be made to tell them apart.
    """
    began = time.process_time()
    shortest = _shortest(run)
    shapes = [[length * shortest for rows, length in shape for _ in range(rows)] for shape in _SHAPES]
    times: dict[int, float] = {}
    for number, lengths in itertools.chain(*itertools.repeat([*enumerate(shapes)], 50)):
        left = budget_s - (time.process_time() - began)
        if left <= 0:
            break
        if _expected(times, shapes, number) > left:
            continue
        took = _seconds(run, lengths)
        if took is not None:
            times[number] = min(took, times.get(number, took))
    if len(times) < _LEAST_SHAPES:
        return None
    terms = np.array([_terms(shapes[number]) for number in times])
    took_us = np.array([*times.values()]) * 1e6
    call, _, grid, square = _non_negative(terms, took_us)
    # The smallest call is mostly what a call costs; where others take the cores, a fit may well miss it.
    return Costs(max(call, float(took_us.min()) * _LEAST_CALL), grid, square)


def _shortest(run: Callable[[Sequence[int]], Any]) -> int:
    """A length that the model takes: sounds have more elements than texts have tokens."""
    length = _SHORTEST
    while length < _LONGEST:
        if _seconds(run, [length]) is not None:
            return length
        length *= 4
    return _SHORTEST


def _expected(times: dict[int, float], shapes: list[list[int]], number: int) -> float:
    """Seconds that a shape may take: what it took, or as much for each cell as the largest that was measured."""
    if number in times or not times:
        return times.get(number, 0.0)
    largest = max(times, key=lambda one: _cells(shapes[one]))
    return times[largest] * _cells(shapes[number]) / _cells(shapes[largest])


def _seconds(run: Callable[[Sequence[int]], Any], lengths: Sequence[int]) -> float | None:
    began = time.process_time()
    try:
        run(lengths)
    except Exception:  # noqa: BLE001 - whatever ONNX Runtime raises: the model takes no rows of these lengths
        return None
    return time.process_time() - began


def _cells(lengths: Sequence[int]) -> int:
    return len(lengths) * max(lengths)


def _terms(lengths: Sequence[int]) -> list[float]:
    return [1.0, float(sum(lengths)), float(_cells(lengths)), float(_cells(lengths) * max(lengths))]


def _non_negative(terms: Array, times: Array) -> list[float]:
    """The non-negative coefficients of the least relative squares: the best of all choices of terms that are used."""
    weighted, ones = terms / times[:, None], np.ones(len(times))
    best, least = np.zeros(terms.shape[1]), np.inf
    for count in range(1, terms.shape[1] + 1):
        for used in map(list, itertools.combinations(range(terms.shape[1]), count)):
            found = np.linalg.lstsq(weighted[:, used], ones, rcond=None)[0]
            error = float(((weighted[:, used] @ found - 1) ** 2).sum())
            if (found >= 0).all() and error < least - 1e-12:
                best, least = np.zeros(terms.shape[1]), error
                best[used] = found
    return [float(value) for value in best]


def number_from_parameter(name: str, text: str) -> float:
    """A parameter's value.

    Raises:
        ValueError: it isn't a number, or is negative.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < np.inf:
        raise ValueError(f"parameter {name} is '{text}'; it takes a number that isn't negative")
    return value
