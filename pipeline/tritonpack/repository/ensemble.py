"""The models that serve one recipe: tokenizer -> encoder, and the ensemble that joins them."""

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
    ResponseCache,
    Specific,
    VersionPolicy,
    WarmupInput,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tritonpack.core.tensors import TensorSpec

_WARMUP_TOKENS = 8


@dataclass(frozen=True)
class Serving:
    """How the models are served; the recipe's ``serving``, field for field."""

    max_batch: int
    queue_delay_us: int
    instances: int
    tokenizer_instances: int
    threads: int | None
    response_cache: bool
    warmup: bool


@dataclass(frozen=True)
class Encoder:
    """An engine file and what it takes and gives.

    Args:
        triton: the fields that name its backend.
        file_name: in the version's folder.
        pinned: the version to serve; None for the latest.
        inputs: the padded inputs ``(batch, sequence)`` of the graph, without what the batcher adds.
        outputs: the graph's outputs.
        row_length: name of the batcher's input with each row's length.
        longest_row: name of the batcher's input whose shape is the longest row.
        mask: the input that says which tokens are padding.
    """

    triton: Mapping[str, str]
    file_name: str
    pinned: int | None
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    row_length: str
    longest_row: str
    mask: str


def tokenizer_name(name: str) -> str:
    """The tokenizer stage's model name."""
    return f"{name}_tokenizer"


def encoder_name(name: str) -> str:
    """The encoder stage's model name."""
    return f"{name}_encoder"


def tokenizer_config(
    name: str, serving: Serving, inputs: tuple[TensorSpec, ...], *, max_length: int, pad_id: int
) -> ModelConfig:
    """Texts in, one row of ids per text out, padded only to the longest of the same request."""
    return ModelConfig(
        name=tokenizer_name(name),
        backend="python",
        max_batch_size=serving.max_batch,
        input=(ModelInput("text", DataType.STRING, (1,)),),
        output=tuple(ModelOutput(spec.name, DATA_TYPES[spec.dtype], (-1,)) for spec in inputs),
        instance_group=(InstanceGroup(serving.tokenizer_instances, InstanceKind.CPU),),
        dynamic_batching=DynamicBatching(),
        parameters={
            "max_length": Parameter(str(max_length)),
            "pad_id": Parameter(str(pad_id)),
        },
        model_warmup=_warmup(serving, {"text": WarmupInput(DataType.STRING, (1,), zero_data=True)}),
    )


def encoder_config(name: str, serving: Serving, encoder: Encoder) -> ModelConfig:
    """Ragged rows in, one answer per row out.

    Source of the batcher's inputs:
    https://github.com/triton-inference-server/server/blob/v2.51.0/docs/user_guide/ragged_batching.md
    """
    first = encoder.inputs[0].name
    on_gpu = "platform" in encoder.triton
    parameters = {"row_mask": Parameter(encoder.mask)}
    if serving.threads is not None and not on_gpu:
        parameters["intra_op_thread_count"] = Parameter(str(serving.threads))
    return ModelConfig(
        name=encoder_name(name),
        backend=encoder.triton.get("backend", ""),
        platform=encoder.triton.get("platform", ""),
        max_batch_size=serving.max_batch,
        default_model_filename=encoder.file_name,
        version_policy=None if encoder.pinned is None else VersionPolicy(Specific((encoder.pinned,))),
        input=tuple(
            ModelInput(spec.name, DATA_TYPES[spec.dtype], (-1,), allow_ragged_batch=True) for spec in encoder.inputs
        ),
        output=tuple(
            ModelOutput(
                spec.name, DATA_TYPES[spec.dtype], tuple(a if isinstance(a, int) else -1 for a in spec.shape[1:])
            )
            for spec in encoder.outputs
        ),
        batch_input=(
            BatchInput(BatchInputKind.ITEM_SHAPE, (encoder.row_length,), DataType.INT32, (first,)),
            BatchInput(BatchInputKind.MAX_ELEMENT_COUNT_AS_SHAPE, (encoder.longest_row,), DataType.FP32, (first,)),
        ),
        instance_group=(InstanceGroup(serving.instances, InstanceKind.GPU if on_gpu else InstanceKind.CPU),),
        dynamic_batching=DynamicBatching(serving.queue_delay_us),
        parameters=parameters,
        model_warmup=_warmup(
            serving,
            {
                spec.name: WarmupInput(DATA_TYPES[spec.dtype], (_WARMUP_TOKENS,), zero_data=True)
                for spec in encoder.inputs
            },
        ),
    )


def ensemble_config(name: str, serving: Serving, encoder: Encoder, answers: Mapping[str, str]) -> ModelConfig:
    """What applications call: ``text (batch, 1) -> answers``.

    Args:
        name: the ensemble's name.
        serving: how it is served.
        encoder: the engine behind it.
        answers: public output name -> the encoder's output.
    """
    outputs = {spec.name: spec for spec in encoder.outputs}
    tokens = {spec.name: spec.name for spec in encoder.inputs}
    return ModelConfig(
        name=name,
        platform="ensemble",
        max_batch_size=serving.max_batch,
        input=(ModelInput("text", DataType.STRING, (1,)),),
        output=tuple(
            ModelOutput(
                public,
                DATA_TYPES[outputs[inner].dtype],
                tuple(axis if isinstance(axis, int) else -1 for axis in outputs[inner].shape[1:]),
            )
            for public, inner in answers.items()
        ),
        ensemble_scheduling=EnsembleScheduling(
            (
                EnsembleStep(tokenizer_name(name), -1, {"text": "text"}, tokens),
                EnsembleStep(encoder_name(name), -1, tokens, {inner: public for public, inner in answers.items()}),
            )
        ),
        response_cache=ResponseCache(enable=True) if serving.response_cache else None,
    )


def _warmup(serving: Serving, inputs: dict[str, WarmupInput]) -> tuple[ModelWarmup, ...]:
    return (ModelWarmup("one row", 1, inputs),) if serving.warmup else ()
