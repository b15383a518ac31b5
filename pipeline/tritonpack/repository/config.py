"""Triton's model configuration as a typed value: the part of it that tritonpack writes.

Field names are those of Triton's ``ModelConfig`` message, so that `pbtxt.render` and `pbtxt.parse`
need no table of their own.

Source: https://github.com/triton-inference-server/common/blob/r24.10/protobuf/model_config.proto
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class DataType(StrEnum):
    """Element types."""

    BOOL = "TYPE_BOOL"
    INT8 = "TYPE_INT8"
    INT32 = "TYPE_INT32"
    INT64 = "TYPE_INT64"
    FP16 = "TYPE_FP16"
    FP32 = "TYPE_FP32"
    STRING = "TYPE_STRING"


DATA_TYPES = {
    "bool": DataType.BOOL,
    "int8": DataType.INT8,
    "int32": DataType.INT32,
    "int64": DataType.INT64,
    "float16": DataType.FP16,
    "float32": DataType.FP32,
    "bytes": DataType.STRING,
}
"""NumPy's names to Triton's."""


class BatchInputKind(StrEnum):
    """What the batcher tells a model about a ragged batch."""

    ITEM_SHAPE = "BATCH_ITEM_SHAPE"
    MAX_ELEMENT_COUNT_AS_SHAPE = "BATCH_MAX_ELEMENT_COUNT_AS_SHAPE"


class InstanceKind(StrEnum):
    """Where an instance runs."""

    AUTO = "KIND_AUTO"
    CPU = "KIND_CPU"
    GPU = "KIND_GPU"


@dataclass(frozen=True)
class ModelInput:
    """An input; ``dims`` leaves the batch axis out."""

    name: str
    data_type: DataType
    dims: tuple[int, ...]
    allow_ragged_batch: bool = False


@dataclass(frozen=True)
class ModelOutput:
    """An output; ``dims`` leaves the batch axis out."""

    name: str
    data_type: DataType
    dims: tuple[int, ...]


@dataclass(frozen=True)
class BatchInput:
    """An input that the batcher makes from another input's shapes."""

    kind: BatchInputKind
    target_name: tuple[str, ...]
    data_type: DataType
    source_input: tuple[str, ...]


@dataclass(frozen=True)
class InstanceGroup:
    """How many instances, and where."""

    count: int
    kind: InstanceKind = InstanceKind.AUTO


class TimeoutAction(StrEnum):
    """What becomes of a request that has waited too long."""

    REJECT = "REJECT"
    DELAY = "DELAY"


@dataclass(frozen=True)
class QueuePolicy:
    """How long a queue may become; zeros set no bound.

    ``allow_timeout_override`` lets a request's own timeout shorten ``default_timeout_microseconds``: it can't lengthen
    it, and means nothing where that is 0.

    Source: https://github.com/triton-inference-server/core/blob/r24.10/src/scheduler_utils.cc
    """

    timeout_action: TimeoutAction = TimeoutAction.REJECT
    default_timeout_microseconds: int = 0
    allow_timeout_override: bool = False
    max_queue_size: int = 0


@dataclass(frozen=True)
class DynamicBatching:
    """Requests are joined; the oldest waits ``max_queue_delay_microseconds`` at most for company.

    Each of the priority levels, of which 1 comes first, has a queue of its own.
    """

    max_queue_delay_microseconds: int = 0
    priority_levels: int = 0
    default_priority_level: int = 0
    default_queue_policy: QueuePolicy | None = None
    priority_queue_policy: dict[int, QueuePolicy] = field(default_factory=dict)


@dataclass(frozen=True)
class Specific:
    """The versions that are served."""

    versions: tuple[int, ...]


@dataclass(frozen=True)
class VersionPolicy:
    """Which versions of the model are served."""

    specific: Specific


@dataclass(frozen=True)
class ResponseCache:
    """Whether repeated requests are answered from the server's cache."""

    enable: bool


@dataclass(frozen=True)
class WarmupInput:
    """Zeros of one shape; strings are empty."""

    data_type: DataType
    dims: tuple[int, ...]
    zero_data: bool


@dataclass(frozen=True)
class ModelWarmup:
    """A request that is run before the model is ready."""

    name: str
    batch_size: int
    inputs: dict[str, WarmupInput]


@dataclass(frozen=True)
class EnsembleStep:
    """One model of an ensemble; the maps go from the model's tensor to the ensemble's."""

    model_name: str
    model_version: int
    input_map: dict[str, str]
    output_map: dict[str, str]


@dataclass(frozen=True)
class EnsembleScheduling:
    """The models that an ensemble runs."""

    step: tuple[EnsembleStep, ...]


@dataclass(frozen=True)
class Parameter:
    """A value that the backend reads."""

    string_value: str


@dataclass(frozen=True)
class ModelConfig:
    """One ``config.pbtxt``."""

    name: str
    backend: str = ""
    platform: str = ""
    max_batch_size: int = 0
    default_model_filename: str = ""
    version_policy: VersionPolicy | None = None
    input: tuple[ModelInput, ...] = ()
    output: tuple[ModelOutput, ...] = ()
    batch_input: tuple[BatchInput, ...] = ()
    instance_group: tuple[InstanceGroup, ...] = ()
    dynamic_batching: DynamicBatching | None = None
    ensemble_scheduling: EnsembleScheduling | None = None
    parameters: dict[str, Parameter] = field(default_factory=dict)
    model_warmup: tuple[ModelWarmup, ...] = ()
    response_cache: ResponseCache | None = None
