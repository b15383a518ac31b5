"""A recipe and a target become a graph of actions.

export ── verify                 PyTorch -> ONNX, held against PyTorch
  └ lower ── verify              the precision's rewrite
      └ ragged ── verify         the head that lets rows of any length batch together
          └ compile ── verify    the engine's file; executed where this machine can
                └ evaluate       the task's metric on labelled data, against FP32
tokenizer                        prepared for serving
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from tritonpack.core.action import Action
from tritonpack.core.digest import digest_of_file
from tritonpack.core.errors import RecipeError, UnsupportedError
from tritonpack.core.resources import path_from_location
from tritonpack.core.versions import identity_of
from tritonpack.engines import ENGINES, Engine
from tritonpack.evaluation import DATASETS, METRICS
from tritonpack.precisions import PRECISIONS, Precision
from tritonpack.sources import SOURCES, Located
from tritonpack.stages import calibrate, compile, evaluate, export, lower, raggedize, tokenizer, verify  # noqa: A004
from tritonpack.tasks import TASKS, Task

if TYPE_CHECKING:
    from pathlib import Path

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
        tokenizer: the prepared tokenizer.
        proofs: verifications and the accuracy gate; the compiled engine's own are missing where it
            can't be executed.
        executable: whether this machine can run the engine.
    """

    name: str
    exported: Action
    compiled: Action
    tokenizer: Action
    proofs: tuple[Proof, ...]
    executable: bool

    @property
    def all(self) -> list[Action]:
        """What a build runs; every proof comes as early as it can."""
        return [*(proof.action for proof in self.proofs), self.tokenizer, self.compiled]


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
    return TargetActions(target, exported, compiled, prepared, tuple(proofs), executable)


