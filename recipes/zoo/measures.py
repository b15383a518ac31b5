"""What is measured of each recipe: a data set, and what answers are worth against it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import scores
from labelled import intents

from tritonpack.evaluation.datasets import DATASETS
from tritonpack.evaluation.scorers import SCORERS
from tritonpack.inputs import INPUTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tritonpack.core.tensors import Tensors
    from tritonpack.evaluation import Examples
    from tritonpack.recipe import Recipe

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Measure:
    """A metric of one recipe.

    Args:
        recipe: its name.
        title: what a person calls the metric.
        metric: the task's own, by name, or a function of answers and labels.
        dataset: as a recipe says it.
    """

    recipe: str
    title: str
    metric: str | Callable[[Any, Any], float]
    dataset: Mapping[str, Any]

    def examples(self, recipe: Recipe) -> Examples:
        """Rows and labels."""
        kind = DATASETS.get(self.dataset["kind"])
        inputs = tuple(spec.name for spec in INPUTS.get(recipe.given.kind).public)
        return kind.read(kind.options(**self.dataset), _FOLDER, inputs)

    def value(self, recipe: Recipe, examples: Examples, outputs: Sequence[Tensors]) -> float:
        """Of the public outputs of each row."""
        scorer = SCORERS.get(recipe.task.kind)
        if isinstance(self.metric, str):
            return scorer.metrics(examples)[self.metric](scorer.scores(examples, outputs))
        return self.metric(scorer.answers(outputs), examples.expected)


def measures() -> dict[str, list[Measure]]:
    """By recipe, in the order of the table."""
    lee = {"kind": "lee"}
    names = {"names": ("negative", "positive")}, {"names": ("other", "same")}, {"names": tuple(intents.names())}
    polarity, sameness, commands = names
    questions = _made("bible:answers", rows=300, test=True)
    every = [
        Measure("minilm", "Spearman, Lee's pairs", "spearman", lee),
        Measure("minilm", "recall@1, verses", "recall_1", _made("bible:paired", count=250)),
        Measure("cassette_embedding", "Spearman, Lee's pairs", "spearman", lee),
        Measure("traceforge", "Spearman, Lee's pairs", "spearman", lee),
        Measure("cassette", "top-1, masked words", "accuracy", _made("bible:masked", mask="[MASK]", count=300)),
        Measure("rxnmapper", "top-1, masked tokens", "accuracy", _made("reactions:masked_atoms")),
        Measure("rxnfp", "same class, rewritten", scores.same_in_twos, _made("reactions:rewritten", count=50)),
        Measure("rampart", "F1 of entities", "span_f1", _made("personal:sentences", count=200)),
        Measure("crepe", "pitch within 50 cents", scores.pitch_accuracy, _made("tones:frames", count=300)),
        Measure("sentiment", "accuracy", "accuracy", _made("snippets:sentiments", rows=500, test=True) | polarity),
        Measure("intent", "accuracy", "accuracy", _made("intents:commands", rows=600, test=True) | commands),
        Measure("pairs", "accuracy", "accuracy", _made("bible:pairs", rows=500, test=True) | sameness),
        Measure("qa", "exact match", "exact_match", questions),
        Measure("qa", "F1 of words", "token_f1", questions),
    ]
    found: dict[str, list[Measure]] = {}
    for measure in every:
        found.setdefault(measure.recipe, []).append(measure)
    return found


def _made(factory: str, rows: int | None = None, **arguments: Any) -> dict[str, Any]:
    """A data set that a function of `labelled` makes."""
    return {"kind": "python", "factory": f"labelled.{factory}", "arguments": arguments, "rows": rows}
