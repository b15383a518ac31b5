"""How many rows become few requests, and how the results find their way back: pure functions."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack_client.errors import InputTypeError, InvalidInputError
from tritonpack_client.tensors import Content, check_size, content_from_items, data_from_array, encode_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from tritonpack_client.limits import ModelLimits

Columns = dict[str, list[Any]]
"""Of each input its rows: ``bytes``, or arrays (samples,) float32."""

_PAIR = 2


def columns_from_rows(limits: ModelLimits, rows: Iterable[object], first: int = 0) -> Columns:
    """Check rows and deal them out to a model's inputs.

    Args:
        limits: of a model that takes texts, pairs of texts, or sounds.
        rows: a ``str`` each for a model of one text, a pair of them for one of two, an array (samples,) of numbers
            for one of sounds.
        first: the number of the first row, for errors.

    Raises:
        InputTypeError: ``rows`` is one text, or a row isn't what the model takes.
        InvalidInputError: a text can't be encoded.
    """
    names = [spec.name for spec in limits.inputs]
    check_rows(rows)
    if names == ["waveform"]:
        return {"waveform": [_sound(row, place) for place, row in enumerate(rows, first)]}
    if len(names) == 1:
        return {names[0]: [encode_text("texts", place, row) for place, row in enumerate(rows, first)]}
    pairs = [_pair(row, place, limits) for place, row in enumerate(rows, first)]
    # A model may list its inputs in any order; callers pass them in this one.
    ordered = ("question", "context") if "question" in names else ("text", "text_pair")
    return {
        name: [encode_text(name, place, pair[side]) for place, pair in enumerate(pairs, first)]
        for side, name in enumerate(ordered)
    }


def check_rows(rows: object) -> None:
    """Refuse what holds no rows.

    Raises:
        InputTypeError: it is one text, or nothing to iterate over.
    """
    if isinstance(rows, (str, bytes)):
        raise InputTypeError(
            f"texts is one {type(rows).__name__}, not a list: each of its characters would be a text",
            hint="Pass [text]",
        )
    # An array without dimensions has the method, and refuses.
    if not isinstance(rows, (Iterable, AsyncIterable)) or getattr(rows, "shape", None) == ():
        raise InputTypeError(f"texts is {type(rows).__name__}, not an iterable of rows", hint="Pass a list")


def _pair(row: object, place: int, limits: ModelLimits) -> Sequence[object]:
    if isinstance(row, (tuple, list)) and len(row) == _PAIR:
        return row
    names = ", ".join(spec.name for spec in limits.inputs)
    raise InputTypeError(
        f"row {place} is {type(row).__name__}, not a pair; the model takes two texts a row ({names})",
        model=limits.model,
        hint="Pass [(first, second), ...]",
    )


def _sound(row: object, place: int) -> NDArray[np.float32]:
    try:
        sound = np.asarray(row, np.float32)
    except (TypeError, ValueError) as error:
        raise InputTypeError(f"row {place} is no array of numbers: {error}") from error
    if sound.ndim != 1 or not sound.size:
        raise InvalidInputError(f"row {place} has shape {sound.shape}; a sound is (samples,), one sample at least")
    return sound


def count_rows(columns: Columns) -> int:
    """How many rows there are."""
    return len(next(iter(columns.values())))


def batches_of_columns(columns: Columns, max_batch_size: int) -> list[list[int]]:
    """The rows of each request; sounds of one request have one length, since their array has."""
    lengths = [sum(map(len, row)) for row in zip(*columns.values(), strict=True)]
    if "waveform" not in columns:
        return plan_batches(lengths, max_batch_size)
    groups: dict[int, list[int]] = {}
    for place, length in enumerate(lengths):
        groups.setdefault(length, []).append(place)
    return [
        group[start : start + max_batch_size]
        for _, group in sorted(groups.items(), reverse=True)
        for start in range(0, len(group), max_batch_size)
    ]


def plan_batches(lengths: Sequence[int], max_batch_size: int) -> list[list[int]]:
    """Share rows out among requests; rows of similar length go together, the longest first.

    A server pads each batch to its longest row, so mixed lengths waste its time; long batches take longest and
    go out first, so that none of them is the last to finish.

    Args:
        lengths: of each row, in any unit that grows with the work.
        max_batch_size: the most rows of one request, at least 1.

    Returns:
        Positions in ``lengths``, each exactly once, in groups of at most ``max_batch_size``.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    return [order[start : start + max_batch_size] for start in range(0, len(order), max_batch_size)]


def contents_from_rows(limits: ModelLimits, columns: Columns, batch: Sequence[int]) -> list[Content]:
    """The inputs of one request: (batch, 1) BYTES, or (batch, samples) FP32.

    Raises:
        InvalidInputError: more than fits.
    """
    contents = []
    for spec in limits.inputs:
        rows = [columns[spec.name][place] for place in batch]
        if spec.datatype == "BYTES":
            # No array in between: it would take longer than all the rest.
            contents.append(Content(spec, (len(rows), 1), content_from_items(rows)))
        else:
            array = np.stack(rows)
            contents.append(Content(spec, array.shape, data_from_array(spec, array, model=limits.model)))
    check_size(limits, contents)
    return contents


def in_order(batches: Sequence[Sequence[int]], results: Sequence[Sequence[Any]]) -> list[Any]:
    """Put the results of every request where their rows stood."""
    placed: Mapping[int, Any] = {
        place: result
        for batch, found in zip(batches, results, strict=True)
        for place, result in zip(batch, found, strict=True)
    }
    return [placed[place] for place in range(len(placed))]
