"""What a recipe's targets are worth: metrics with intervals, changed answers, and where two graphs part."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tritonpack.actions import Workplace, Workshop
from tritonpack.api import check_targets, default_store
from tritonpack.core.errors import ConfigurationError, StageError, UnsupportedError
from tritonpack.core.runner import Runner
from tritonpack.core.store import Store
from tritonpack.core.tensors import Tolerance
from tritonpack.debugging.diagnose import Diagnosis, diagnosis_of
from tritonpack.precisions import PRECISIONS
from tritonpack.recipe import TargetSpec
from tritonpack.reports.documents import Evaluation, TargetScore
from tritonpack.stages.errors import errors_from_predictions
from tritonpack.stages.predict import predictions_from_client
from tritonpack.stages.reference import read_reference
from tritonpack.stages.rows import joined
from tritonpack.stages.score import report_from_predictions

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tritonpack.actions.candidate import Candidate
    from tritonpack.core.runner import Observer
    from tritonpack.core.tensors import Tensors
    from tritonpack.debugging import Progress
    from tritonpack.recipe import Recipe
    from tritonpack.reports.documents import ErrorReport
    from tritonpack.stages.answers import Prepared
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
    widened, _ = _widened(recipe, (target,), ())
    return _Bench(widened, store, observer).errors(target)


def debug(
    recipe: Recipe,
    *,
    target: str | None = None,
    precision: str | None = None,
    candidate: Path | None = None,
    texts: Sequence[str] = (),
    bounds: Tolerance | None = None,
    reduce: Path | None = None,
    store: Path | None = None,
    observer: Observer | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """Where the graph of a target, of a precision or in a file first parts from the exported FP32 graph.

    Args:
        recipe: names the model.
        target: of the recipe; its first if nothing else is named.
        precision: in place of a target.
        candidate: an ONNX file in place of both, held to FP32's own gate.
        texts: what to run, a row each, those of a pair separated by a tabulator; none: real rows of the recipe.
        bounds: what is given here replaces the precision's gate.
        reduce: the ONNX file for the smallest part that fails.
        store: where artifacts are kept; None means `tritonpack.api.default_store`.
        observer: told of every action.
        progress: told of the values as they are compared.

    Raises:
        RecipeError: there is no such target, or the texts aren't what the recipe takes.
        ConfigurationError: the file isn't a rewrite of the graph.
    """
    if candidate is not None and not candidate.is_file():
        raise ConfigurationError(f"candidate {candidate} isn't there", hint="Give an ONNX file.", field="--candidate")
    if candidate is not None:
        precision = FP32
    named = () if precision else (target or recipe.default_target,)
    widened, names = _widened(recipe, named, (precision,) if precision else ())
    bench = _Bench(widened, store, observer)
    chosen = bench.candidate(names[-1])
    return bench.diagnosis(chosen, candidate, texts, bounds or Tolerance(), reduce, progress)


class _Bench:
    """Runs what measures one recipe's targets; what they share runs once."""

    def __init__(self, recipe: Recipe, store: Path | None, observer: Observer | None) -> None:
        root = store or default_store()
        self.recipe = recipe
        self._workshop = Workshop(recipe, Workplace(root, observer))
        self._runner = Runner(Store(root), observer)

    def candidate(self, target: str) -> Candidate:
        return self._workshop.candidate(target, self.recipe.targets[target].precision)

    def score(self, target: str) -> TargetScore:
        spec = self.recipe.targets[target]
        assessment = self._workshop.assessment
        candidate = self.candidate(target)
        scored, agreement = assessment.score(candidate), candidate.agreement
        self._runner.run([*assessment.checks, scored, agreement, candidate.compiled])
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
            agreement=self._runner.steps[agreement].record.facts["outputs"],
            size_bytes=self._runner.steps[candidate.compiled].record.size,
            speed_ratio=1.0 if spec.precision == FP32 and candidate.executable else speedup,
            note="" if candidate.executable else f"compiled for {spec.engine}; its graph was measured on the CPU",
            rewriting=self._runner.steps[candidate.lowered].record.facts,
            search=None if candidate.search is None else self._runner.steps[candidate.search].record.facts,
        )

    def score_of_served(self, client: Client, url: str) -> TargetScore:
        assessment = self._workshop.assessment
        self._runner.run([*assessment.checks, assessment.baseline])
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
        candidate = self.candidate(target)
        predictions, rows = assessment.predictions(candidate), self._workshop.model.rows
        self._runner.run([*assessment.checks, assessment.baseline, predictions])
        return errors_from_predictions(
            self._runner.artifact(predictions),
            self._runner.artifact(assessment.baseline),
            examples=rows.examples(),
            scorer=assessment.scorer,
            lengths=self._prepared(rows.example_requests()).lengths(self._workshop.model.axes),
            recipe=self.recipe.name,
            names=(FP32, candidate.runnable[2]),
        )

    def diagnosis(
        self,
        candidate: Candidate,
        file: Path | None,
        texts: Sequence[str],
        bounds: Tolerance,
        reduce: Path | None,
        progress: Progress | None,
    ) -> Diagnosis:
        model = self._workshop.model
        self._runner.run([model.exported])
        if file is None:
            self._runner.run([candidate.lowered])
            file, name = self._runner.artifact(candidate.lowered), candidate.rewriting.name
        else:
            name = file.name
        inputs, lengths = self._case(texts)
        return diagnosis_of(
            self._runner.artifact(model.exported),
            file,
            inputs,
            name=name,
            tolerance=candidate.rewriting.gate.tightened(**bounds.to_json()),
            lengths=lengths,
            reduce=reduce,
            progress=progress,
        )

    def _case(self, texts: Sequence[str]) -> tuple[Tensors, Tensors]:
        """A batch to compare on: the given texts, or real rows, or random ones where the recipe has none."""
        model = self._workshop.model
        if texts:
            rows = [row for rows in self._prepared(model.rows.requests_from_texts(texts)).rows() for row in rows]
            return joined(rows, model.axes)
        reference = model.probe or model.reference
        self._runner.run([reference])
        cases = read_reference(self._runner.artifact(reference))
        case = cases[len(cases) // 2]
        return case.inputs, case.lengths

    def _prepared(self, requests: Sequence[Tensors]) -> Prepared:
        model = self._workshop.model
        self._runner.run(list(model.preprocessing.values()))
        paths = {name: self._runner.artifact(action) for name, action in model.preprocessing.items()}
        return model.prepared(requests, paths)


def _widened(recipe: Recipe, targets: Sequence[str], precisions: Sequence[str]) -> tuple[Recipe, list[str]]:
    """The recipe with a target for every precision that is asked for, and the targets to measure, FP32 first."""
    check_targets(recipe, targets)
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
