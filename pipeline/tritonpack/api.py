"""The build: a recipe's targets become actions, the actions become engines, the engines a repository."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tritonpack.actions import TargetActions, Workplace, Workshop, actions_for
from tritonpack.core.errors import LoweringError, RecipeError, UnsupportedError, VerificationError
from tritonpack.core.home import home
from tritonpack.core.registry import did_you_mean
from tritonpack.core.runner import Foreseen, Observer, Runner, Step, foresee
from tritonpack.core.store import Record, Store
from tritonpack.core.tensors import TensorSpec
from tritonpack.engines import ENGINES
from tritonpack.inputs import INPUTS
from tritonpack.repository.ensemble import Queue, Serving
from tritonpack.repository.layout import Content
from tritonpack.stages.assemble import steps_of
from tritonpack.stages.package import BuiltTarget, Package, Packaged, package, write_engine
from tritonpack.tasks import TASKS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tritonpack.core.action import Action
    from tritonpack.recipe import Recipe


_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Build:
    """What a build did.

    Args:
        steps: every action, in the order in which they ran.
        targets: the engines.
        packaged: what became of the model repository; None when no target is served by Triton.
        repository: the model repository.
        engine_files: by target, engines that no Triton backend loads.
    """

    steps: list[Step]
    targets: list[BuiltTarget]
    packaged: Packaged | None
    repository: Path
    engine_files: dict[str, Path]


def default_store() -> Path:
    """Where artifacts are kept when no folder is given."""
    return home() / "store"


def build(
    recipe: Recipe,
    targets: Sequence[str] = (),
    *,
    repository: Path,
    store: Path | None = None,
    observer: Observer | None = None,
    budget_trials: int | None = None,
) -> Build:
    """Build targets of a recipe and write them to a model repository.

    Args:
        recipe: what to build.
        targets: names of its targets; none means the first.
        repository: the model repository to write; engines that no Triton backend loads are written
            to ``engines/`` beside it.
        store: where artifacts are kept; None means `default_store`.
        observer: told of every action.
        budget_trials: how many graphs a search for layers may measure; None means what the recipe says.

    Raises:
        TritonpackError: the first thing that went wrong; the repository is then as it was before.
    """
    root = store or default_store()
    chosen = _chosen(recipe, targets)
    workshop = Workshop(recipe, Workplace(root, observer, budget_trials))
    for target in chosen:
        for precision in recipe.targets[target].precisions:
            workshop.candidate(target, precision)  # what can't be built at all is refused before anything runs
    runner = Runner(Store(root), observer)
    attempts = [_attempt(workshop, target, runner) for target in chosen]
    built = [_built(recipe, attempt, runner) for attempt in attempts]
    served = [target for target in built if target.triton is not None]
    engines = repository.resolve().parent / "engines"
    files = {t.name: write_engine(engines, recipe.name, t) for t in built if t.triton is None}
    packaged = package(repository, _package(recipe, attempts[0].graph, runner), served) if served else None
    return Build(list(runner.steps.values()), built, packaged, repository, files)


def plan(
    recipe: Recipe, targets: Sequence[str] = (), *, store: Path | None = None
) -> tuple[dict[str, list[Foreseen]], dict[str, UnsupportedError]]:
    """By target, what `build` would find or run, and the targets that can't be built here; nothing is run."""
    root = store or default_store()
    foreseen, impossible = {}, {}
    for name in _chosen(recipe, targets or tuple(recipe.targets)):
        try:
            foreseen[name] = foresee(Store(root), actions_for(recipe, name, root).all)
        except UnsupportedError as error:
            impossible[name] = error
    return foreseen, impossible


def check_targets(recipe: Recipe, targets: Sequence[str]) -> None:
    """Refuse names that aren't targets of the recipe.

    Raises:
        RecipeError: one isn't; the message names those that are, the hint the nearest.
    """
    for name in targets:
        if name not in recipe.targets:
            raise RecipeError(
                f"recipe {recipe.name} has no target '{name}'; it has: {', '.join(recipe.targets)}",
                hint=did_you_mean(name, list(recipe.targets)),
                field="--target",
            )


def _chosen(recipe: Recipe, targets: Sequence[str]) -> list[str]:
    check_targets(recipe, targets)
    return list(dict.fromkeys(targets)) or [recipe.default_target]


@dataclass(frozen=True)
class _Attempt:
    """The precision that held, and those before it that didn't."""

    graph: TargetActions
    refused: list[dict[str, str]]


def _attempt(workshop: Workshop, target: str, runner: Runner) -> _Attempt:
    """Build the first of a target's precisions that its gates let pass."""
    refused: list[dict[str, str]] = []
    precisions = workshop.recipe.targets[target].precisions
    for precision, safer in zip(precisions, [*precisions[1:], None], strict=True):
        graph = workshop.target(target, precision)
        try:
            runner.run(graph.all)
        except (VerificationError, LoweringError) as error:
            if safer is None:
                raise
            _LOG.warning("target %s: %s is refused, falling back to %s: %s", target, precision, safer, error.message)
            refused.append({"precision": precision, "why": error.message})
        else:
            return _Attempt(graph, refused)
    raise AssertionError("a target has at least one precision")


def _built(recipe: Recipe, attempt: _Attempt, runner: Runner) -> BuiltTarget:
    graph = attempt.graph
    spec = recipe.targets[graph.name]
    engine = ENGINES.get(spec.engine)
    compiled, exported = runner.steps[graph.compiled].record, runner.steps[graph.exported].record
    reports = [{"candidate": name, **runner.steps[action].record.facts} for name, action in graph.proofs]
    if not graph.executable:
        reports.append({"status": "compiled, not executed", "candidate": f"{spec.engine} {graph.precision}"})
    return BuiltTarget(
        name=graph.name,
        engine=spec.engine,
        precision=graph.precision,
        suffix=engine.suffix,
        triton=engine.triton,
        content=_content(runner, graph.compiled),
        model=exported.digest,
        inputs=tuple(TensorSpec.from_json(tensor) for tensor in exported.facts["inputs"]),
        outputs=_outputs(exported),
        axes=graph.axes,
        facts=compiled.facts,
        verification=reports,
        refused=attempt.refused,
        lineage=runner.lineage(graph.compiled),
    )


def _package(recipe: Recipe, graph: TargetActions, runner: Runner) -> Package:
    prepared = graph.tokenizer
    return Package(
        name=recipe.name,
        serving=_serving(recipe),
        order=tuple((name, target.engine, target.precisions) for name, target in recipe.targets.items()),
        steps=steps_of(
            INPUTS.get(recipe.given.kind),
            recipe.given,
            graph.model,
            {} if prepared is None else runner.steps[prepared].record.facts,
            TASKS.get(recipe.task.kind).answer(recipe.task, graph.model),
            _outputs(runner.steps[graph.exported].record),
        ),
        tokenizer=None if prepared is None else _content(runner, prepared),
    )


def _serving(recipe: Recipe) -> Serving:
    queue = recipe.serving.queue
    return Serving(
        **recipe.serving.model_dump(exclude={"queue"}), queue=None if queue is None else Queue(**queue.model_dump())
    )


def _outputs(exported: Record) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec.from_json(tensor) for tensor in exported.facts["outputs"])


def _content(runner: Runner, action: Action) -> Content:
    """An artifact as a file of the repository; its blob is read when it has to be written."""
    record = runner.steps[action].record
    return Content(record.digest, record.size, lambda: runner.artifact(action))
