"""The models that serve one recipe, and the ensemble that joins them.

pre-processing (Python) -> encoder (the engine) -> post-processing (Python), where the task has one
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tritonpack.repository.config import (
    DATA_TYPES,
    BatchInput,
    BatchInputKind,
    DataType,
    DynamicBatching,
    EnsembleScheduling,
    EnsembleStep,
    InstanceGroup,
    InstanceKind,
    ModelConfig,
    ModelInput,
    ModelOutput,
    ModelWarmup,
    Parameter,
    QueuePolicy,
    ResponseCache,
    Specific,
    VersionPolicy,
    WarmupInput,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tritonpack.core.model import RaggedAxis
    from tritonpack.core.tensors import TensorSpec

_WARMUP_LENGTH = 8


@dataclass(frozen=True)
class Queue:
    """How many requests may wait for the encoder, and how long; the recipe's ``serving.queue``, field for field."""

    max_queue_size: int
    timeout_us: int
    priority_levels: int
    default_priority_level: int


@dataclass(frozen=True)
class Serving:
    """How the models are served; the recipe's ``serving``, field for field. Without ``queue`` any number may wait."""

    max_batch: int
    queue_delay_us: int
    instances: int
    tokenizer_instances: int
    postprocessor_instances: int
    threads: int | None
    response_cache: bool
    warmup: bool
    queue: Queue | None = None
    call_cost: float | None = None


@dataclass(frozen=True)
class Encoder:
    """An engine file and what it takes and gives.

    Args:
        triton: the fields that name its backend.
        file_name: in the version's folder.
        pinned: the version to serve; None for the latest.
        inputs: the padded inputs of the graph, without what the batcher adds.
        outputs: the graph's outputs.
        axes: the axes along which rows differ in length.
    """

    triton: Mapping[str, str]
    file_name: str
    pinned: int | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    axes: tuple[RaggedAxis, ...]


@dataclass(frozen=True)
class PythonStage:
    """A step of the ensemble that runs Python code, before or after the encoder.

    Args:
        suffix: of its model's name: ``<recipe>_<suffix>``.
        file: its code, ``python_models/<file>.py``.
        inputs: what it takes.
        outputs: what it gives.
        parameters: what steers it.
        reads_tokenizer: whether ``tokenizer.json`` lies beside its code.
    """

    suffix: str
    file: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: Mapping[str, str]
    reads_tokenizer: bool

    def model(self, recipe: str) -> str:
        """Its model's name."""
        return f"{recipe}_{self.suffix}"


