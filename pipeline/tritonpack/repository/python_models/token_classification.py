"""Post-processing stage: logits of each token to entities of the text.

Inputs: ``logits_output`` (rows, tokens, labels) FP32, where tokens may be more than the request's longest row has;
``attention_mask`` and ``sequence`` (-1 at special tokens and padding), (rows, sequence) integers; ``offsets``
(rows, sequence, 2) INT32, [start, end) of the token in characters (code points) of its text; ``subword`` (rows,
sequence) BOOL, whether the token continues the word before it (read by the strategies first, average and max);
``text`` (rows, 1) BYTES, UTF-8.

Outputs, (rows, n) each, n the most entities of any row and at least 1: ``entities`` BYTES, ``labels`` BYTES,
``scores`` FP32, ``starts`` and ``ends`` INT32 (characters); ``counts`` INT32 (rows, 1), entities of the row. Beyond a
row's count texts are empty, scores 0 and positions -1.

They are what ``transformers``' ``TokenClassificationPipeline`` answers, but for an entity's text: here it is the
slice of the text from start to end, where the pipeline's ``word`` is the tokens decoded (lower case for an uncased
model, spaces where the text has none).

Parameters: ``labels`` (JSON list, in the model's order), ``aggregation`` (none, simple, first, average or max;
simple if absent), ``ignore_labels`` (JSON list, ``["O"]`` if absent: names without B- and I- when tokens are
aggregated).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

STRATEGIES = ("none", "simple", "first", "average", "max")


class _Pieces(NamedTuple):
    """Tokens, words or entities of all rows of a request, in order; one array element each."""

    row: NDArray[Any]
    label: NDArray[Any]
    score: NDArray[Any]
    start: NDArray[Any]
    end: NDArray[Any]


class Stage:
    """Entities of a tagger.

    Args:
        folder: the version's folder; not read.
        parameters: see the head of this file.

    Raises:
        ValueError: a parameter is missing or bad.
    """

    def __init__(self, folder: Path, parameters: dict[str, str]) -> None:  # noqa: ARG002
        self.notices: list[str] = []
        labels = _names(parameters, "labels", "null")
        if not labels:
            raise ValueError("labels: at least one is wanted")
        self.aggregation = parameters.get("aggregation", "simple")
        if self.aggregation not in STRATEGIES:
            raise ValueError(f"aggregation: {', '.join(STRATEGIES)} are known, not {self.aggregation!r}")
        ignored = _names(parameters, "ignore_labels", '["O"]')
        tags = [label[2:] if label.startswith(("B-", "I-")) else label for label in labels]
        self.tags = np.array([tags.index(tag) for tag in tags])
        self.opens = np.array([label.startswith("B-") for label in labels])
        # A group is named without its prefix of any kind, while only B- and I- decide what forms a group.
        shown = labels if self.aggregation == "none" else [label.split("-", 1)[-1] for label in labels]
        self.kept = np.array([name not in ignored for name in shown])
        self.names = np.array([name.encode() for name in shown], object)

    def run(self, requests: list[dict[str, NDArray[Any]]]) -> list[dict[str, NDArray[Any]] | str]:
        """Answer each request.

        Args:
            requests: each holds the inputs.

        Returns:
            Each request's outputs, or why it has no answer.
        """
        return [self._answer(request) for request in requests]

    def _answer(self, request: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]] | str:
        sequence, logits = request["sequence"], request["logits_output"]
        if logits.shape[2] != len(self.names):
            return f"the model gives {logits.shape[2]} logits for {len(self.names)} labels; build it again"
        if logits.shape[1] < sequence.shape[1]:
            return f"the model gives logits of {logits.shape[1]} tokens for {sequence.shape[1]}; build it again"
        row, token = np.nonzero((request["attention_mask"] != 0) & (sequence >= 0))
        real = logits[row, token].astype(np.float32, copy=False)
        if not np.isfinite(real).all():
            bad = int(np.isfinite(real).all(axis=1).argmin())
            return f"the model's logits of row {int(row[bad])}, token {int(token[bad])} aren't finite numbers"
        if len(row):
            pieces = self._pieces(real, row, request["offsets"][row, token], request["subword"][row, token])
        else:
            pieces = _Pieces(row, row, np.zeros(0, np.float32), row, row)
        return self._outputs(pieces, request["text"].reshape(-1))

    def _pieces(self, logits: NDArray[Any], row: NDArray[Any], offsets: NDArray[Any], subword: NDArray[Any]) -> _Pieces:
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores = powers / powers.sum(axis=1, keepdims=True)
        start, end = offsets[:, 0], offsets[:, 1]
        if self.aggregation in {"first", "average", "max"}:
            begins, ends = _runs(~subword.astype(bool, copy=False), row)
            scores = _of_words(scores, begins, self.aggregation)
            row, start, end = row[begins], start[begins], end[ends]
        label = scores.argmax(axis=1)
        pieces = _Pieces(row, label, np.take_along_axis(scores, label[:, None], axis=1)[:, 0], start, end)
        if self.aggregation != "none":
            pieces = self._grouped(pieces)
        return _Pieces(*(array[self.kept[pieces.label]] for array in pieces))

    def _grouped(self, words: _Pieces) -> _Pieces:
        """Join neighbours of one tag, unless the later one opens an entity."""
        tag = self.tags[words.label]
        fresh = self.opens[words.label]
        fresh[1:] |= tag[1:] != tag[:-1]
        begins, ends = _runs(fresh, words.row)
        score = np.add.reduceat(words.score, begins) / (ends - begins + 1).astype(np.float32)
        return _Pieces(words.row[begins], words.label[begins], score, words.start[begins], words.end[ends])

    def _outputs(self, found: _Pieces, texts: NDArray[Any]) -> dict[str, NDArray[Any]] | str:
        counts = np.bincount(found.row, minlength=len(texts))
        shape = (len(texts), max(1, int(counts.max())))
        column = np.arange(len(found.row)) - (np.cumsum(counts) - counts)[found.row]
        entities, labels = np.full(shape, b"", object), np.full(shape, b"", object)
        scores = np.zeros(shape, np.float32)
        starts, ends = np.full(shape, -1, np.int32), np.full(shape, -1, np.int32)
        place = (found.row, column)
        labels[place], scores[place] = self.names[found.label], found.score
        starts[place], ends[place] = found.start, found.end
        try:
            decoded = {row: texts[row].decode() for row in np.flatnonzero(counts).tolist()}
        except UnicodeDecodeError as error:
            return f"a text isn't valid UTF-8: {error}"
        for row, at, start, end in zip(*(array.tolist() for array in (*place, found.start, found.end)), strict=True):
            entities[row, at] = decoded[row][start:end].encode()
        return {
            "entities": entities,
            "labels": labels,
            "scores": scores,
            "starts": starts,
            "ends": ends,
            "counts": counts.astype(np.int32)[:, None],
        }


def _names(parameters: dict[str, str], name: str, absent: str) -> list[str]:
    """Names from a parameter in JSON."""
    names: Any = json.loads(parameters.get(name, absent))
    if not isinstance(names, list) or not all(isinstance(item, str) for item in names):
        raise ValueError(f"{name}: a JSON list of names is wanted, not {parameters.get(name)!r}")
    return list(names)


def _runs(fresh: NDArray[Any], row: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """First and last index of each run: one begins where ``fresh`` is true and where a row does."""
    begins = fresh.copy()
    begins[0] = True
    begins[1:] |= row[1:] != row[:-1]
    first = np.flatnonzero(begins)
    return first, np.append(first[1:], len(row)) - 1


def _of_words(scores: NDArray[Any], begins: NDArray[Any], strategy: str) -> NDArray[Any]:
    """Scores (tokens, labels) of tokens to those (words, labels) of the words that begin at ``begins``."""
    lengths = np.diff(begins, append=len(scores))
    of_words: NDArray[Any]
    if strategy == "average":
        of_words = np.add.reduceat(scores, begins, axis=0) / lengths.astype(np.float32)[:, None]
    elif strategy == "first":
        of_words = scores[begins]
    else:
        # Those of the word's token with the highest score of all; among equals the first.
        best = scores.max(axis=1)
        highest = np.flatnonzero(best == np.repeat(np.maximum.reduceat(best, begins), lengths))
        of_words = scores[highest[np.searchsorted(highest, begins)]]
    return of_words
