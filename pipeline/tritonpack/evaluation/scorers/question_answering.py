"""Answers in documents, as SQuAD counts them: without case, punctuation and articles, the best acceptable answer.

Source: https://github.com/huggingface/transformers/blob/v5.0.0/src/transformers/data/metrics/squad_metrics.py
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import SourceError
from tritonpack.evaluation.scorers import Metric, Scores
from tritonpack.evaluation.scorers._numbers import mean_of
from tritonpack.evaluation.scorers._plain import Plain
from tritonpack.evaluation.scorers._texts import texts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tritonpack.core.tensors import Tensors
    from tritonpack.evaluation import Examples

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


class QuestionAnsweringScorer(Plain):
    """Scores the first of ``answers (1, k)``; an empty one says that the document has none."""

    version = 1

    def metrics(self, examples: Examples) -> Mapping[str, Metric]:
        """Means over the questions.

        Raises:
            SourceError: a label is neither a text nor a list of them.
        """
        _expected(examples)
        return {"exact_match": mean_of("exact"), "token_f1": mean_of("f1")}

    def answers(self, outputs: Sequence[Tensors]) -> list[Any]:
        """The best answer."""
        return texts_of(output["answers"][0, 0] for output in outputs)

    def scores(self, examples: Examples, outputs: Sequence[Tensors]) -> Scores:
        """Exact matches and F1 of words; the loss is what lacks in F1.

        Raises:
            SourceError: a label is neither a text nor a list of them.
        """
        wanted, found = _expected(examples), self.answers(outputs)
        pairs = list(zip(found, wanted, strict=True))
        exact = np.array([_exact(answer, acceptable) for answer, acceptable in pairs], dtype=np.float64)
        f1 = np.array([max(_f1(answer, text) for text in acceptable) for answer, acceptable in pairs])
        shown, expected = ([text or "no answer" for text in texts] for texts in (found, map(" | ".join, wanted)))
        return Scores({"exact": exact, "f1": f1}, 1 - f1, shown, expected)


SCORER = QuestionAnsweringScorer()


def _expected(examples: Examples) -> list[list[str]]:
    return [_acceptable(label, row) for row, label in enumerate(examples.expected or (), start=1)]


def _acceptable(label: Any, row: int) -> list[str]:
    """A text, texts, or SQuAD's ``{"text": [...]}``; none of them stands for no answer."""
    texts = label.get("text") if isinstance(label, Mapping) else label
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, (list, tuple, np.ndarray)) or not all(isinstance(text, str) for text in texts):
        raise SourceError(
            f"row {row}: the label {label!r} is neither an answer nor a list of acceptable ones",
            hint="Give a text, or a list of texts; [] where the document has no answer.",
        )
    return list(texts) or [""]


def _words(text: str) -> list[str]:
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _exact(answer: str, acceptable: Sequence[str]) -> bool:
    return any(_words(answer) == _words(text) for text in acceptable)


def _f1(answer: str, text: str) -> float:
    found, wanted = _words(answer), _words(text)
    if not found or not wanted:
        return float(found == wanted)
    same = sum((Counter(found) & Counter(wanted)).values())
    return 2 * same / (len(found) + len(wanted))
