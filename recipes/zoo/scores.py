"""What a list of answers is worth against a list of labels."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_SEMITONE_CENTS = 100


def accuracy(answers: Sequence[Any], labels: Sequence[Any]) -> float:
    """Share of answers that are right."""
    return sum(answer == label for answer, label in zip(answers, labels, strict=True)) / len(labels)


def span_f1(answers: Sequence[Sequence[Any]], labels: Sequence[Sequence[Any]]) -> float:
    """F1 over (start, end, kind) of all texts; a span is right if all three are."""
    pairs = list(zip(answers, labels, strict=True))
    right = sum(len(set(answer) & set(label)) for answer, label in pairs)
    given = sum(len(answer) + len(label) for answer, label in pairs)
    return 2 * right / given


def word_f1(answers: Sequence[str], labels: Sequence[str]) -> float:
    """Mean F1 over the words of each answer, as SQuAD counts it, lower case."""

    def one(answer: str, label: str) -> float:
        found, wanted = answer.lower().split(), label.lower().split()
        same = sum((Counter(found) & Counter(wanted)).values())
        return 2 * same / (len(found) + len(wanted)) if found else 0.0

    return float(np.mean([one(*pair) for pair in zip(answers, labels, strict=True)]))


def pitch_accuracy(answers: Sequence[str], labels: Sequence[float]) -> float:
    """Share of pitches, such as ``440.32 Hz``, within half a semitone."""
    cents = (1200 * math.log2(float(text.split()[0]) / hz) for text, hz in zip(answers, labels, strict=True))
    return sum(abs(distance) < _SEMITONE_CENTS / 2 for distance in cents) / len(labels)


def same_in_twos(answers: Sequence[Any], labels: Sequence[Any]) -> float:
    """Share of answers that are the same as the next one, taken two by two."""
    del labels
    return accuracy(answers[::2], answers[1::2])


def rated_spearman(pairs: NDArray[Any]) -> Callable[[NDArray[Any], Sequence[float]], float]:
    """Rank correlation of cosines with people's ratings; ``pairs: (n, 2)``, places of the vectors."""
    from scipy.stats import spearmanr

    def score(vectors: NDArray[Any], ratings: Sequence[float]) -> float:
        units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        cosines = (units[pairs[:, 0]] * units[pairs[:, 1]]).sum(axis=1)
        return float(spearmanr(cosines, ratings).statistic)

    return score


def recall_at_1(vectors: NDArray[Any], labels: Sequence[Any]) -> float:
    """Share of the first half's vectors whose nearest one of the second half is their own."""
    del labels
    units = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    left, right = np.split(units, 2)
    return float(((left @ right.T).argmax(axis=1) == np.arange(len(left))).mean())
