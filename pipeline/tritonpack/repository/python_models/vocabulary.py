"""Post-processing stage: logits over a vocabulary to the likeliest tokens, best first: at masks, or after a text.

With ``mask_id``, inputs ``logits_output``: (rows, at least as many slots as a row has masks, vocabulary) FP32, where
slot i is the row's i-th mask token and the slots after its last mask hold anything, and ``input_ids``: (rows,
sequence) INT64. Outputs, where ``masks`` is the most of any row: ``tokens`` BYTES, ``token_ids`` INT32 and ``scores``
FP32 (softmax over the vocabulary), (rows, masks, k) each; ``counts`` INT32 (rows, 1), masks of the row. Beyond a
row's count tokens are empty, ids -1 and scores 0. They are ``token_str``, ``token`` and ``score`` of
``transformers``' ``pipeline("fill-mask")``; every mask is filled for itself.

Without, input ``logits_output``: (rows, vocabulary) FP32, of the row's last token; outputs ``tokens``,
``token_ids``, ``scores``: (rows, k).

A token's text is the tokenizer's decoding of its id alone, not cleaned: part of a character decodes to U+FFFD, and
tokenizers that mark words with U+2581 lose the space before a word; ``token_ids`` lose nothing. A logit of minus
infinity is a token that the model rules out.

Parameters: ``top_k`` (5 if absent), ``mask_id`` and ``max_masks`` (of a row). ``tokenizer.json`` lies in the
version's folder.
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
    """Likeliest tokens.

    Args:
        folder: the version's folder.
        parameters: see the head of this file.

    Raises:
        ValueError: a parameter is missing or bad, or there is no tokenizer.
    """

    def __init__(self, folder: Path, parameters: dict[str, str]) -> None:
        self.notices: list[str] = []
        self.mask_id = int(parameters["mask_id"]) if "mask_id" in parameters else None
        if self.mask_id is not None and "max_masks" not in parameters:
            raise ValueError("no parameter max_masks; build the model again")
        self.max_masks = int(parameters.get("max_masks", "1"))
        self.top_k = int(parameters.get("top_k", "5"))
        if min(self.max_masks, self.top_k) < 1:
            raise ValueError(f"max_masks, top_k: at least 1 is wanted, not {self.max_masks}, {self.top_k}")
        file = folder / "tokenizer.json"
        if not file.is_file():
            raise ValueError(f"there is no tokenizer file {file}; build the model again")
        self.tokenizer = Tokenizer.from_file(str(file))
        self.texts: dict[int, bytes] = {}

    def run(self, requests: list[dict[str, NDArray[Any]]]) -> list[dict[str, NDArray[Any]] | str]:
        """Answer each request.

        Args:
            requests: each holds ``logits_output``, and ``input_ids`` where there are masks.

        Returns:
            Each request's ``tokens``, ``token_ids`` and ``scores``, and ``counts`` where there are masks; or why it
            has no answer.
        """
        if self.mask_id is None:
            return [self._next(request["logits_output"]) for request in requests]
        return [self._at_masks(request["logits_output"], request["input_ids"]) for request in requests]

    def _next(self, logits: NDArray[Any]) -> dict[str, NDArray[Any]] | str:
        found = self._likeliest(logits, np.arange(len(logits)))
        if isinstance(found, str):
            return found
        tokens, ids, scores = found
        return {"tokens": tokens, "token_ids": ids, "scores": scores}

    def _at_masks(self, logits: NDArray[Any], input_ids: NDArray[Any]) -> dict[str, NDArray[Any]] | str:
        counts = np.count_nonzero(input_ids == self.mask_id, axis=1)
        masks = int(counts.max())
        if int(counts.min()) == 0:
            return f"row {int(counts.argmin())} has no mask token; if the text has one, truncation took it"
        if masks > self.max_masks:
            return f"row {int(counts.argmax())} has {masks} mask tokens; at most {self.max_masks} are answered"
        if masks > logits.shape[1]:
            return f"the model gives logits of {logits.shape[1]} masks a row, not of {masks}; build it again"
        row, slot = np.nonzero(np.arange(masks) < counts[:, None])
        found = self._likeliest(logits[row, slot], row)
        if isinstance(found, str):
            return found
        shape = (len(input_ids), masks, found[0].shape[1])
        answer = {
            "tokens": np.full(shape, b"", object),
            "token_ids": np.full(shape, -1, np.int32),
            "scores": np.zeros(shape, np.float32),
        }
        for array, values in zip(answer.values(), found, strict=True):
            array[row, slot] = values
        return {**answer, "counts": counts.astype(np.int32)[:, None]}

    def _likeliest(
        self, logits: NDArray[Any], rows: NDArray[Any]
    ) -> tuple[NDArray[Any], NDArray[np.int32], NDArray[np.float32]] | str:
        """Texts, ids and scores of the likeliest tokens, each (n, k), for logits (n, vocabulary) of these rows."""
        logits = logits.astype(np.float32, copy=False)
        peak = logits.max(axis=1, keepdims=True)
        # The maximum shows every NaN and plus infinity: no second pass over the vocabulary.
        finite = np.isfinite(peak[:, 0])
        if not finite.all():
            return f"the model's logits of row {int(rows[finite.argmin()])} aren't finite numbers"
        ids = _best(logits, self.top_k)
        powers = logits - peak
        total = np.exp(powers, out=powers).sum(axis=1, keepdims=True)
        scores = np.exp(np.take_along_axis(logits, ids, axis=1) - peak) / total
        tokens = np.empty(ids.shape, object)
        tokens.reshape(-1)[:] = [self._text(token) for token in ids.reshape(-1).tolist()]
        return tokens, ids.astype(np.int32), scores

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
