"""How many texts become few requests, and how the answers find their way back: pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack_client.errors import InputTypeError, InvalidInputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray


def encode_texts(texts: Iterable[str]) -> list[bytes]:
    """Encode every text as UTF-8.

    Raises:
        InputTypeError: ``texts`` is one string, or an element isn't a ``str``.
        InvalidInputError: a text holds a lone surrogate, which UTF-8 can't express.
    """
    if isinstance(texts, (str, bytes)):
        raise InputTypeError(
            f"texts is one {type(texts).__name__}, not a list: each of its characters would be a text",
            hint="Pass [text]",
        )
    return [_encode(text, index) for index, text in enumerate(texts)]


def _encode(text: object, index: int) -> bytes:
    if not isinstance(text, str):
        raise InputTypeError(
            f"texts[{index}] is {type(text).__name__}, not str",
            hint="Decode bytes first, and leave out what is missing",
        )
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"texts[{index}] can't be encoded as UTF-8: a lone surrogate "
            f"{error.object[error.start]!r} at character {error.start}",
            hint="text.encode('utf-8', 'replace').decode() replaces it with '?'",
        ) from error


def plan_batches(lengths: Sequence[int], max_batch_size: int) -> list[list[int]]:
    """Put texts of similar length into one request, since every row costs as much as the longest.

    The longest texts come first, so that no expensive request is left for the end.

    Args:
        lengths: of each text, in any unit that grows with the work.
        max_batch_size: the most texts of one request, at least 1.

    Returns:
        Positions in ``lengths``, each exactly once, in groups of at most ``max_batch_size``.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    return [order[start : start + max_batch_size] for start in range(0, len(order), max_batch_size)]


def text_tensor(encoded: Sequence[bytes]) -> NDArray[np.object_]:
    """Make the ``text`` input of one request: (batch, 1) BYTES."""
    tensor = np.empty((len(encoded), 1), dtype=np.object_)
    tensor[:, 0] = list(encoded)
    return tensor


def rows_in_order(
    batches: Sequence[Sequence[int]], answers: Sequence[NDArray[np.float32]], count: int, width: int
) -> NDArray[np.float32]:
    """Put the rows of every answer where their texts stood.

    Args:
        batches: positions, as ``plan_batches`` gives them.
        answers: one (len(batch), d) float32 for each batch.
        count: how many texts there were.
        width: d, for the case that there are no answers; unknown if negative.

    Returns:
        (count, d) float32.
    """
    width = answers[0].shape[1] if answers else max(width, 0)
    rows = np.empty((count, width), dtype=np.float32)
    for batch, answer in zip(batches, answers, strict=True):
        rows[list(batch)] = answer
    return rows


def bytes_tensor(name: str, array: NDArray[Any]) -> NDArray[Any]:
    """Turn an array of ``str`` into one of UTF-8 ``bytes``; leave every other array alone.

    Raises:
        InputTypeError: an object array holds something else than ``str`` and ``bytes``.
        InvalidInputError: a string can't be encoded.
    """
    if array.dtype.kind not in "UO":
        return array
    flat = [item if isinstance(item, bytes) else _encode_item(name, item) for item in array.ravel().tolist()]
    tensor = np.empty(len(flat), dtype=np.object_)
    tensor[:] = flat
    return tensor.reshape(array.shape)


def _encode_item(name: str, item: object) -> bytes:
    if not isinstance(item, str):
        raise InputTypeError(f"input {name!r} holds {type(item).__name__}; an object array takes str and bytes only")
    try:
        return item.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InvalidInputError(
            f"input {name!r} holds a text with a lone surrogate, which UTF-8 can't express"
        ) from error
