"""PyTorch to ONNX, and the reference that every later candidate is held against."""

from __future__ import annotations

import logging
import traceback
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import ExportError
from tritonpack.core.tensors import TensorSpec
from tritonpack.stages.reference import Case, write_reference

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from tritonpack.core.action import Facts
    from tritonpack.tasks import Task

EXPORT_VERSION = 1
REFERENCE_VERSION = 1

_TRACED_SHAPE = (3, 17)
_REFERENCE_SHAPES = ((1, 1), (1, 6), (2, 16), (5, 11), (8, 24), (3, 40), (4, 64))
"""(batch, length) of the reference inputs; none is the traced shape. The longest row is added."""


def onnx_from_module(
    module: Any, task: Task, config: dict[str, Any], *, opset: int, dynamic_axes: Sequence[str], length: int, out: Path
) -> Facts:
    """Export a task's module with dynamic axes and check the model that comes out.

    Args:
        module: what `Task.wrap` returned.
        task: gives the signature and the inputs to trace with.
        config: the model's own configuration.
        opset: ONNX operator set.
        dynamic_axes: names of the axes of any size; a fixed ``sequence`` has ``length`` tokens.
        length: greatest row length in tokens.
        out: the ONNX file to write.

    Returns:
        The graph's inputs and outputs with their shapes.

    Raises:
        ExportError: the exporter or the checker refuses the model.
    """
    import torch

    inputs, outputs = task.signature(config)
    batch, sequence = _TRACED_SHAPE
    traced = task.sample_inputs(
        np.random.default_rng(0), batch, sequence if "sequence" in dynamic_axes else length, config
    )
    axes = dict.fromkeys(dynamic_axes, torch.export.Dim.DYNAMIC)
    shapes = tuple({axis: axes[name] for axis, name in enumerate(spec.shape) if name in axes} for spec in inputs)
    with _quiet_exporter(), torch.no_grad():
        try:
            program = torch.onnx.export(
                module,
                tuple(torch.from_numpy(traced[spec.name]) for spec in inputs),
                dynamo=True,
                opset_version=opset,
                input_names=[spec.name for spec in inputs],
                output_names=[spec.name for spec in outputs],
                dynamic_shapes=shapes,
                verbose=False,
            )
        except Exception as error:  # the exporter raises whatever the model's code raises
            raise _export_error(error) from error
    model = _named(program.model_proto, inputs, outputs)
    specs = _checked(model, [spec.name for spec in outputs])
    out.write_bytes(model.SerializeToString(deterministic=True))
    return {"inputs": [spec.to_json() for spec in specs[0]], "outputs": [spec.to_json() for spec in specs[1]]}


def reference_from_module(
    module: Any, task: Task, config: dict[str, Any], *, dynamic_axes: Sequence[str], length: int, out: Path
) -> Facts:
    """Run the PyTorch module in FP32 over inputs that the task samples, and write both down.

    Raises:
        ExportError: the module fails on an input of an allowed shape.
    """
    import torch

    inputs, outputs = task.signature(config)
    rng = np.random.default_rng(1)
    shapes = [(batch, rows) for batch, rows in _REFERENCE_SHAPES if rows <= length]
    if "sequence" not in dynamic_axes:
        shapes = [(batch, length) for batch, _ in shapes]
    cases = []
    for batch, rows in [*shapes, (2, length)]:
        sample = task.sample_inputs(rng, batch, rows, config)
        with torch.no_grad():
            try:
                answer = module(*(torch.from_numpy(sample[spec.name]) for spec in inputs))
            except (RuntimeError, IndexError, ValueError) as error:
                raise ExportError(
                    f"the PyTorch model fails on a batch of {batch} rows of {rows} tokens: {error}",
                    hint="Is export.max_length within what the model's positions allow?",
                ) from error
        arrays = answer if isinstance(answer, tuple) else (answer,)
        cases.append(Case(sample, {spec.name: a.numpy() for spec, a in zip(outputs, arrays, strict=True)}))
    write_reference(cases, out)
    return {"cases": len(cases), "rows": sum(len(next(iter(case.inputs.values()))) for case in cases)}


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep the exporter's progress and its notes about itself off the terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _export_error(error: BaseException) -> ExportError:
    """What was wrong at the bottom of the exporter's chain of errors, and the model's line where it was."""
    while error.__cause__ is not None:
        error = error.__cause__
    reason = str(error).strip().splitlines() or ["no reason given"]
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/torch/" not in frame.filename and __file__ != frame.filename]
    where = f" It was raised at {ours[-1].filename}:{ours[-1].lineno}." if ours else ""
    return ExportError(
        f"PyTorch can't export the model: {type(error).__name__}: {reason[0]}",
        hint=f"The model's code must not depend on the values of its inputs.{where}",
    )


def _named(model: Any, inputs: list[TensorSpec], outputs: list[TensorSpec]) -> Any:
    """Name the axes as the signature does, and drop the traces of this machine's paths."""
    for values, specs in ((model.graph.input, inputs), (model.graph.output, outputs)):
        for value, spec in zip(values, specs, strict=True):
            for dimension, axis in zip(value.type.tensor_type.shape.dim, spec.shape, strict=True):
                if isinstance(axis, str) and not dimension.HasField("dim_value"):
                    dimension.dim_param = axis
    for node in model.graph.node:
        # Stack traces differ from machine to machine; the module path is worth keeping for debugging.
        kept = [entry for entry in node.metadata_props if entry.key == "pkg.torch.onnx.name_scopes"]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    return model


def _checked(model: Any, output_names: list[str]) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Check the graph and read its signature from it.

    Raises:
        ExportError: the checker refuses it, for example because two values have one name.
    """
    import onnx

    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the exported model isn't valid ONNX: {error}", outputs=output_names) from error
    return tensor_specs(model.graph.input), tensor_specs(model.graph.output)


def tensor_specs(values: Any) -> list[TensorSpec]:
    """Names, types and shapes of a graph's inputs or outputs."""
    import onnx

    specs = []
    for value in values:
        tensor = value.type.tensor_type
        shape = tuple(axis.dim_param or axis.dim_value for axis in tensor.shape.dim)
        dtype = str(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type))
        specs.append(TensorSpec(value.name, dtype, shape))
    return specs