@dataclass(frozen=True)
class Steps:
    """The steps of one recipe's ensemble around the encoder.

    Args:
        before: makes the graph's inputs of what an application sends.
        after: makes answers of the graph's outputs; None where they are answers already.
        renames: without ``after``: public output -> the graph's.
        rows_per_request: the most rows of the graph that one row of a request can become.
    """

    before: PythonStage
    after: PythonStage | None
    renames: Mapping[str, str]
    rows_per_request: int

    def max_requests(self, serving: Serving) -> int:
        """The most rows of one request that the encoder can take at once."""
        return max(1, serving.max_batch // self.rows_per_request)


def encoder_name(name: str) -> str:
    """The encoder stage's model name."""
    return f"{name}_encoder"


def stage_config(name: str, serving: Serving, stage: PythonStage, *, max_batch: int, instances: int) -> ModelConfig:
    """A Python stage; requests of any shape reach it together."""
    fixed = all(isinstance(axis, int) for spec in stage.inputs for axis in spec.shape[1:])
    warm = {spec.name: WarmupInput(DATA_TYPES[spec.dtype], _dims(spec), zero_data=True) for spec in stage.inputs}
    return ModelConfig(
        name=stage.model(name),
        backend="python",
        max_batch_size=max_batch,
        input=tuple(
            ModelInput(spec.name, DATA_TYPES[spec.dtype], _dims(spec), allow_ragged_batch=-1 in _dims(spec))
            for spec in stage.inputs
        ),
        output=tuple(ModelOutput(spec.name, DATA_TYPES[spec.dtype], _dims(spec)) for spec in stage.outputs),
        instance_group=(InstanceGroup(instances, InstanceKind.CPU),),
        dynamic_batching=DynamicBatching(),
        parameters={key: Parameter(value) for key, value in stage.parameters.items()},
        model_warmup=_warmup(serving, warm) if fixed else (),
    )


def encoder_config(name: str, serving: Serving, encoder: Encoder) -> ModelConfig:
    """Ragged rows in, one answer per row out.

    Source of the batcher's inputs:
    https://github.com/triton-inference-server/server/blob/v2.51.0/docs/user_guide/ragged_batching.md
    """
    on_gpu = "platform" in encoder.triton
    ragged = {name for axis in encoder.axes for name in axis.pads}
    parameters = {f"row_mask.{axis.mask}": Parameter(",".join(axis.pads)) for axis in encoder.axes}
    if serving.threads is not None and not on_gpu:
        parameters["intra_op_thread_count"] = Parameter(str(serving.threads))
    if serving.call_cost is not None and not on_gpu:
        parameters["call_cost"] = Parameter(f"{serving.call_cost:g}")
    # Zeros are padding to the mask, which leaves a row of one element.
    takes_one = all(axis.least == 1 for axis in encoder.axes)
    return ModelConfig(
        name=encoder_name(name),
        backend=encoder.triton.get("backend", ""),
        platform=encoder.triton.get("platform", ""),
        max_batch_size=serving.max_batch,
        default_model_filename=encoder.file_name,
        version_policy=None if encoder.pinned is None else VersionPolicy(Specific((encoder.pinned,))),
        input=tuple(
            ModelInput(
                spec.name,
                DATA_TYPES[spec.dtype],
                (-1,) if spec.name in ragged else _dims(spec),
                allow_ragged_batch=spec.name in ragged,
            )
            for spec in encoder.inputs
        ),
        output=tuple(ModelOutput(spec.name, DATA_TYPES[spec.dtype], _dims(spec)) for spec in encoder.outputs),
        batch_input=tuple(batch_input for axis in encoder.axes for batch_input in _batch_inputs(axis)),
        instance_group=(InstanceGroup(serving.instances, InstanceKind.GPU if on_gpu else InstanceKind.CPU),),
        dynamic_batching=_batching(serving),
        parameters=parameters,
        model_warmup=_warmup(
            serving,
            {
                spec.name: WarmupInput(
                    DATA_TYPES[spec.dtype], (_WARMUP_LENGTH,) if spec.name in ragged else _dims(spec), zero_data=True
                )
                for spec in encoder.inputs
            },
        )
        if takes_one
        else (),
    )


def ensemble_config(name: str, serving: Serving, encoder: Encoder, steps: Steps) -> ModelConfig:
    """What applications call: the public inputs of the first step to the public outputs of the last."""
    graph_inputs = {spec.name: spec.name for spec in encoder.inputs}
    graph_outputs = {spec.name: spec for spec in encoder.outputs}
    before, after = steps.before, steps.after
    first = EnsembleStep(before.model(name), -1, _same(before.inputs), _same(before.outputs))
    if after is None:
        answers = tuple((public, graph_outputs[inner]) for public, inner in steps.renames.items())
        last = [EnsembleStep(encoder_name(name), -1, graph_inputs, {i: public for public, i in steps.renames.items()})]
    else:
        answers = tuple((spec.name, spec) for spec in after.outputs)
        last = [
            EnsembleStep(encoder_name(name), -1, graph_inputs, _same(encoder.outputs)),
            EnsembleStep(after.model(name), -1, _same(after.inputs), _same(after.outputs)),
        ]
    return ModelConfig(
        name=name,
        platform="ensemble",
        max_batch_size=steps.max_requests(serving),
        input=tuple(ModelInput(spec.name, DATA_TYPES[spec.dtype], _dims(spec)) for spec in before.inputs),
        output=tuple(ModelOutput(public, DATA_TYPES[spec.dtype], _dims(spec)) for public, spec in answers),
        ensemble_scheduling=EnsembleScheduling((first, *last)),
        response_cache=ResponseCache(enable=True) if serving.response_cache else None,
    )


def _same(specs: tuple[TensorSpec, ...]) -> dict[str, str]:
    return {spec.name: spec.name for spec in specs}


def _dims(spec: TensorSpec) -> tuple[int, ...]:
    """The shape of one row; -1 for an axis of any size."""
    return tuple(axis if isinstance(axis, int) else -1 for axis in spec.shape[1:])


def _batching(serving: Serving) -> DynamicBatching:
    """The encoder's batcher.

    Every level has its policy in full: a level without one lives in Triton only while a request is in it, and its end
    can leave the batcher with a pointer to nothing (``PriorityQueue::RejectTimeoutRequests``).
    """
    queue = serving.queue
    if queue is None:
        return DynamicBatching(serving.queue_delay_us)
    policy = QueuePolicy(
        default_timeout_microseconds=queue.timeout_us, allow_timeout_override=True, max_queue_size=queue.max_queue_size
    )
    return DynamicBatching(
        serving.queue_delay_us,
        priority_levels=queue.priority_levels,
        default_priority_level=queue.default_priority_level,
        default_queue_policy=policy,
        priority_queue_policy=dict.fromkeys(range(1, queue.priority_levels + 1), policy),
    )


def _batch_inputs(axis: RaggedAxis) -> tuple[BatchInput, BatchInput]:
    first = next(iter(axis.pads))
    return (
        BatchInput(BatchInputKind.ITEM_SHAPE, (axis.length_input,), DataType.INT32, (first,)),
        BatchInput(BatchInputKind.MAX_ELEMENT_COUNT_AS_SHAPE, (axis.longest_input,), DataType.FP32, (first,)),
    )


def _warmup(serving: Serving, inputs: dict[str, WarmupInput]) -> tuple[ModelWarmup, ...]:
    return (ModelWarmup("one row", 1, inputs),) if serving.warmup else ()
