"""The parts of a recipe. What a source, a task or a data set may be told is declared in its own file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, Union

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, WithJsonSchema, model_validator

from tritonpack import compressions, engines, inputs, precisions, sources, tasks
from tritonpack.core.errors import ConfigurationError
from tritonpack.evaluation import datasets

if TYPE_CHECKING:
    from tritonpack.core.registry import Registry

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
    DatasetSpec = datasets.DatasetOptions
    CompressionSpec = compressions.CompressionOptions
else:
    SourceSpec = _one_of(sources.SOURCES)
    TaskSpec = _one_of(tasks.TASKS)
    InputSpec = _one_of(inputs.INPUTS)
    DatasetSpec = _one_of(datasets.DATASETS)
    CompressionSpec = _one_of(compressions.COMPRESSIONS)


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


PrecisionName = Annotated[str, *_registered(precisions.PRECISIONS)]


class QuantizationSpec(Spec):
    """Which products become INT8, and with which ranges."""

    layers: Literal["search", "all"] = Field(
        "search",
        description="`search`: as many as the target's gates allow, found by measuring; `all`: every one.",
    )
    trials: int = Field(64, ge=1, le=10000, description="How many rewritten graphs a search may measure.")
    calibrator: precisions.Calibrator = Field(
        precisions.Calibrator.SEARCH,
        description="How the range of an activation follows from what was seen; `search`: for each, the one that "
        "harms its products least.",
    )
    smoothing: float | None = Field(
        0.8,
        ge=0,
        le=1,
        description="Greatest strength (SmoothQuant's alpha) with which outliers move from an activation into its "
        "weights, where that pays; null: never.",
    )


class TargetSpec(Spec):
    """Where and how the model runs: an engine, a precision and the shapes to compile for."""

    engine: Annotated[str, *_registered(engines.ENGINES)] = Field(description="What runs the graph.")
    precision: PrecisionName = Field(description="How the graph is rewritten.")
    quantization: QuantizationSpec = QuantizationSpec()
    fallback: tuple[PrecisionName, ...] = Field(
        (), description="Safer precisions, the best first: what to build when a gate refuses the one before."
    )
    profile: ProfileSpec = ProfileSpec()

    @property
    def precisions(self) -> tuple[str, ...]:
        """What may be built, in the order in which it is tried."""
        return (self.precision, *self.fallback)

    @model_validator(mode="after")
    def _quantizes(self) -> Self:
        if "quantization" in self.model_fields_set and not any(
            precisions.PRECISIONS.get(name).searchable for name in self.precisions
        ):
            raise ValueError(f"quantization is given, but precision {self.precision} leaves no product to choose")
        return self


class CalibrationSpec(Spec):
    """Real rows, as applications send them: ranges are observed on some, candidates verified on others."""

    file: str | None = Field(
        None,
        description="A path beside the recipe, or package:NAME/PATH. For text one row a line, the texts of a pair "
        "separated by a tabulator, or .jsonl with the input's names; for waveforms an .npy array (n, samples).",
    )
    dataset: DatasetSpec | None = Field(None, description="In place of a file; its labels aren't looked at.")
    samples: int = Field(256, ge=8, le=10000, description="How many rows, spread over their lengths.")

    @model_validator(mode="after")
    def _has_one_origin(self) -> Self:
        if (self.file is None) == (self.dataset is None):
            raise ValueError("it takes either file or dataset")
        return self


class ParitySpec(Spec):
    """The numerical budget of one target; what isn't given is the precision's own."""

    max_abs_error: float | None = Field(None, gt=0, description="Greatest absolute error of any element.")
    min_cosine: float | None = Field(None, ge=-1, le=1, description="Least cosine of any row.")
    mean_cosine: float | None = Field(None, ge=-1, le=1, description="Least mean cosine over the rows.")


class AccuracySpec(Spec):
    """The task's own metric on labelled data; every target is measured against FP32."""

    dataset: DatasetSpec
    metric: str | None = Field(None, description="What is measured; null: what is usual for the task and the data.")
    max_drop: float = Field(ge=0, description="How far the metric may fall below FP32's, in its own units.")


class GatesSpec(Spec):
    """Budgets that a candidate must keep, or the build falls back, or stops with exit code 4."""

    accuracy: AccuracySpec | None = None
    parity: dict[str, ParitySpec] = Field(default={}, description="By target name: the numerical budget.")
    min_speedup: float | None = Field(
        1.05,
        gt=0,
        description="How many times as fast as the next safer precision (the target's fallback, or fp32) a target must "
        "be where this machine can run it; null: slower will do.",
    )


class QueueSpec(Spec):
    """What may wait for the encoder: the rest is refused at once, with UNAVAILABLE."""

    max_queue_size: int = Field(256, ge=1, le=1_000_000, description="Most waiting requests of one priority level.")
    timeout_us: int = Field(
        10_000_000,
        ge=1000,
        le=3_600_000_000,
        description="How long a request may wait before it is refused; its own `timeout` may shorten that.",
    )
    priority_levels: int = Field(
        2, ge=2, le=16, description="Levels that a request's `priority` may name; 1 is served first."
    )
    default_priority_level: int = Field(2, ge=1, description="The level of a request that names none.")

    @model_validator(mode="after")
    def _has_its_default_level(self) -> Self:
        if self.default_priority_level > self.priority_levels:
            raise ValueError(
                f"default_priority_level is {self.default_priority_level}, but priority_levels is "
                f"{self.priority_levels}: name one of 1 to {self.priority_levels}"
            )
        return self


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
    queue: QueueSpec | None = Field(QueueSpec(), description="Bounds of the encoder's queue; null: none.")
    call_cost: float | None = Field(
        None,
        ge=0,
        le=1e9,
        description="How a batch of rows of different length is cut into calls of the engine, where ONNX Runtime runs "
        "in our backend: what one more call may cost, in cells of padding that it saves. A large number never cuts; "
        "null: what is measured when the model is loaded.",
    )


class Recipe(Spec):
    """What to build. Paths in it are relative to the recipe's folder."""

    name: str = Field(pattern=NAME_PATTERN, description="Name of the served ensemble.")
    description: str = Field("", description="For people; changes nothing.")
    source: SourceSpec
    task: TaskSpec
    input: InputSpec | None = Field(None, description="What applications send; null: what the task usually takes.")
    compress: tuple[CompressionSpec, ...] = Field(
        (), description="Steps that make the model smaller, before the export."
    )
    export: ExportSpec = ExportSpec()
    targets: dict[Annotated[str, Field(pattern=NAME_PATTERN)], TargetSpec] = Field(min_length=1)
    calibration: CalibrationSpec | None = None
    training: CalibrationSpec | None = Field(None, description="Unlabelled rows that `compress` learns from.")
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

    def tolerance(self, target: str, precision: str | None = None) -> Tolerance:
        """The gate of a target: the precision's own, with the recipe's bounds in place of it."""
        own = precisions.PRECISIONS.get(precision or self.targets[target].precision).tolerance
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
    def _pruned_last(self) -> Self:
        kinds = [step.kind for step in self.compress]
        if "prune" in kinds and "distill" in kinds[kinds.index("prune") :]:
            raise ValueError("compress: distill after prune would fill the zeros: prune last")
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
            for precision in target.precisions:
                needs_data = precisions.PRECISIONS.get(precision).data is precisions.Data.NEEDED
                if needs_data and self.calibration is None:
                    raise ValueError(
                        f"targets.{name}.precision is {precision}, which needs calibration data: add "
                        "calibration: {file: FILE}"
                    )
        return self
