"""Post-processing stage: logits at a row's mask tokens to the likeliest tokens, best first.

Inputs ``logits_output``: (rows, at least as many slots as a row has masks, vocabulary) FP32, where slot i is the
row's i-th mask token and the slots after its last mask hold anything; ``input_ids``: (rows, sequence) INT64.
Outputs, where ``masks`` is the most of any row: ``tokens`` BYTES, ``token_ids`` INT32 and ``scores`` FP32 (softmax
over the vocabulary), (rows, masks, k) each; ``counts`` INT32 (rows, 1), masks of the row. Beyond a row's count
tokens are empty, ids -1 and scores 0. They are ``token_str``, ``token`` and ``score`` of ``transformers``'
``pipeline("fill-mask")``; every mask is filled for itself. A logit of minus infinity is a token that the model
rules out.

Parameters: ``mask_id``, ``max_masks`` (of a row), ``top_k`` (5 if absent). ``tokenizer.json`` lies in the version's
folder.
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
    """Likeliest tokens at masks.

    Args:
        folder: the version's folder.
        parameters: see the head of this file.

    Raises:
        ValueError: a parameter is missing or bad, or there is no tokenizer.
    """

    def __init__(self, folder: Path, parameters: dict[str, str]) -> None:
        self.notices: list[str] = []
        missing = {"mask_id", "max_masks"} - parameters.keys()
        if missing:
            raise ValueError(f"no parameter {' and '.join(sorted(missing))}; build the model again")
        self.mask_id = int(parameters["mask_id"])
        self.max_masks = int(parameters["max_masks"])
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
            requests: each holds ``logits_output`` and ``input_ids``.

        Returns:
            Each request's ``tokens``, ``token_ids``, ``scores`` and ``counts``, or why it has no answer.
        """
        return [self._answer(request["logits_output"], request["input_ids"]) for request in requests]

    def _answer(self, logits: NDArray[Any], input_ids: NDArray[Any]) -> dict[str, NDArray[Any]] | str:
        counts = np.count_nonzero(input_ids == self.mask_id, axis=1)
        masks = int(counts.max())
        if int(counts.min()) == 0:
            return f"row {int(counts.argmin())} has no mask token; if the text has one, truncation took it"
        if masks > self.max_masks:
            return f"row {int(counts.argmax())} has {masks} mask tokens; at most {self.max_masks} are answered"
        if masks > logits.shape[1]:
            return f"the model gives logits of {logits.shape[1]} masks a row, not of {masks}; build it again"
        row, slot = np.nonzero(np.arange(masks) < counts[:, None])
        present = logits[row, slot].astype(np.float32, copy=False)
        peak = present.max(axis=1, keepdims=True)
        # The maximum shows every NaN and plus infinity: no second pass over the vocabulary.
        finite = np.isfinite(peak[:, 0])
        if not finite.all():
            return f"the model's logits of row {int(row[finite.argmin()])} aren't finite numbers"
        ids = _best(present, self.top_k)
        powers = present - peak
        total = np.exp(powers, out=powers).sum(axis=1, keepdims=True)
        shape = (len(input_ids), masks, ids.shape[1])
        tokens, scores = np.full(shape, b"", object), np.zeros(shape, np.float32)
        token_ids = np.full(shape, -1, np.int32)
        texts = np.empty(ids.shape, object)
        texts.reshape(-1)[:] = [self._text(token) for token in ids.reshape(-1).tolist()]
        tokens[row, slot] = texts
        token_ids[row, slot] = ids
        scores[row, slot] = np.exp(np.take_along_axis(present, ids, axis=1) - peak) / total
        return {
            "tokens": tokens,
            "token_ids": token_ids,
            "scores": scores,
            "counts": counts.astype(np.int32)[:, None],
        }

    def _text(self, token: int) -> bytes:
        text = self.texts.get(token)
        if text is None:
            text = self.tokenizer.decode([token], skip_special_tokens=False).encode()
            self.texts[token] = text
        return text


def _best(logits: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """Ids of the largest logits of each mask, largest first.

    Every one of the ``count`` largest lies in one of the ``count`` columns with the largest maxima once the
    vocabulary is laid out in stripes: two sorts of hundreds of numbers take the place of one over all of it.

    Args:
        logits: (masks, vocabulary).
        count: ids a mask.

    Returns:
        (masks, at most ``count``).
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
