"""A recipe and a target become a graph of actions.

compress                         PyTorch -> smaller PyTorch, where the recipe says so
  └ export ── verify             PyTorch -> ONNX, held against PyTorch
      ├ observe                  its values on calibration rows
      │   └ search               the layers that keep the gates in INT8; each trial is an action too
      └ lower ── verify          the precision's rewrite
          └ ragged ── verify     the head that lets rows of any length batch together
              └ compile ── verify    the engine's file; executed where this machine can
                    ├ predict ── score ── accuracy    the task's metric on labelled data, against FP32
                    └ speed ── pays                   against the next safer precision
tokenizer                        prepared for serving
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tritonpack.actions.candidate import Candidate, Proof
from tritonpack.actions.data import Rows
from tritonpack.actions.measure import Assessment
from tritonpack.actions.model import ModelActions
from tritonpack.actions.rewriting import RewritingActions
from tritonpack.actions.search import Workplace, search_action

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.core.action import Action
    from tritonpack.core.model import ModelTraits, RaggedAxis
    from tritonpack.recipe import Recipe

__all__ = ["Proof", "TargetActions", "Workplace", "Workshop", "actions_for"]


@dataclass(frozen=True)
class TargetActions:
    """The actions that make one target's engine.

    Args:
        name: the target's name.
        precision: of those that the target allows, the one that they build.
        model: what is known of the model.
        axes: the axes along which rows differ in length.
        candidate: the engine and its verifications.
        proofs: verifications and gates; the compiled engine's own are missing where it can't be executed.
        checks: what can stop a build before it makes anything.
    """

    name: str
    precision: str
    model: ModelTraits
    axes: tuple[RaggedAxis, ...]
    candidate: Candidate
    proofs: tuple[Proof, ...]
    checks: tuple[Action, ...] = ()

    @property
    def exported(self) -> Action:
        """The FP32 graph."""
        return self.candidate.model.exported

    @property
    def tokenizer(self) -> Action | None:
        """The prepared tokenizer, or None where the input needs none."""
        return self.candidate.model.tokenizer

    @property
    def compiled(self) -> Action:
        """The engine's file."""
        return self.candidate.compiled

    @property
    def executable(self) -> bool:
        """Whether this machine can run the engine."""
        return self.candidate.executable

    @property
    def all(self) -> list[Action]:
        """What a build runs; every proof comes as early as it can."""
        prepared = [] if self.tokenizer is None else [self.tokenizer]
        return [*self.checks, *(proof.action for proof in self.proofs), *prepared, self.compiled]


class Workshop:
    """Makes the actions of a recipe's targets, which share what they can.

    Args:
        recipe: what to build.
        place: where trials are kept.

    Raises:
        SourceError: the model isn't there.
        RecipeError: the model doesn't fit the recipe.
    """

    def __init__(self, recipe: Recipe, place: Workplace) -> None:
        self.recipe = recipe
        self.place = place
        self.model = ModelActions(recipe, Rows(recipe), place.observer)
        self.assessment = Assessment(self.model)

    def candidate(self, target: str, precision: str) -> Candidate:
        """One precision of a target.

        Raises:
            UnsupportedError: the engine doesn't understand the precision, or isn't installed.
        """
        rewriting = RewritingActions(self.model, target, precision)
        search = search_action(rewriting, self.assessment, self.place) if rewriting.is_searched else None
        return Candidate(rewriting, search, self.place.store)

    def target(self, name: str, precision: str | None = None) -> TargetActions:
        """The actions for one target, in the precision that it names first, or in one that it falls back to."""
        spec, gates = self.recipe.targets[name], self.recipe.gates
        precision = precision or spec.precision
        candidate = self.candidate(name, precision)
        proofs = candidate.verifications
        checks: list[Action] = []
        if gates.accuracy is not None:
            checks = self.assessment.checks
            proofs.append(self.assessment.accuracy_gate(gates.accuracy, candidate))
        safer = self._safer(name, precision)
        if gates.min_speedup is not None and safer is not None and candidate.executable:
            proofs.append(self.assessment.speed_gate(gates.min_speedup, candidate, self.candidate(name, safer)))
        return TargetActions(
            name, precision, self.model.traits, self.model.axes, candidate, tuple(proofs), tuple(checks)
        )

    def _safer(self, target: str, precision: str) -> str | None:
        """What the target would fall back to; in the end FP32, which nothing is safer than."""
        order = self.recipe.targets[target].precisions
        after = order[order.index(precision) + 1 :]
        return after[0] if after else None if precision == "fp32" else "fp32"


def actions_for(recipe: Recipe, target: str, store: Path) -> TargetActions:
    """The graph of actions for one target in the precision that it names first.

    Args:
        recipe: what to build.
        target: one of its targets.
        store: the store's folder; engines keep their append-only side files below it.

    Raises:
        SourceError: the model isn't there.
        UnsupportedError: the engine doesn't understand the precision, or isn't installed.
    """
    return Workshop(recipe, Workplace(store)).target(target)
