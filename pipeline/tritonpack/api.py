"""A recipe and a target become a list of actions; running them is the build.

export ── verify                 PyTorch -> ONNX, held against PyTorch
  └ lower ── verify              the precision's rewrite
      └ ragged ── verify         the head that lets rows of any length batch together
          └ compile ── verify    the engine's file; executed where this machine can
tokenizer                        prepared for serving
package                          engines + tokenizer -> model repository
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from tritonpack.core.action import Action
from tritonpack.core.digest import digest_of_file
from tritonpack.core.errors import RecipeError, UnsupportedError
from tritonpack.core.home import home
from tritonpack.core.registry import did_you_mean
from tritonpack.core.resources import path_from_location
from tritonpack.core.runner import Foreseen, Observer, Runner, Step, foresee
from tritonpack.core.store import Store
from tritonpack.core.tensors import TensorSpec, Tolerance
from tritonpack.core.versions import identity_of
from tritonpack.engines import ENGINES, Engine
from tritonpack.evaluation import DATASETS
from tritonpack.evaluation._metrics import METRICS
from tritonpack.precisions import PRECISIONS
from tritonpack.repository.ensemble import Serving
from tritonpack.repository.layout import Content
from tritonpack.sources import SOURCES, Located
from tritonpack.stages import calibrate, compile, evaluate, export, lower, raggedize, tokenizer, verify  # noqa: A004
from tritonpack.stages.package import BuiltTarget, Package, Packaged, package, write_engine
from tritonpack.tasks import TASKS, Task

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tritonpack.recipe import Recipe

_BUILD_HINT = "pip install 'tritonpack[build]'"


@dataclass(frozen=True)
class TargetActions:
    """The actions that make one target's engine.

    Args:
        name: the target's name.
        exported: the FP32 graph.
        compiled: the engine's file.
        tokenizer: the prepared tokenizer.
        verifications: the reports; the compiled engine's own is missing where it can't be executed.
        executable: whether this machine can run the engine.
    """

    name: str
    exported: Action
    compiled: Action
    tokenizer: Action
    verifications: tuple[Action, ...]
    executable: bool

    @property
    def all(self) -> list[Action]:
        """What a build runs; every proof comes as early as it can."""
        return [*self.verifications, self.tokenizer, self.compiled]


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
) -> Build:
    """Build targets of a recipe and write them to a model repository.

    Args:
        recipe: what to build.
        targets: names of its targets; none means the first.
        repository: the model repository to write; engines that no Triton backend loads are written
            to ``engines/`` beside it.
        store: where artifacts are kept; None means `default_store`.
        observer: told of every action.

    Raises:
        TritonpackError: the first thing that went wrong; the repository is then as it was before.
    """
    root = store or default_store()
    plans = [actions_for(recipe, target, root) for target in _chosen(recipe, targets)]
    runner = Runner(Store(root), observer)
    for plan_ in plans:
        runner.run(plan_.all)
    built = [_built(recipe, plan_, runner) for plan_ in plans]
    served = [target for target in built if target.triton is not None]
    engines = repository.resolve().parent / "engines"
    files = {t.name: write_engine(engines, recipe.name, t) for t in built if t.triton is None}
    packaged = package(repository, _package(recipe, plans[0], runner), served) if served else None
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


def actions_for(recipe: Recipe, target: str, store: Path) -> TargetActions:
    """The graph of actions for one target.

    Raises:
        SourceError: the model isn't there.
        UnsupportedError: the engine doesn't understand the precision, or isn't installed.
    """
    spec = recipe.targets[target]
    task, engine, precision = TASKS.get(recipe.task.kind), ENGINES.get(spec.engine), PRECISIONS.get(spec.precision)
    if spec.engine not in precision.engines:
        raise UnsupportedError(
            f"target {target}: engine {spec.engine} doesn't run precision {spec.precision}",
            hint=f"{spec.precision} runs on {', '.join(sorted(precision.engines))}.",
            target=target,
        )
    located = SOURCES.get(recipe.source.kind).locate(recipe.source, recipe.folder)
    config, length = located.config, recipe.export.max_length
    _check_length(recipe, config)
    exported, reference = _export(recipe, task, located)
    prepared = Action(
        "tokenizer",
        tokenizer.VERSION,
        {"pad_token_id": config.get("pad_token_id"), "vocab_size": config.get("vocab_size")},
        {"tokenizer": located.tokenizer_digest},
        lambda _, out: tokenizer.tokenizer_from_file(located.tokenizer_file, config, out),
        identity_of("tokenizers", hint=_BUILD_HINT),
        "tokenizer, prepared for serving",
    )
    pads = _pads(task, config)
    lower_inputs: dict[str, Action | str] = {"onnx": exported}
    if precision.needs_calibration:
        lower_inputs["calibration"] = _calibration(recipe, prepared, config, length)
    lowered = Action(
        "lower",
        precision.version,
        {"precision": spec.precision},
        lower_inputs,
        lambda inputs, out: lower.lowered_from_onnx(inputs, precision, out),
        identity_of(*precision.packages, hint=_BUILD_HINT),
        f"precision {spec.precision}",
    )
    dynamic = "sequence" in recipe.export.dynamic_axes
    ragged = Action(
        "ragged",
        raggedize.VERSION,
        {"pads": pads, "length": length, "dynamic": dynamic},
        {"onnx": lowered},
        lambda inputs, out: raggedize.ragged_from_onnx(
            inputs["onnx"], pads=pads, length=length, dynamic=dynamic, out=out
        ),
        identity_of("onnx", hint=_BUILD_HINT),
        "ragged head",
    )
    profile = raggedize.ragged_profile(
        list(pads),
        max_batch=spec.profile.max_batch,
        best_batch=spec.profile.best_batch,
        best_length=spec.profile.best_length,
        length=length,
    )
    compiled = Action(
        "compile",
        engine.version,
        {"engine": spec.engine, "profile": {k: [r.least, r.best, r.greatest] for k, r in profile.items()}},
        {"onnx": ragged},
        lambda inputs, out: compile.engine_from_onnx(inputs["onnx"], engine, profile, cache=store / "side", out=out),
        engine.identity(),
        f"engine {spec.engine}",
    )
    executable = engine.can_execute()
    gate, fp32 = recipe.tolerance(target), PRECISIONS.get("fp32").tolerance
    cpu = ENGINES.get("onnxruntime")

    def proof(candidate: Action, runs: Engine, tolerance: Tolerance, name: str, *, is_ragged: bool) -> Action:
        return _verification(task, candidate, reference, runs, tolerance, name, is_ragged=is_ragged)

    proofs = [
        proof(exported, cpu, fp32, "ONNX fp32", is_ragged=False),
        proof(lowered, cpu, gate, f"ONNX {spec.precision}", is_ragged=False),
        proof(ragged, cpu, gate, f"ONNX {spec.precision}, ragged", is_ragged=True),
    ]
    if executable:
        proofs.append(proof(compiled, engine, gate, f"{spec.engine} {spec.precision}", is_ragged=True))
    if recipe.gates.accuracy is not None:
        candidate, runs = (compiled, engine) if executable else (ragged, cpu)
        proofs.append(_accuracy(recipe, task, exported, candidate, runs, prepared, pads))
    return TargetActions(target, exported, compiled, prepared, tuple(proofs), executable)


def _export(recipe: Recipe, task: Task, located: Located) -> tuple[Action, Action]:
    """The FP32 graph and the reference; the model is loaded at most once for both."""
    source = SOURCES.get(recipe.source.kind)
    axes, length = recipe.export.dynamic_axes, recipe.export.max_length

    @cache
    def module() -> Any:
        model = source.load(located, recipe.source, auto_class=task.auto_class, optional_weights=task.optional_weights)
        return task.wrap(model, recipe.task)

    shared = {"task": recipe.task.model_dump(mode="json"), "dynamic_axes": list(axes), "max_length": length}
    inputs = {"weights": located.weights_digest}
    exported = Action(
        "export",
        export.EXPORT_VERSION,
        {**shared, "opset": recipe.export.opset},
        inputs,
        lambda _, out: export.onnx_from_module(
            module(), task, located.config, opset=recipe.export.opset, dynamic_axes=axes, length=length, out=out
        ),
        identity_of(*located.versions, "onnx", "onnxscript", hint=_BUILD_HINT),
        "PyTorch -> ONNX",
    )
    reference = Action(
        "reference",
        export.REFERENCE_VERSION,
        shared,
        inputs,
        lambda _, out: export.reference_from_module(
            module(), task, located.config, dynamic_axes=axes, length=length, out=out
        ),
        identity_of(*located.versions, hint=_BUILD_HINT),
        "PyTorch's own answers",
    )
    return exported, reference


def _calibration(recipe: Recipe, prepared: Action, config: Mapping[str, Any], length: int) -> Action:
    assert recipe.calibration is not None  # noqa: S101  the recipe was validated
    spec = recipe.calibration
    texts = path_from_location(spec.texts, recipe.folder)
    if not texts.is_file():
        raise RecipeError(f"calibration texts {texts} aren't there", hint="Correct calibration.texts.")
    pad_id = int(config.get("pad_token_id") or 0)
    return Action(
        "calibration",
        calibrate.VERSION,
        {"samples": spec.samples, "length": length, "pad_id": pad_id},
        {"texts": digest_of_file(texts), "tokenizer": prepared},
        lambda inputs, out: calibrate.calibration_from_texts(
            texts, inputs["tokenizer"], samples=spec.samples, length=length, pad_id=pad_id, out=out
        ),
        identity_of("tokenizers", hint=_BUILD_HINT),
        f"{spec.samples} calibration texts",
    )


def _verification(
    task: Task, candidate: Action, reference: Action, engine: Engine, gate: Tolerance, name: str, *, is_ragged: bool
) -> Action:
    return Action(
        "verify",
        verify.VERSION,
        {"gate": gate.to_json(), "ragged": is_ragged, "name": name},
        {"candidate": candidate, "reference": reference},
        lambda inputs, out: verify.report_from_candidate(
            inputs["candidate"],
            inputs["reference"],
            engine=engine,
            task=task,
            tolerance=gate,
            ragged=is_ragged,
            name=name,
            out=out,
        ),
        engine.identity(),
        f"verify {name}",
        proves=candidate,
    )


def _accuracy(
    recipe: Recipe,
    task: Task,
    exported: Action,
    candidate: Action,
    engine: Engine,
    prepared: Action,
    pads: dict[str, int],
) -> Action:
    """The accuracy gate; where the engine can't be executed, the graph that it was compiled from is measured."""
    spec = recipe.gates.accuracy
    assert spec is not None  # noqa: S101  the caller asked
    dataset = DATASETS.get(spec.dataset.kind)
    name, length, cpu = (
        f"{spec.metric} of {candidate.description}",
        recipe.export.max_length,
        ENGINES.get("onnxruntime"),
    )
    return Action(
        "evaluate",
        evaluate.VERSION,
        {"metric": spec.metric, "max_drop": spec.max_drop, "length": length, "pads": pads, "name": name},
        {
            "baseline": exported,
            "candidate": candidate,
            "tokenizer": prepared,
            "data": dataset.digest(spec.dataset, recipe.folder),
        },
        lambda inputs, out: evaluate.accuracy_from_candidate(
            inputs,
            dataset.read(spec.dataset, recipe.folder),
            engines=(cpu, engine),
            task=task,
            metric=(spec.metric, METRICS[spec.metric]),
            max_drop=spec.max_drop,
            length=length,
            pad_id=pads["input_ids"],
            name=name,
            out=out,
        ),
        f"{engine.identity()} {identity_of('scipy', 'tokenizers', hint=_BUILD_HINT)}",
        f"evaluate {name}",
        proves=candidate,
    )


