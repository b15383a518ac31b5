"""The search for the layers that INT8 suits, as one action; each of its trials is an action too."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from tritonpack.core.action import Action
from tritonpack.core.runner import Runner
from tritonpack.core.store import Store
from tritonpack.core.tensors import Tolerance
from tritonpack.engines import ENGINES
from tritonpack.stages import search, trial
from tritonpack.stages.lower import with_observations
from tritonpack.stages.search import Found, Trial, largest_set

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tritonpack.actions.measure import Assessment
    from tritonpack.actions.rewriting import RewritingActions
    from tritonpack.core.runner import Observer


@dataclass(frozen=True)
class Workplace:
    """Where trials are kept, and who is told of them.

    Args:
        store: the store's folder.
        observer: told of every trial.
        trials: how many a search may take; None for what the recipe says.
    """

    store: Path
    observer: Observer | None = None
    trials: int | None = None


def search_action(rewriting: RewritingActions, assessment: Assessment, place: Workplace) -> Action:
    """Which groups of products keep the target's gates when they are rewritten.

    The artifact is JSON: ``met``, ``message`` where nothing keeps the budget, ``layers``, and what the answer and
    the rewrite of everything measured.
    """
    limit = place.trials or rewriting.spec.quantization.trials
    accuracy = rewriting.model.recipe.gates.accuracy
    max_drop = None if accuracy is None else accuracy.max_drop

    def run(paths: Mapping[str, Path], out: Path) -> dict[str, Any]:
        trials = _Trials(rewriting, assessment, place, paths)
        groups = rewriting.precision.groups(paths["onnx"])
        if groups:
            found = largest_set(groups, measure=trials.measure, damage_of=trials.damage_of, trials=limit)
            facts = _facts(found, rewriting.name)
        else:
            facts = {"met": True, "layers": [], "trials": 0}
        out.write_text(json.dumps(facts, indent=1))
        return facts

    return Action(
        "search",
        search.VERSION,
        {**_parameters(rewriting), **_judged(rewriting, assessment), "max_drop": max_drop, "trials": limit},
        {**rewriting.inputs, "reference": rewriting.judged_by, **assessment.budget_inputs},
        run,
        _identity(rewriting),
        f"layers for {rewriting.name}",
    )


class _Trials:
    """Runs trials through the store."""

    def __init__(
        self, rewriting: RewritingActions, assessment: Assessment, place: Workplace, paths: Mapping[str, Path]
    ) -> None:
        self._rewriting = rewriting
        self._assessment = assessment
        self._runner = Runner(Store(place.store), place.observer)
        self._names = [group.name for group in rewriting.precision.groups(paths["onnx"])]
        self._how = cache(lambda: rewriting.precision.studied(paths["onnx"], with_observations(paths, rewriting.how)))
        self._budget = cache(lambda: assessment.budget(paths))
        self._count = 0

    def measure(self, quantized: frozenset[str]) -> Trial:
        """Of these groups together, held to the gates."""
        facts, budget = self._figures(quantized, judged=True), self._budget()
        violation = facts["violation"]
        if budget is not None and not violation:
            violation = budget.violation(facts["metric"])
        return Trial(facts["damage"], violation, facts["metric"])

    def damage_of(self, name: str) -> float:
        """Of one group alone."""
        return float(self._figures(frozenset({name}), judged=False)["damage"])

    def _figures(self, quantized: frozenset[str], *, judged: bool) -> dict[str, Any]:
        """What is measured doesn't depend on the accuracy's budget, so another budget finds it in the store."""
        rewriting, model = self._rewriting, self._rewriting.model
        kept = frozenset(self._names) - quantized
        self._count += 1
        data = self._assessment.budget_inputs if judged else {}
        gates = _judged(rewriting, self._assessment) if judged else {}

        def run(paths: Mapping[str, Path], out: Path) -> dict[str, Any]:
            return trial.figures_from_rewriting(
                paths,
                rewriting.precision,
                replace(self._how(), keep=kept),
                engine=ENGINES.get("onnxruntime"),
                task=model.task,
                outputs=model.traced.outputs,
                tolerance=rewriting.gate if judged else Tolerance(),
                metric=budget.measure if data and (budget := self._budget()) else None,
                out=out,
            )

        what = next(iter(quantized)) if len(quantized) == 1 else f"{len(quantized)} of {len(self._names)} groups"
        action = Action(
            "trial",
            trial.VERSION,
            {**_parameters(rewriting), **gates, "keep": sorted(kept)},
            {**rewriting.inputs, "reference": rewriting.judged_by, **data},
            run,
            _identity(rewriting),
            f"trial {self._count}: {what}",
        )
        self._runner.run([action])
        return self._runner.steps[action].record.facts


def _parameters(rewriting: RewritingActions) -> dict[str, Any]:
    """What decides the damage of a trial."""
    recipe = rewriting.model.recipe
    return {**rewriting.parameters, "task": recipe.task.kind, "task_version": rewriting.model.task.version}


def _judged(rewriting: RewritingActions, assessment: Assessment) -> dict[str, Any]:
    """What decides whether a trial keeps parity, and its metric."""
    accuracy = rewriting.model.recipe.gates.accuracy
    metric = {} if accuracy is None else {"metric": accuracy.metric, "scorer": assessment.scorer.version}
    return {"gate": rewriting.gate.to_json(), **metric}


def _identity(rewriting: RewritingActions) -> str:
    return f"{rewriting.identity} {ENGINES.get('onnxruntime').identity()}"


def _facts(found: Found, precision: str) -> dict[str, Any]:
    nearest = (
        f"{precision}: none of the sets of layers that were tried keeps the budget, in {found.trials} trials; "
        f"nearest: {found.chosen.violation}"
    )
    return {
        "met": found.met,
        "message": "" if found.met else nearest,
        "trials": found.trials,
        "chosen": found.chosen.to_json(),
        "everything": found.everything.to_json(),
        "layers": [layer.to_json() for layer in found.layers],
    }
