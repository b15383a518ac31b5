"""What is measured of each recipe: rows with labels, and what answers are worth against them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import scores
from labelled import Labelled, bible, intents, personal, reactions, snippets, tones

from tritonpack.evaluation import DATASETS

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass(frozen=True)
class Measure:
    """A metric of one recipe.

    Args:
        recipe: its name.
        metric: what a person calls it.
        data: rows and labels.
        score: of the answers to the rows and the labels.
    """

    recipe: str
    metric: str
    data: Callable[[], Labelled]
    score: Callable[[Any, Any], float]


def _lee(recipe: str) -> Measure:
    """Lee's 50 documents and what people think of their likeness."""
    kind = DATASETS.get("lee")
    rated = kind.read(kind.options(kind="lee"), Path.cwd())
    data = Labelled([{"text": text} for text in rated.texts], rated.ratings.tolist())
    return Measure(recipe, "Spearman, Lee's pairs", lambda: data, scores.rated_spearman(rated.pairs))


def _paraphrases() -> Labelled:
    kjv, web = bible.paraphrases(250)
    return Labelled([{"text": text} for text in (*kjv, *web)], [None] * (len(kjv) + len(web)), "aligned verses")


def _named(data: Labelled, names: list[str]) -> Labelled:
    return Labelled(data.rows, [names[label] for label in data.labels], data.made)


def _questions() -> Labelled:
    data = bible.questions(test=True).first(300)
    return Labelled(data.rows, [answer for _, answer in data.labels], data.made)


def _reactions() -> Labelled:
    texts = reactions.rewritten(50)
    return Labelled(
        [{"text": text} for text in texts], [None] * len(texts), "no labels ship: same class when rewritten"
    )


def measures() -> dict[str, list[Measure]]:
    """By recipe, in the order of the table."""
    polarity = ["negative", "positive"]
    sameness = ["other", "same"]
    every = [
        _lee("minilm"),
        Measure("minilm", "recall@1, verses", _paraphrases, scores.recall_at_1),
        _lee("cassette_embedding"),
        _lee("traceforge"),
        Measure("cassette", "top-1, masked words", lambda: bible.masked("[MASK]", 300), scores.accuracy),
        Measure("rxnmapper", "top-1, masked tokens", reactions.masked_atoms, scores.accuracy),
        Measure("rxnfp", "same class, rewritten", _reactions, scores.same_in_twos),
        Measure("rampart", "F1 of entities", lambda: personal.sentences(200), scores.span_f1),
        Measure("crepe", "pitch within 50 cents", lambda: tones.frames(300), scores.pitch_accuracy),
        Measure(
            "sentiment",
            "accuracy",
            lambda: _named(snippets.sentiments(test=True).first(500), polarity),
            scores.accuracy,
        ),
        Measure(
            "intent",
            "accuracy",
            lambda: _named(intents.commands(test=True).first(600), intents.names()),
            scores.accuracy,
        ),
        Measure("pairs", "accuracy", lambda: _named(bible.pairs(test=True).first(500), sameness), scores.accuracy),
        Measure("qa", "exact match", _questions, scores.accuracy),
        Measure("qa", "F1 of words", _questions, scores.word_f1),
    ]
    found: dict[str, list[Measure]] = {}
    for measure in every:
        found.setdefault(measure.recipe, []).append(measure)
    return found
