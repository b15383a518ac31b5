"""Post-processing stage: logits of each row's next token to the likeliest tokens, best first.

Input ``logits_output``: (rows, vocabulary) FP32, of the row's last token. Outputs, (rows, k) each: ``tokens``
BYTES, ``token_ids`` INT32, ``scores`` FP32 (softmax over the vocabulary). A token's text is the tokenizer's
decoding of its id alone, not cleaned: part of a character decodes to U+FFFD, and tokenizers that mark words with
U+2581 lose the space before a word; ``token_ids`` lose nothing. A logit of minus infinity is a token that the
model rules out.

Parameters: ``top_k`` (5 if absent). ``tokenizer.json`` lies in the version's folder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

STRIPES = 64


class Stage:
    """Likeliest next tokens.

    Args:
        folder: the version's folder.
        parameters: see the head of this file.

    Raises:
        ValueError: a parameter is bad, or there is no tokenizer.
    """

    def __init__(self, folder: Path, parameters: dict[str, str]) -> None:
        self.notices: list[str] = []
        self.top_k = int(parameters.get("top_k", "5"))
        if self.top_k < 1:
            raise ValueError(f"top_k: at least 1 is wanted, not {self.top_k}")
        file = folder / "tokenizer.json"
        if not file.is_file():
            raise ValueError(f"there is no tokenizer file {file}; build the model again")
        self.tokenizer = Tokenizer.from_file(str(file))
        self.texts: dict[int, bytes] = {}

    def run(self, requests: list[dict[str, NDArray[Any]]]) -> list[dict[str, NDArray[Any]] | str]:
        """Answer each request.

        Args:
            requests: each holds ``logits_output``.

        Returns:
            Each request's ``tokens``, ``token_ids`` and ``scores``, or why it has no answer.
        """
        return [self._answer(request["logits_output"].astype(np.float32, copy=False)) for request in requests]

    def _answer(self, logits: NDArray[np.float32]) -> dict[str, NDArray[Any]] | str:
        peak = logits.max(axis=1, keepdims=True)
        # The maximum shows every NaN and plus infinity: no second pass over the vocabulary.
        if not np.isfinite(peak).all():
            return f"the model's logits of row {int(np.isfinite(peak).argmin())} aren't finite numbers"
        ids = _best(logits, self.top_k)
        powers = logits - peak
        total = np.exp(powers, out=powers).sum(axis=1, keepdims=True)
        scores = np.exp(np.take_along_axis(logits, ids, axis=1) - peak) / total
        tokens = np.empty(ids.shape, object)
        tokens.reshape(-1)[:] = [self._text(token) for token in ids.reshape(-1).tolist()]
        return {"tokens": tokens, "token_ids": ids.astype(np.int32), "scores": scores}

    def _text(self, token: int) -> bytes:
        text = self.texts.get(token)
        if text is None:
            text = self.tokenizer.decode([token], skip_special_tokens=False).encode()
            self.texts[token] = text
        return text


def _best(logits: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Ids of the largest logits of each row, largest first.

    Every one of a row's ``count`` largest lies in one of the ``count`` columns with the largest maxima once the row
    is laid out in stripes: two sorts of hundreds of numbers take the place of one over the vocabulary.

    Args:
        logits: (rows, vocabulary).
        count: ids a row.

    Returns:
        (rows, at most ``count``).
    """
    rows, width = logits.shape
    columns = width // STRIPES
    if columns <= 2 * count:
        return np.argsort(-logits, axis=1, kind="stable")[:, :count]
    maxima = logits[:, : STRIPES * columns].reshape(rows, STRIPES, columns).max(axis=1)
    chosen = np.sort(np.argpartition(-maxima, count - 1, axis=1)[:, :count], axis=1)
    ids = (columns * np.arange(STRIPES)[:, None] + chosen[:, None, :]).reshape(rows, -1)
    rest = np.broadcast_to(np.arange(STRIPES * columns, width), (rows, width - STRIPES * columns))
    ids = np.concatenate([ids, rest], axis=1)
    order = np.argsort(-np.take_along_axis(logits, ids, axis=1), axis=1, kind="stable")[:, :count]
    return np.take_along_axis(ids, order, axis=1)
