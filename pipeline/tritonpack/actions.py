"""A recipe and a target become a graph of actions.

export ── verify                 PyTorch -> ONNX, held against PyTorch
  └ lower ── verify              the precision's rewrite
      └ ragged ── verify         the head that lets rows of any length batch together
          └ compile ── verify    the engine's file; executed where this machine can
                └ evaluate       the task's metric on labelled data, against FP32
tokenizer                        prepared for serving
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

from tritonpack.core.action import Action
from tritonpack.core.digest import digest_of_file
from tritonpack.core.errors import RecipeError, UnsupportedError
from tritonpack.core.model import ModelTraits, RaggedAxis
from tritonpack.core.resources import path_from_location
from tritonpack.core.versions import identity_of
from tritonpack.engines import ENGINES, Engine
from tritonpack.evaluation import DATASETS, METRICS
from tritonpack.families import Family, family_of
from tritonpack.inputs import INPUTS, Input, Sample
from tritonpack.precisions import PRECISIONS, Precision
from tritonpack.sources import SOURCES, Located
from tritonpack.stages import calibrate, compile, evaluate, export, lower, raggedize, tokenizer, verify  # noqa: A004
from tritonpack.stages.assemble import preprocessor_parameters
from tritonpack.stages.fit import check_head, check_length
from tritonpack.tasks import TASKS, Task

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from tritonpack.core.tensors import Tolerance
    from tritonpack.recipe import AccuracySpec, CalibrationSpec, Recipe, TargetSpec

_BUILD_HINT = "pip install 'tritonpack[build]'"


class Proof(NamedTuple):
    """A verification or an accuracy gate, and what a person calls the candidate that it is about."""

    candidate: str
    action: Action


@dataclass(frozen=True)
class TargetActions:
    """The actions that make one target's engine.

    Args:
        name: the target's name.
        exported: the FP32 graph.
        compiled: the engine's file.
        tokenizer: the prepared tokenizer, or None where the input needs none.
        model: what is known of the model.
        axes: the axes along which rows differ in length.
        proofs: verifications and the accuracy gate; the compiled engine's own are missing where it
            can't be executed.
        executable: whether this machine can run the engine.
    """

    name: str
    exported: Action
    compiled: Action
    tokenizer: Action | None
    model: ModelTraits
    axes: tuple[RaggedAxis, ...]
    proofs: tuple[Proof, ...]
    executable: bool

    @property
    def all(self) -> list[Action]:
        """What a build runs; every proof comes as early as it can."""
        prepared = [] if self.tokenizer is None else [self.tokenizer]
        return [*(proof.action for proof in self.proofs), *prepared, self.compiled]


def actions_for(recipe: Recipe, target: str, store: Path) -> TargetActions:
    """The graph of actions for one target.

    Args:
        recipe: what to build.
        target: one of its targets.
        store: the store's folder; engines keep their append-only side files below it.

    Raises:
        SourceError: the model isn't there.
        UnsupportedError: the engine doesn't understand the precision, or isn't installed.
    """
    graph = _Graph(recipe, target, store)
    exported, reference = graph.export()
    prepared = graph.tokenizer()
    lowered = graph.lower(exported, prepared)
    ragged = graph.ragged(lowered)
    compiled = graph.compile(ragged)
    cpu, executable = ENGINES.get("onnxruntime"), graph.engine.can_execute()
    gate, fp32 = recipe.tolerance(target), PRECISIONS.get("fp32").tolerance
    precision = graph.spec.precision
    proofs = [
        graph.verify(exported, reference, cpu, fp32, "ONNX as exported", ragged=False),
        graph.verify(lowered, reference, cpu, gate, f"ONNX {precision}", ragged=False),
        graph.verify(ragged, reference, cpu, gate, f"ONNX {precision}, ragged", ragged=True),
    ]
    last, runs, name = ragged, cpu, f"ONNX {precision}, ragged"
    if executable:
        last, runs, name = compiled, graph.engine, f"{graph.spec.engine} {precision}"
        proofs.append(graph.verify(compiled, reference, runs, gate, name, ragged=True))
    if recipe.gates.accuracy is not None:
        proofs.append(graph.evaluate(recipe.gates.accuracy, exported, last, prepared, runs, name))
    return TargetActions(target, exported, compiled, prepared, graph.model, graph.axes, tuple(proofs), executable)


class _Graph:
    """Makes the actions of one target; each method is one step of the picture above."""

    def __init__(self, recipe: Recipe, target: str, store: Path) -> None:
        self.recipe = recipe
        self.store = store
        self.spec: TargetSpec = recipe.targets[target]
        self.task: Task = TASKS.get(recipe.task.kind)
        self.input: Input = INPUTS.get(recipe.given.kind)
        self.engine: Engine = ENGINES.get(self.spec.engine)
        self.precision: Precision = PRECISIONS.get(self.spec.precision)
        if self.spec.engine not in self.precision.engines:
            raise UnsupportedError(
                f"target {target}: engine {self.spec.engine} doesn't run precision {self.spec.precision}",
                hint=f"{self.spec.precision} runs on {', '.join(sorted(self.precision.engines))}.",
                target=target,
            )
        self.located: Located = SOURCES.get(recipe.source.kind).locate(recipe.source, recipe.folder)
        self.family: Family = family_of(self.located.config)
        check_head(recipe.task.kind, self.located.config)
        check_length(recipe.export.max_length, self.family.positions(self.located.config))
        one_text = len(self.input.public) == 1
        self.model = ModelTraits(
            config=self.located.config,
            max_length=recipe.export.max_length,
            token_types=self.family.has_token_types(self.located.config)
            and (self.family.types_one_text or not one_text),
            context_first=self.family.context_first,
            needs_token=self.family.needs_token,
            mask_token_id=self.located.mask_token_id,
            truncation_side=self.located.truncation_side,
        )
        dynamic = "sequence" in recipe.export.dynamic_axes
        self.axes = tuple(replace(axis, dynamic=dynamic) for axis in self.input.axes(recipe.given, self.model))
        self.traced = export.Traced(
            sample=self._sample,
            inputs=self.input.graph_inputs(recipe.given, self.model),
            outputs=self.task.outputs(recipe.task, self.model),
            dynamic=dynamic,
            length=self.model.max_length,
        )
        self.parameters = preprocessor_parameters(self.input, recipe.given, self.model)

    def export(self) -> tuple[Action, Action]:
        """The FP32 graph and the reference; the model is loaded at most once for both."""
        recipe, task, located, family = self.recipe, self.task, self.located, self.family
        source = SOURCES.get(recipe.source.kind)

        @cache
        def module() -> Any:
            model = source.load(
                located,
                recipe.source,
                auto_class=family.auto_classes.get(task.auto_class, task.auto_class),
                optional_weights=task.optional_weights,
            )
            return task.wrap(family.adapt(model), [spec.name for spec in self.traced.inputs], recipe.task, self.model)

        shared = {
            "task": recipe.task.model_dump(mode="json"),
            "task_version": task.version,
            "input": recipe.given.model_dump(mode="json"),
            "input_version": self.input.version,
            "family_version": family.version,
            "dynamic_axes": list(recipe.export.dynamic_axes),
            "max_length": self.model.max_length,
            "mask_token_id": self.model.mask_token_id,
        }
        weights = {"weights": located.weights_digest}
        exported = Action(
            "export",
            export.EXPORT_VERSION,
            {**shared, "opset": recipe.export.opset},
            weights,
            lambda _, out: export.onnx_from_module(module(), self.traced, opset=recipe.export.opset, out=out),
            identity_of(*located.versions, "onnx", "onnxscript", hint=_BUILD_HINT),
            "PyTorch -> ONNX",
        )
        reference = Action(
            "reference",
            export.REFERENCE_VERSION,
            shared,
            weights,
            lambda _, out: export.reference_from_module(module(), self.traced, out=out),
            identity_of(*located.versions, hint=_BUILD_HINT),
            "PyTorch's own answers",
        )
        return exported, reference

    def tokenizer(self) -> Action | None:
        """The model's tokenizer, prepared for serving, where the input reads one."""
        if not self.input.needs_tokenizer:
            return None
        located, config = self.located, self.located.config
        if located.tokenizer_digest is None:
            raise RecipeError(
                f"input {self.recipe.given.kind} needs a tokenizer, and the source names none",
                hint="Say source: {tokenizer: DIRECTORY} in the recipe.",
                field="source.tokenizer",
            )
        trusted = located.trust_remote_code

        def run(_: Any, out: Path) -> dict[str, Any]:
            with located.tokenizer() as directory:
                return tokenizer.tokenizer_from_directory(directory, config, out, trust_remote_code=trusted)

        return Action(
            "tokenizer",
            tokenizer.VERSION,
            {"pad_token_id": config.get("pad_token_id"), "vocab_size": config.get("vocab_size")},
            {"tokenizer": located.tokenizer_digest},
            run,
            identity_of("tokenizers", "transformers", hint=_BUILD_HINT),
            "tokenizer, prepared for serving",
        )

    def _sample(self, rng: np.random.Generator, batch: int, length: int) -> Sample:
        sample = self.input.sample(rng, batch, length, self.recipe.given, self.model)
        return replace(sample, inputs=self.task.prepare(rng, sample.inputs, self.model))

    def lower(self, exported: Action, prepared: Action | None) -> Action:
        """The precision's rewrite, with calibration data where it needs some."""
        inputs: dict[str, Action | str] = {"onnx": exported}
        if self.precision.needs_calibration and self.recipe.calibration is not None:
            inputs["calibration"] = self._calibration(self.recipe.calibration, prepared)
        return Action(
            "lower",
            self.precision.version,
            {"precision": self.spec.precision, "fp32_modules": list(self.family.fp32_modules)},
            inputs,
            lambda paths, out: lower.lowered_from_onnx(
                paths, self.precision, keep_fp32=self.family.fp32_modules, out=out
            ),
            identity_of(*self.precision.packages, hint=_BUILD_HINT),
            f"precision {self.spec.precision}",
        )

    def ragged(self, lowered: Action) -> Action:
        """The head that pads inside the graph."""
        return Action(
            "ragged",
            raggedize.VERSION,
            {"axes": [axis.to_json() for axis in self.axes]},
            {"onnx": lowered},
            lambda paths, out: raggedize.ragged_from_onnx(paths["onnx"], axes=self.axes, out=out),
            identity_of("onnx", hint=_BUILD_HINT),
            "ragged head",
        )

    def compile(self, ragged: Action) -> Action:
        """The engine's file."""
        profile = raggedize.ragged_profile(self.traced.inputs, self.axes, **self.spec.profile.model_dump())
        side = self.store / "side"
        return Action(
            "compile",
            self.engine.version,
            {"engine": self.spec.engine, "profile": {k: [r.least, r.best, r.greatest] for k, r in profile.items()}},
            {"onnx": ragged},
            lambda paths, out: compile.engine_from_onnx(paths["onnx"], self.engine, profile, cache=side, out=out),
            self.engine.identity(),
            f"engine {self.spec.engine}",
        )

    def verify(
        self, candidate: Action, reference: Action, engine: Engine, gate: Tolerance, name: str, *, ragged: bool
    ) -> Proof:
        """A candidate against PyTorch."""
        action = Action(
            "verify",
            verify.VERSION,
            {
                "gate": gate.to_json(),
                "axes": [axis.to_json() for axis in self.axes] if ragged else None,
                "task": self.recipe.task.kind,
                "task_version": self.task.version,
            },
            {"candidate": candidate, "reference": reference},
            lambda paths, out: verify.report_from_candidate(
                paths["candidate"],
                paths["reference"],
                engine=engine,
                task=self.task,
                outputs=self.traced.outputs,
                axes=self.axes if ragged else None,
                tolerance=gate,
                name=name,
                out=out,
            ),
            engine.identity(),
            f"verify {name}",
            proves=candidate,
        )
        return Proof(name, action)

    def evaluate(
        self,
        spec: AccuracySpec,
        exported: Action,
        candidate: Action,
        prepared: Action | None,
        engine: Engine,
        name: str,
    ) -> Proof:
        """The accuracy gate; an engine that can't be executed is measured by the graph it was compiled from."""
        dataset, cpu = DATASETS.get(spec.dataset.kind), ENGINES.get("onnxruntime")
        folder, pair_scores = self.recipe.folder, self.task.pair_scores
        if pair_scores is None or prepared is None:
            raise UnsupportedError(
                "gates.accuracy: rated pairs measure embeddings of texts, and this is "
                f"{self.recipe.task.kind} of {self.recipe.given.kind}",
                hint="Leave gates.accuracy out; gates.parity holds for every task.",
                field="gates.accuracy",
            )
        action = Action(
            "evaluate",
            evaluate.VERSION,
            {
                "metric": spec.metric,
                "max_drop": spec.max_drop,
                "preprocessor": self.parameters,
                "axes": [axis.to_json() for axis in self.axes],
                "task": self.recipe.task.kind,
                "task_version": self.task.version,
            },
            {
                "baseline": exported,
                "candidate": candidate,
                "tokenizer": prepared,
                "data": dataset.digest(spec.dataset, folder),
            },
            lambda paths, out: evaluate.accuracy_from_candidate(
                paths,
                dataset.read(spec.dataset, folder),
                engines=(cpu, engine),
                pair_scores=pair_scores,
                metric=(spec.metric, METRICS[spec.metric]),
                max_drop=spec.max_drop,
                file=self.input.file,
                parameters=self.parameters,
                axes=self.axes,
                name=name,
                out=out,
            ),
            f"{engine.identity()} {identity_of('scipy', 'tokenizers', hint=_BUILD_HINT)}",
            f"{spec.metric} of {name}",
            proves=candidate,
        )
        return Proof(name, action)

    def _calibration(self, spec: CalibrationSpec, prepared: Action | None) -> Action:
        file = path_from_location(spec.file, self.recipe.folder)
        if not file.is_file():
            raise RecipeError(f"calibration data {file} isn't there", hint="Correct calibration.file.")
        made = partial(
            calibrate.calibration_from_requests,
            file=self.input.file,
            parameters=self.parameters,
            axes=self.axes,
            samples=spec.samples,
        )
        return Action(
            "calibration",
            calibrate.VERSION,
            {
                "samples": spec.samples,
                "input": self.recipe.given.model_dump(mode="json"),
                "input_version": self.input.version,
                "preprocessor": self.parameters,
                "axes": [axis.to_json() for axis in self.axes],
            },
            {"data": digest_of_file(file), **({} if prepared is None else {"tokenizer": prepared})},
            lambda paths, out: made(self.input.requests_from_file(file), paths.get("tokenizer"), out=out),
            identity_of("tokenizers", hint=_BUILD_HINT),
            f"{spec.samples} calibration samples",
        )
