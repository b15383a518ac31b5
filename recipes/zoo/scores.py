"""What the zoo alone measures: answers for which `tritonpack.evaluation.scorers` has no metric."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

_SEMITONE_CENTS = 100


def pitch_accuracy(answers: Sequence[str], labels: Sequence[float]) -> float:
    """Share of pitches, such as ``440.32 Hz``, within half a semitone."""
    cents = (1200 * math.log2(float(text.split()[0]) / hz) for text, hz in zip(answers, labels, strict=True))
    return sum(abs(distance) < _SEMITONE_CENTS / 2 for distance in cents) / len(labels)


def same_in_twos(answers: Sequence[Any], labels: Sequence[Any] | None) -> float:
    """Share of answers that are the same as the next one, taken two by two."""
    del labels
    pairs = list(zip(answers[::2], answers[1::2], strict=True))
    return sum(one == other for one, other in pairs) / len(pairs)