def _built(recipe: Recipe, plan_: TargetActions, runner: Runner) -> BuiltTarget:
    spec = recipe.targets[plan_.name]
    engine = ENGINES.get(spec.engine)
    compiled, exported = runner.steps[plan_.compiled].record, runner.steps[plan_.exported].record
    reports = [dict(runner.steps[action].record.facts) for action in plan_.verifications]
    if not plan_.executable:
        reports.append({"status": "compiled, not executed", "candidate": f"{spec.engine} {spec.precision}"})
    return BuiltTarget(
        name=plan_.name,
        engine=spec.engine,
        precision=spec.precision,
        suffix=engine.suffix,
        triton=engine.triton,
        content=Content(compiled.digest, compiled.size, lambda: runner.artifact(plan_.compiled)),
        model=exported.digest,
        inputs=tuple(TensorSpec.from_json(spec) for spec in exported.facts["inputs"]),
        outputs=tuple(TensorSpec.from_json(spec) for spec in exported.facts["outputs"]),
        facts=compiled.facts,
        verification=reports,
        lineage=runner.lineage(plan_.compiled),
    )


def _package(recipe: Recipe, plan_: TargetActions, runner: Runner) -> Package:
    record = runner.steps[plan_.tokenizer].record
    return Package(
        name=recipe.name,
        serving=Serving(**recipe.serving.model_dump()),
        order=tuple((name, target.engine, target.precision) for name, target in recipe.targets.items()),
        answers=TASKS.get(recipe.task.kind).answers,
        tokenizer=Content(record.digest, record.size, lambda: runner.artifact(plan_.tokenizer)),
        max_length=recipe.export.max_length,
        pad_id=record.facts["pad_id"],
    )


def _chosen(recipe: Recipe, targets: Sequence[str]) -> list[str]:
    for name in targets:
        if name not in recipe.targets:
            raise RecipeError(
                f"recipe {recipe.name} has no target '{name}'; it has: {', '.join(recipe.targets)}",
                hint=did_you_mean(name, list(recipe.targets)),
                field="--target",
            )
    return list(dict.fromkeys(targets)) or [recipe.default_target]


def _check_length(recipe: Recipe, config: Mapping[str, Any]) -> None:
    positions = config.get("max_position_embeddings")
    if isinstance(positions, int) and recipe.export.max_length > positions:
        raise RecipeError(
            f"export.max_length is {recipe.export.max_length}, but the model has {positions} positions",
            hint=f"Set export.max_length to {positions} or less.",
            field="export.max_length",
        )


def _pads(task: Task, config: dict[str, Any]) -> dict[str, int]:
    pad_id = int(config.get("pad_token_id") or 0)
    return {spec.name: pad_id if spec.name == "input_ids" else 0 for spec in task.signature(config)[0]}
