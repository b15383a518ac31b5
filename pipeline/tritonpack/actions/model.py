"""What all targets of a recipe share: the model, its tokenizer, real rows, and PyTorch's own answers."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache, cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tritonpack.compressions import COMPRESSIONS
from tritonpack.core.action import Action
from tritonpack.core.errors import RecipeError
from tritonpack.core.model import ModelTraits, RaggedAxis
from tritonpack.core.versions import identity_of
from tritonpack.families import Family, family_of
from tritonpack.inputs import INPUTS, Input, Sample
from tritonpack.sources import SOURCES, Located
from tritonpack.stages import calibrate, compress, export, observe, tokenizer
from tritonpack.stages.answers import prepared_from_requests
from tritonpack.stages.assemble import steps_of
from tritonpack.stages.calibrate import Part, read_batches
from tritonpack.stages.fit import check_head, check_length
from tritonpack.stages.reference import read_reference
from tritonpack.tasks import TASKS, Task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import numpy as np

    from tritonpack.actions.data import Rows
    from tritonpack.core.runner import Observer
    from tritonpack.core.tensors import Tensors
    from tritonpack.recipe import Recipe
    from tritonpack.repository.ensemble import Steps
    from tritonpack.stages.answers import Prepared

BUILD_HINT = "pip install 'tritonpack[build]'"


class ModelActions:
    """The actions that are the same for every target; each is made once.

    Args:
        recipe: what to build.
        rows: the recipe's real rows.
        observer: told how far a training is.

    Raises:
        SourceError: the model isn't there.
        RecipeError: the model doesn't fit the recipe.
    """

    def __init__(self, recipe: Recipe, rows: Rows, observer: Observer | None = None) -> None:
        self.recipe = recipe
        self._observer = observer
        self.rows = rows
        self.task: Task = TASKS.get(recipe.task.kind)
        self.input: Input = INPUTS.get(recipe.given.kind)
        self.source = SOURCES.get(recipe.source.kind)
        self.located: Located = self.source.locate(recipe.source, recipe.folder)
        self.family: Family = family_of(self.located.config)
        check_head(recipe.task.kind, self.located.config)
        check_length(recipe.export.max_length, self.family.positions(self.located.config))
        one_text = len(self.input.public) == 1
        self.traits = ModelTraits(
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
        self.axes: tuple[RaggedAxis, ...] = tuple(
            replace(axis, dynamic=dynamic) for axis in self.input.axes(recipe.given, self.traits)
        )
        self.traced = export.Traced(
            sample=self._sample,
            inputs=self.input.graph_inputs(recipe.given, self.traits),
            outputs=self.task.outputs(recipe.task, self.traits),
            dynamic=dynamic,
            length=self.traits.max_length,
        )

    @cached_property
    def original(self) -> Action:
        """The graph of the model as it came, in FP32."""
        return self._export({})

    @cached_property
    def exported(self) -> Action:
        """The graph that is lowered: of the compressed model, where the recipe compresses it."""
        return self._export({"compressed": self._compressed}) if self._compressed is not None else self.original

    @cached_property
    def reference(self) -> Action:
        """PyTorch's answers to inputs of every shape, drawn at random."""
        return Action(
            "reference",
            export.REFERENCE_VERSION,
            self._shared,
            self._weights,
            lambda paths, out: export.reference_from_module(self._module(paths), self.traced, out=out),
            identity_of(*self.located.versions, hint=BUILD_HINT),
            "PyTorch's own answers",
        )

    @cached_property
    def probe(self) -> Action | None:
        """PyTorch's answers to real rows that calibration didn't see, where the recipe has real rows."""
        if self.recipe.calibration is None:
            return None
        return Action(
            "probe",
            export.REFERENCE_VERSION,
            self._shared,
            {**self._weights, "rows": self._batches(Part.PROBE)},
            lambda paths, out: export.answers_from_module(
                self._module(paths), self.traced, read_reference(paths["rows"]), out=out
            ),
            identity_of(*self.located.versions, hint=BUILD_HINT),
            "PyTorch's answers to real rows",
        )

    @cached_property
    def observations(self) -> Action:
        """The graph's values on the calibration rows; on random ones where the recipe has none."""
        masks = [axis.mask for axis in self.axes]
        rows = self.reference if self.recipe.calibration is None else self._batches(Part.CALIBRATION)
        return Action(
            "observe",
            observe.VERSION,
            {"masks": masks},
            {"onnx": self.exported, "calibration": rows},
            lambda paths, out: observe.observations_from_onnx(
                paths["onnx"], read_batches(paths["calibration"]), masks=masks, out=out
            ),
            identity_of("onnx", "onnxruntime", hint=BUILD_HINT),
            "the graph's values on real rows" if self.recipe.calibration else "the graph's values on random rows",
        )

    @cached_property
    def preprocessing(self) -> dict[str, Action]:
        """What the ensemble's first step reads: the prepared tokenizer, where the input needs one, and its facts."""
        if not self.input.needs_tokenizer:
            return {}
        located, config = self.located, self.located.config
        if located.tokenizer_digest is None:
            raise RecipeError(
                f"input {self.recipe.given.kind} needs a tokenizer, and the source names none",
                hint="Say source: {tokenizer: DIRECTORY} in the recipe.",
                field="source.tokenizer",
            )
        digest = located.tokenizer_digest

        def prepared(out: Path) -> dict[str, Any]:
            trusted = located.trust_remote_code
            with located.tokenizer() as directory:
                return tokenizer.tokenizer_from_directory(directory, config, out, trust_remote_code=trusted)

        def described(out: Path) -> dict[str, Any]:
            with TemporaryDirectory() as folder:
                facts = prepared(Path(folder, "tokenizer.json"))
            out.write_text(json.dumps(facts, sort_keys=True))
            return {}

        def action(stage: str, run: Callable[[Path], dict[str, Any]], description: str) -> Action:
            return Action(
                stage,
                tokenizer.VERSION,
                {"pad_token_id": config.get("pad_token_id"), "vocab_size": config.get("vocab_size")},
                {"tokenizer": digest},
                lambda _, out: run(out),
                identity_of("tokenizers", "transformers", hint=BUILD_HINT),
                description,
            )

        return {
            "tokenizer": action("tokenizer", prepared, "tokenizer, prepared for serving"),
            "tokenizer_facts": action("tokenizer_facts", described, "what the tokenizer's file doesn't say"),
        }

    @property
    def tokenizer(self) -> Action | None:
        """The model's tokenizer, prepared for serving, where the input reads one."""
        return self.preprocessing.get("tokenizer")

    def steps(self, paths: Mapping[str, Path]) -> Steps:
        """The steps around the graph, given the artifacts of `preprocessing`."""
        facts = paths.get("tokenizer_facts")
        return steps_of(
            self.input,
            self.recipe.given,
            self.traits,
            {} if facts is None else json.loads(facts.read_text(encoding="utf-8")),
            self.task.answer(self.recipe.task, self.traits),
            tuple(self.traced.outputs),
        )

    def prepared(self, requests: Sequence[Tensors], paths: Mapping[str, Path]) -> Prepared:
        """Requests after the ensemble's first step, given the artifacts of `preprocessing`."""
        names = [spec.name for spec in self.traced.inputs]
        return prepared_from_requests(requests, self.steps(paths), paths.get("tokenizer"), names)

    @property
    def shape(self) -> dict[str, Any]:
        """What decides how rows reach the graph; part of the keys of whatever sends it real ones."""
        return {
            "input": self.recipe.given.model_dump(mode="json"),
            "input_version": self.input.version,
            "input_parameters": self.input.parameters(self.recipe.given, self.traits),
            "axes": [axis.to_json() for axis in self.axes],
        }

    def _export(self, compressed: Mapping[str, Action]) -> Action:
        opset = self.recipe.export.opset
        return Action(
            "export",
            export.EXPORT_VERSION,
            {**self._shared, "opset": opset},
            {"weights": self.located.weights_digest, **compressed},
            lambda paths, out: export.onnx_from_module(self._module(paths), self.traced, opset=opset, out=out),
            identity_of(*self.located.versions, "onnx", "onnxscript", hint=BUILD_HINT),
            "PyTorch -> ONNX",
        )

    @cached_property
    def _compressed(self) -> Action | None:
        """The last step of compression; each starts from the one before."""
        last: Action | None = None
        for number, options in enumerate(self.recipe.compress):
            last = self._compression(number, options, last)
        return last

    def _compression(self, number: int, options: Any, before: Action | None) -> Action:
        kind = COMPRESSIONS.get(options.kind)
        inputs: dict[str, Action | str] = {"weights": self.located.weights_digest}
        if before is not None:
            inputs["compressed"] = before
        if kind.needs_data(options):
            inputs["rows"] = self._batches(Part.TRAINING)
        steps = self._compression_steps()

        def progress(done: int, total: int, loss: float) -> None:
            del loss
            if self._observer is not None:
                self._observer.advanced(action, done, total)

        def run(paths: Mapping[str, Path], out: Path) -> dict[str, Any]:
            module = compress.load_compressed(self._load(), steps[:number], paths.get("compressed"))
            batches: list[Tensors] = read_batches(paths["rows"]) if "rows" in paths else []
            names = [spec.name for spec in self.traced.inputs]
            return compress.weights_from_compression(
                module, self._original(), kind, options, batches, names, self.traced.outputs, out=out, progress=progress
            )

        action = Action(
            "compress",
            compress.VERSION,
            {
                **self._shared,
                "steps": [spec.model_dump(mode="json") for spec in self.recipe.compress[: number + 1]],
                "versions": [COMPRESSIONS.get(spec.kind).version for spec in self.recipe.compress[: number + 1]],
            },
            inputs,
            run,
            identity_of(*self.located.versions, *kind.packages, hint=BUILD_HINT),
            f"compress: {options.kind}",
        )
        return action

    def _compression_steps(self) -> list[tuple[Any, Any]]:
        return [(COMPRESSIONS.get(options.kind), options) for options in self.recipe.compress]

    @property
    def _weights(self) -> dict[str, Action | str]:
        compressed = {} if self._compressed is None else {"compressed": self._compressed}
        return {"weights": self.located.weights_digest, **compressed}

    @property
    def _shared(self) -> dict[str, Any]:
        """What decides the graph beside its weights."""
        recipe = self.recipe
        return {
            "task": recipe.task.model_dump(mode="json"),
            "task_version": self.task.version,
            "input": recipe.given.model_dump(mode="json"),
            "input_version": self.input.version,
            "family_version": self.family.version,
            "dynamic_axes": list(recipe.export.dynamic_axes),
            "max_length": self.traits.max_length,
            "mask_token_id": self.traits.mask_token_id,
        }

    def _module(self, paths: Mapping[str, Path]) -> Any:
        """The task's module: as it came, or with what compression made of it; loaded once for all who read it."""
        return self._student(paths["compressed"]) if "compressed" in paths else self._original()

    def _load(self) -> Any:
        auto_class = self.task.auto_class
        model = self.source.load(
            self.located,
            self.recipe.source,
            auto_class=self.family.auto_classes.get(auto_class, auto_class),
            optional_weights=self.task.optional_weights,
        )
        names = [spec.name for spec in self.traced.inputs]
        return self.task.wrap(self.family.adapt(model), names, self.recipe.task, self.traits)

    @cached_property
    def _original(self) -> Any:
        return cache(self._load)

    @cached_property
    def _student(self) -> Any:
        return cache(lambda weights: compress.load_compressed(self._load(), self._compression_steps(), weights))

    def _batches(self, part: Part) -> Action:
        """Real rows as batches of the graph's inputs."""
        digest, samples, requests = self.rows.of(part)

        def run(paths: Mapping[str, Path], out: Path) -> dict[str, Any]:
            prepared = self.prepared(requests(), paths)
            return calibrate.batches_from_prepared(prepared, part=part, axes=self.axes, samples=samples, out=out)

        return Action(
            part.value,
            calibrate.VERSION,
            {"samples": samples, "part": part.value, **self.shape},
            {"data": digest, **self.preprocessing},
            run,
            identity_of("tokenizers", hint=BUILD_HINT),
            f"{part.value} rows",
        )

    def _sample(self, rng: np.random.Generator, batch: int, length: int) -> Sample:
        sample = self.input.sample(rng, batch, length, self.recipe.given, self.traits)
        return replace(sample, inputs=self.task.prepare(rng, sample.inputs, self.traits))