class _Graph:
    """Makes the actions of one target; each method is one step of the picture above."""

    def __init__(self, recipe: Recipe, target: str, store: Path) -> None:
        self.recipe = recipe
        self.store = store
        self.spec: TargetSpec = recipe.targets[target]
        self.task: Task = TASKS.get(recipe.task.kind)
        self.engine: Engine = ENGINES.get(self.spec.engine)
        self.precision: Precision = PRECISIONS.get(self.spec.precision)
        if self.spec.engine not in self.precision.engines:
            raise UnsupportedError(
                f"target {target}: engine {self.spec.engine} doesn't run precision {self.spec.precision}",
                hint=f"{self.spec.precision} runs on {', '.join(sorted(self.precision.engines))}.",
                target=target,
            )
        self.located: Located = SOURCES.get(recipe.source.kind).locate(recipe.source, recipe.folder)
        self.length = recipe.export.max_length
        _check_length(self.length, self.located.config.get("max_position_embeddings"))
        self.pad_id = int(self.located.config.get("pad_token_id") or 0)
        inputs, _ = self.task.signature(self.located.config)
        self.pads = {spec.name: self.pad_id if spec.name == "input_ids" else 0 for spec in inputs}

    def export(self) -> tuple[Action, Action]:
        """The FP32 graph and the reference; the model is loaded at most once for both."""
        recipe, task, located, length = self.recipe, self.task, self.located, self.length
        source, axes = SOURCES.get(recipe.source.kind), recipe.export.dynamic_axes

        @cache
        def module() -> Any:
            model = source.load(
                located, recipe.source, auto_class=task.auto_class, optional_weights=task.optional_weights
            )
            return task.wrap(model, recipe.task)

        shared = {
            "task": recipe.task.model_dump(mode="json"),
            "task_version": task.version,
            "dynamic_axes": list(axes),
            "max_length": length,
        }
        weights = {"weights": located.weights_digest}
        exported = Action(
            "export",
            export.EXPORT_VERSION,
            {**shared, "opset": recipe.export.opset},
            weights,
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
            weights,
            lambda _, out: export.reference_from_module(
                module(), task, located.config, dynamic_axes=axes, length=length, out=out
            ),
            identity_of(*located.versions, hint=_BUILD_HINT),
            "PyTorch's own answers",
        )
        return exported, reference

    def tokenizer(self) -> Action:
        """The model's tokenizer, prepared for serving."""
        config, file = self.located.config, self.located.tokenizer_file
        return Action(
            "tokenizer",
            tokenizer.VERSION,
            {"pad_token_id": config.get("pad_token_id"), "vocab_size": config.get("vocab_size")},
            {"tokenizer": self.located.tokenizer_digest},
            lambda _, out: tokenizer.tokenizer_from_file(file, config, out),
            identity_of("tokenizers", hint=_BUILD_HINT),
            "tokenizer, prepared for serving",
        )

    def lower(self, exported: Action, prepared: Action) -> Action:
        """The precision's rewrite, with calibration data where it needs some."""
        inputs: dict[str, Action | str] = {"onnx": exported}
        if self.precision.needs_calibration and self.recipe.calibration is not None:
            inputs["calibration"] = self._calibration(self.recipe.calibration, prepared)
        return Action(
            "lower",
            self.precision.version,
            {"precision": self.spec.precision},
            inputs,
            lambda paths, out: lower.lowered_from_onnx(paths, self.precision, out),
            identity_of(*self.precision.packages, hint=_BUILD_HINT),
            f"precision {self.spec.precision}",
        )

    def ragged(self, lowered: Action) -> Action:
        """The head that pads inside the graph."""
        dynamic = "sequence" in self.recipe.export.dynamic_axes
        return Action(
            "ragged",
            raggedize.VERSION,
            {"pads": self.pads, "length": self.length, "dynamic": dynamic},
            {"onnx": lowered},
            lambda paths, out: raggedize.ragged_from_onnx(
                paths["onnx"], pads=self.pads, length=self.length, dynamic=dynamic, out=out
            ),
            identity_of("onnx", hint=_BUILD_HINT),
            "ragged head",
        )

    def compile(self, ragged: Action) -> Action:
        """The engine's file."""
        profile = raggedize.ragged_profile(list(self.pads), length=self.length, **self.spec.profile.model_dump())
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
                "ragged": ragged,
                "task": self.recipe.task.kind,
                "task_version": self.task.version,
            },
            {"candidate": candidate, "reference": reference},
            lambda paths, out: verify.report_from_candidate(
                paths["candidate"],
                paths["reference"],
                engine=engine,
                task=self.task,
                tolerance=gate,
                ragged=ragged,
                name=name,
                out=out,
            ),
            engine.identity(),
            f"verify {name}",
            proves=candidate,
        )
        return Proof(name, action)

    def evaluate(
        self, spec: AccuracySpec, exported: Action, candidate: Action, prepared: Action, engine: Engine, name: str
    ) -> Proof:
        """The accuracy gate; an engine that can't be executed is measured by the graph it was compiled from."""
        dataset, cpu = DATASETS.get(spec.dataset.kind), ENGINES.get("onnxruntime")
        folder = self.recipe.folder
        action = Action(
            "evaluate",
            evaluate.VERSION,
            {
                "metric": spec.metric,
                "max_drop": spec.max_drop,
                "length": self.length,
                "pads": self.pads,
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
                task=self.task,
                metric=(spec.metric, METRICS[spec.metric]),
                max_drop=spec.max_drop,
                length=self.length,
                pad_id=self.pad_id,
                name=name,
                out=out,
            ),
            f"{engine.identity()} {identity_of('scipy', 'tokenizers', hint=_BUILD_HINT)}",
            f"{spec.metric} of {name}",
            proves=candidate,
        )
        return Proof(name, action)

    def _calibration(self, spec: CalibrationSpec, prepared: Action) -> Action:
        texts = path_from_location(spec.texts, self.recipe.folder)
        if not texts.is_file():
            raise RecipeError(f"calibration texts {texts} aren't there", hint="Correct calibration.texts.")
        return Action(
            "calibration",
            calibrate.VERSION,
            {"samples": spec.samples, "length": self.length, "pad_id": self.pad_id},
            {"texts": digest_of_file(texts), "tokenizer": prepared},
            lambda paths, out: calibrate.calibration_from_texts(
                texts, paths["tokenizer"], samples=spec.samples, length=self.length, pad_id=self.pad_id, out=out
            ),
            identity_of("tokenizers", hint=_BUILD_HINT),
            f"{spec.samples} calibration texts",
        )


def _check_length(length: int, positions: object) -> None:
    if isinstance(positions, int) and length > positions:
        raise RecipeError(
            f"export.max_length is {length}, but the model has {positions} positions",
            hint=f"Set export.max_length to {positions} or less.",
            field="export.max_length",
        )
