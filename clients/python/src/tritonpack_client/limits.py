"""What a model takes and gives, as data: read once from its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class TensorSpec:
    """One input or output.

    Attributes:
        name: the tensor's name.
        datatype: Triton's name of the type: ``BYTES``, ``FP32``, ``INT64`` ...
        dims: without the batch dimension; -1 stands for any size.
    """

    name: str
    datatype: str
    dims: tuple[int, ...]


@dataclass(frozen=True)
class ModelLimits:
    """What one request to a model may hold.

    Attributes:
        model: the model's name.
        max_batch_size: the most rows of one request; 0 if the model has no batch dimension.
        inputs: in the order of the configuration.
        outputs: in the order of the configuration.
        stateful: requests belong to sequences, and the model remembers what came before.
        decoupled: a request may have any number of answers; `stream` gives them.
    """

    model: str
    max_batch_size: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    stateful: bool = False
    decoupled: bool = False

    def output(self, name: str) -> TensorSpec | None:
        """Find an output by its name."""
        return next((spec for spec in self.outputs if spec.name == name), None)

    def input(self, name: str) -> TensorSpec | None:
        """Find an input by its name."""
        return next((spec for spec in self.inputs if spec.name == name), None)


@dataclass(frozen=True)
class ModelState:
    """One model of the server's repository.

    Attributes:
        name: the model's name.
        version: the version, as text; empty while no version was loaded.
        state: ``READY``, ``LOADING``, ``UNAVAILABLE`` ... ; empty while it was never loaded.
        reason: Triton's own words when the state is not ``READY``.
    """

    name: str
    version: str
    state: str
    reason: str


def limits_from_config(config: Any) -> ModelLimits:
    """Read limits from Triton's ``ModelConfig`` message."""
    from tritonclient.grpc import model_config_pb2

    def spec(tensor: Any) -> TensorSpec:
        datatype = model_config_pb2.DataType.Name(tensor.data_type).removeprefix("TYPE_")
        return TensorSpec(tensor.name, "BYTES" if datatype == "STRING" else datatype, tuple(tensor.dims))

    return ModelLimits(
        model=config.name,
        max_batch_size=config.max_batch_size,
        inputs=tuple(spec(tensor) for tensor in config.input),
        outputs=tuple(spec(tensor) for tensor in config.output),
        stateful=config.HasField("sequence_batching"),
        decoupled=config.model_transaction_policy.decoupled,
    )
