"""PyTorch to ONNX, and the reference that every later candidate is held against."""

from __future__ import annotations

import inspect
import io
import logging
import warnings
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import ExportError
from tritonpack.core.tensors import TensorSpec
from tritonpack.stages.export_failure import export_failure
from tritonpack.stages.reference import Case, write_reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from tritonpack.core.action import Facts
    from tritonpack.inputs import Sample

EXPORT_VERSION = 2
REFERENCE_VERSION = 2

_TRACED_SHAPE = (3, 17)
_REFERENCE_SHAPES = ((1, 1), (1, 6), (2, 16), (5, 11), (8, 24), (3, 40), (4, 64))
"""(batch, length) of the reference inputs; none is the traced shape. The longest row is added."""


@dataclass(frozen=True)
class Traced:
    """What is to be exported, apart from the model's weights.

    Args:
        sample: ``sample(rng, batch, length)`` gives inputs of that many rows.
        inputs: the graph's inputs in the order in which the module takes them; a ragged axis is named.
        outputs: the graph's outputs in the order in which it returns them.
        dynamic: whether named axes may have any length; if not, every row has ``length``.
        length: greatest row length.
    """

    sample: Callable[[np.random.Generator, int, int], Sample]
    inputs: list[TensorSpec]
    outputs: list[TensorSpec]
    dynamic: bool
    length: int


def onnx_from_module(module: Any, traced: Traced, *, opset: int, out: Path) -> Facts:
    """Export a task's module with dynamic axes and check the model that comes out.

    Args:
        module: what `Task.wrap` returned.
        traced: its signature and what to trace it with.
        opset: ONNX operator set.
        out: the ONNX file to write.

    Returns:
        The graph's inputs and outputs with their shapes.

    Raises:
        ExportError: the exporter or the checker refuses the model.
    """
    import torch

    batch, length = _TRACED_SHAPE
    sample = traced.sample(np.random.default_rng(0), batch, length if traced.dynamic else traced.length).inputs
    tensors = tuple(torch.from_numpy(sample[spec.name]) for spec in traced.inputs)
    shapes = tuple(
        {axis: torch.export.Dim.DYNAMIC for axis, name in enumerate(spec.shape) if _is_dynamic(name, traced)}
        for spec in traced.inputs
    )
    with _quiet_exporter(), torch.no_grad():
        try:
            program = torch.onnx.export(
                module,
                tensors,
                dynamo=True,
                opset_version=opset,
                input_names=[spec.name for spec in traced.inputs],
                output_names=[spec.name for spec in traced.outputs],
                dynamic_shapes=(shapes,) if _takes_any_number(module) else shapes,
                verbose=False,
            )
        except Exception as error:  # the exporter raises whatever the model's code raises
            raise export_failure(error) from error
    model = _named(program.model_proto, traced.inputs, traced.outputs)
    specs = _checked(model, [spec.name for spec in traced.outputs])
    out.write_bytes(model.SerializeToString(deterministic=True))
    return {"inputs": [spec.to_json() for spec in specs[0]], "outputs": [spec.to_json() for spec in specs[1]]}


def reference_from_module(module: Any, traced: Traced, *, out: Path) -> Facts:
    """Run the PyTorch module in FP32 over sampled inputs, and write both down.

    Raises:
        ExportError: the module fails on an input of an allowed shape.
    """
    rng = np.random.default_rng(1)
    shapes = [(batch, length) for batch, length in _REFERENCE_SHAPES if length <= traced.length]
    if not traced.dynamic:
        shapes = [(batch, traced.length) for batch, _ in shapes]
    samples = (traced.sample(rng, batch, length) for batch, length in [*shapes, (2, traced.length)])
    return answers_from_module(module, traced, (Case(sample.inputs, sample.lengths) for sample in samples), out=out)


def answers_from_module(module: Any, traced: Traced, cases: Iterable[Case], *, out: Path) -> Facts:
    """Run the PyTorch module in FP32 over given inputs, and write both down.

    Raises:
        ExportError: the module fails on an input of an allowed shape.
    """
    import torch

    answered = []
    for case in cases:
        with torch.no_grad():
            try:
                answer = module(*(torch.from_numpy(case.inputs[spec.name]) for spec in traced.inputs))
            except (RuntimeError, IndexError, ValueError) as error:
                batch, length = next(iter(case.inputs.values())).shape[:2]
                raise ExportError(
                    f"the PyTorch model fails on a batch of {batch} rows of {length} elements: {error}",
                    hint="Is export.max_length within what the model's positions allow?",
                ) from error
        arrays = answer if isinstance(answer, tuple) else (answer,)
        outputs = {spec.name: a.numpy() for spec, a in zip(traced.outputs, arrays, strict=True)}
        answered.append(replace(case, outputs=outputs))
    write_reference(answered, out)
    return {"cases": len(answered), "rows": sum(len(next(iter(case.inputs.values()))) for case in answered)}


def _takes_any_number(module: Any) -> bool:
    kinds = [parameter.kind for parameter in inspect.signature(module.forward).parameters.values()]
    return inspect.Parameter.VAR_POSITIONAL in kinds


def _is_dynamic(axis: str | int, traced: Traced) -> bool:
    return axis == "batch" or (isinstance(axis, str) and traced.dynamic)


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keep the exporter's progress, its notes about itself and half-made graphs off the terminal."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _named(model: Any, inputs: list[TensorSpec], outputs: list[TensorSpec]) -> Any:
    """Name the axes as the signature does, and drop the traces of this machine's paths.

    Raises:
        ExportError: an output isn't of the shape that the task expects.
    """
    for values, specs in ((model.graph.input, inputs), (model.graph.output, outputs)):
        for value, spec in zip(values, specs, strict=True):
            dimensions = value.type.tensor_type.shape.dim
            sizes = [dimension.dim_value or -1 for dimension in dimensions]
            if len(sizes) != len(spec.shape) or any(
                isinstance(axis, int) and size not in (axis, -1) for size, axis in zip(sizes, spec.shape, strict=True)
            ):
                raise ExportError(
                    f"'{spec.name}' of the model has shape {sizes}, but the task expects {list(spec.shape)}",
                    hint="For scores: does id2label (or task.labels) name each of them?",
                    output=spec.name,
                )
            for dimension, axis in zip(dimensions, spec.shape, strict=True):
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
