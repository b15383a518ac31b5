"""Words at places: masks of a text, or what follows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import SourceError
from tritonpack.evaluation.scorers import Metric, Scores
from tritonpack.evaluation.scorers._numbers import share_of
from tritonpack.evaluation.scorers._plain import Plain
from tritonpack.evaluation.scorers._texts import texts_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tritonpack.core.tensors import Tensors
    from tritonpack.evaluation import Examples


class WordScorer(Plain):
    """Scores ``tokens``: ``(1, k)``, or ``(1, places, k)`` with ``counts (1, 1)``; best first.

    A word is right whether or not the tokenizer's token begins with its space.
    """

    version = 1

    def metrics(self, examples: Examples) -> Mapping[str, Metric]:
        """Over all places: whether the best word is right, and one over the right word's rank (0 if not answered).

        Raises:
            SourceError: a label is neither a word nor a list of them.
        """
        _expected(examples)
        return {"accuracy": share_of("right", "places"), "mrr": share_of("reciprocal_ranks", "places")}

    def answers(self, outputs: Sequence[Tensors]) -> list[Any]:
        """The best word of each place."""
        return [[words[0] for words in _answered(output)] for output in outputs]

    def scores(self, examples: Examples, outputs: Sequence[Tensors]) -> Scores:
        """Right words and reciprocal ranks of each row; the loss is what lacks in reciprocal rank.

        Raises:
            SourceError: a label is neither a word nor a list of them, or a row has another number of places.
        """
        wanted, found = _expected(examples), [_answered(output) for output in outputs]
        ranks = [_row(*pair, row) for row, pair in enumerate(zip(wanted, found, strict=True), start=1)]
        columns = {
            "right": np.array([sum(rank == 1 for rank in row) for row in ranks], dtype=np.float64),
            "reciprocal_ranks": np.array([sum(row) for row in ranks]),
            "places": np.array([len(row) for row in ranks], dtype=np.float64),
        }
        losses = 1 - columns["reciprocal_ranks"] / columns["places"]
        shown = [" | ".join(words[0] for words in row) for row in found]
        return Scores(columns, losses, shown, list(map(" | ".join, wanted)))


def _answered(output: Tensors) -> list[list[str]]:
    """For each place its words, best first."""
    tokens = output["tokens"][0]
    if "counts" in output:
        tokens = tokens[: int(output["counts"][0, 0])]
    return [texts_of(words) for words in np.atleast_2d(tokens)]


def _expected(examples: Examples) -> list[list[str]]:
    return [_label(label, row) for row, label in enumerate(examples.expected or (), start=1)]


def _label(label: Any, row: int) -> list[str]:
    words = [label] if isinstance(label, str) else label
    if not isinstance(words, (list, tuple, np.ndarray)) or not all(isinstance(word, str) for word in words):
        raise SourceError(
            f"row {row}: the label {label!r} is neither a word nor a list of words",
            hint="Give the word, or for several masks a list with the word of each.",
        )
    return list(words)


def _row(wanted: Sequence[str], found: Sequence[Sequence[str]], row: int) -> list[float]:
    """One over the rank of each place's right word."""
    if len(wanted) != len(found):
        raise SourceError(
            f"row {row}: {len(wanted)} words are expected, and the text has {len(found)} places for one",
            hint="Give a word for each mask of the text.",
        )
    return [_reciprocal_rank(*pair) for pair in zip(wanted, found, strict=True)]


def _reciprocal_rank(word: str, answers: Sequence[str]) -> float:
    return next((1 / rank for rank, answer in enumerate(answers, start=1) if _is_same(word, answer)), 0.0)


def _is_same(word: str, answer: str) -> bool:
    return word == answer or word.strip() == answer.strip() != ""
