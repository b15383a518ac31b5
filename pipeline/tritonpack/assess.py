"""What a recipe's targets are worth: metrics with intervals, changed answers, and where two graphs part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tritonpack.actions import Workplace, Workshop
from tritonpack.api import default_store
from tritonpack.core.errors import RecipeError, StageError, UnsupportedError
from tritonpack.core.registry import did_you_mean
from tritonpack.core.runner import Runner
from tritonpack.core.store import Store
from tritonpack.precisions import PRECISIONS
from tritonpack.recipe import TargetSpec
from tritonpack.reports.documents import Evaluation, TargetScore
from tritonpack.stages.errors import errors_from_predictions
from tritonpack.stages.predict import predictions_from_client
from tritonpack.stages.score import report_from_predictions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tritonpack.core.runner import Observer
    from tritonpack.recipe import Recipe
    from tritonpack.reports.documents import ErrorReport
    from tritonpack_client import Client

FP32 = "fp32"
_ADDED_ENGINE = "onnxruntime"


def evaluate(
    recipe: Recipe,
    targets: Sequence[str] = (),
    precisions: Sequence[str] = (),
    *,
    store: Path | None = None,
    observer: Observer | None = None,
) -> Evaluation:
    """Measure targets on the data of the recipe's accuracy gate, beside FP32; no gate stops anything.

    Args:
        recipe: names the model and the data.
        targets: of the recipe.
        precisions: each is measured at the recipe's target that has it, or in ONNX Runtime on the CPU where none
            has. Without targets and precisions every target is measured that this machine can build.
        store: where artifacts are kept; None means `tritonpack.api.default_store`.
        observer: told of every action.

    Raises:
        RecipeError: there is no such target or precision, or no labelled data.
        TritonpackError: what an action raises, where this target or precision was asked for by name.
    """
    widened, names = _widened(recipe, targets, precisions)
    bench = _Bench(widened, store, observer)
    asked = bool(targets or precisions)
    scores, notes = [], {}
    for name in names:
        try:
            scores.append(bench.score(name))
        except (UnsupportedError, StageError) as error:
            if asked and not isinstance(error, StageError):
                raise
            notes[name] = error.message
    return Evaluation(recipe.name, recipe.task.kind, _dataset_name(recipe), scores, refused=notes)


def evaluate_served(
    recipe: Recipe,
    client: Client,
    url: str,
    *,
    store: Path | None = None,
    observer: Observer | None = None,
) -> Evaluation:
    """Measure the served ensemble of a recipe on the data of its accuracy gate, beside FP32 in process.

    Raises:
        RecipeError: there is no labelled data.
        TritonClientError: a request failed.
    """
    widened, (fp32, *_) = _widened(recipe, (), (FP32,))
    bench = _Bench(widened, store, observer)
    return Evaluation(
        recipe.name,
        recipe.task.kind,
        _dataset_name(recipe),
        [bench.score(fp32), bench.score_of_served(client, url)],
        served=url,
    )


def errors(
    recipe: Recipe,
    target: str,
    *,
    store: Path | None = None,
    observer: Observer | None = None,
) -> ErrorReport:
    """Which samples a target answers otherwise than FP32, the worst first, and in which slices.

    Raises:
        RecipeError: there is no such target, or no labelled data.
    """
    widened, (name, *_) = _widened(recipe, (target,), ())
    return _Bench(widened, store, observer).errors(name)


class _Bench:
    """Runs what measures one recipe's targets; what they share runs once."""

    def __init__(self, recipe: Recipe, store: Path | None, observer: Observer | None) -> None:
        root = store or default_store()
        self.recipe = recipe
        self._workshop = Workshop(recipe, Workplace(root, observer))
        self._runner = Runner(Store(root), observer)

    def score(self, target: str) -> TargetScore:
        spec = self.recipe.targets[target]
        assessment = self._workshop.assessment
        candidate = self._workshop.candidate(target, spec.precision)
        scored = assessment.score(candidate)
        self._runner.run([scored, candidate.compiled])
        speedup = None
        if candidate.executable and spec.precision != FP32:
            speed = assessment.speed(candidate, self._workshop.candidate(target, FP32))
            self._runner.run([speed])
            speedup = self._runner.steps[speed].record.facts["speedup"]
        return TargetScore(
            target=target,
            precision=spec.precision,
            engine=spec.engine if candidate.executable else _ADDED_ENGINE,
            score=self._runner.steps[scored].record.facts,
            size_bytes=self._runner.steps[candidate.compiled].record.size,
            speed_ratio=1.0 if spec.precision == FP32 and candidate.executable else speedup,
            note="" if candidate.executable else f"compiled for {spec.engine}; its graph was measured on the CPU",
            rewriting=self._runner.steps[candidate.lowered].record.facts,
            search=None if candidate.search is None else self._runner.steps[candidate.search].record.facts,
        )

    def score_of_served(self, client: Client, url: str) -> TargetScore:
        assessment = self._workshop.assessment
        self._runner.run([assessment.baseline])
        rows = self._workshop.model.rows
        answers = predictions_from_client(client, self.recipe.name, rows.example_requests())
        report = report_from_predictions(
            answers,
            self._runner.artifact(assessment.baseline),
            examples=rows.examples(),
            scorer=assessment.scorer,
        )
        return TargetScore(target=url, precision="as served", engine="Triton", score=report)

    def errors(self, target: str) -> ErrorReport:
        assessment = self._workshop.assessment
        candidate = self._workshop.candidate(target, self.recipe.targets[target].precision)
        predictions = assessment.predictions(candidate)
        self._runner.run([assessment.baseline, predictions])
        return errors_from_predictions(
            self._runner.artifact(predictions),
            self._runner.artifact(assessment.baseline),
            examples=self._workshop.model.rows.examples(),
            scorer=assessment.scorer,
            recipe=self.recipe.name,
            candidate=candidate.runnable[2],
        )


def _widened(recipe: Recipe, targets: Sequence[str], precisions: Sequence[str]) -> tuple[Recipe, list[str]]:
    """The recipe with a target for every precision that is asked for, and the targets to measure, FP32 first."""
    for name in targets:
        if name not in recipe.targets:
            raise RecipeError(
                f"recipe {recipe.name} has no target '{name}'; it has: {', '.join(recipe.targets)}",
                hint=did_you_mean(name, list(recipe.targets)),
                field="--target",
            )
    by_precision = {spec.precision: name for name, spec in reversed(recipe.targets.items())}
    added = {
        PRECISIONS.check(name): TargetSpec(engine=_ADDED_ENGINE, precision=name)
        for name in (FP32, *precisions)
        if name not in by_precision
    }
    chosen = [by_precision.get(FP32, FP32), *targets, *(by_precision.get(name, name) for name in precisions)]
    if not targets and not precisions:
        chosen += recipe.targets
    widened = recipe.model_copy(update={"targets": {**recipe.targets, **added}})
    return widened, list(dict.fromkeys(chosen))


def _dataset_name(recipe: Recipe) -> str:
    spec: Any = recipe.gates.accuracy
    if spec is None:
        return ""
    fields = spec.dataset.model_dump(exclude_none=True, exclude={"kind"})
    place = fields.get("file") or fields.get("factory") or ""
    return f"{spec.dataset.kind} {place}".strip()
