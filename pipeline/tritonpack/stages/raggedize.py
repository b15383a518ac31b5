"""A head in front of the graph that pads inside the graph, so that rows of any length batch together.

Triton joins requests of different length only as one flat tensor (``allow_ragged_batch``). For every axis
along which rows differ in length (`RaggedAxis`), the head takes what Triton's batcher knows:

    <input>           (total,)   the rows of every request, one after another
    <axis>_length     (rows, 1)  int32, BATCH_ITEM_SHAPE: the length of each row
    longest_<axis>    (n,)       float32, BATCH_MAX_ELEMENT_COUNT_AS_SHAPE: only its shape counts

and gives the graph padded ``(rows, width)`` inputs: ids padded with the pad id, masks with 0. A
request of several rows counts all its elements towards ``n``, so the width is bounded by the
model's longest row; it comes from a shape and not from values, which TensorRT needs. Inputs of one
shape for every row pass the head by.

Behind the head what works on each token by itself reads the flat tensors, and only what mixes tokens sees the padded
rows (`tritonpack.stages._flat`), as long as that gives the same.

Source: https://github.com/triton-inference-server/server/blob/v2.51.0/docs/user_guide/ragged_batching.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import CompileError, LoweringError
from tritonpack.core.tensors import ShapeRange, Tensors, TensorSpec
from tritonpack.stages._flat import drop_unused, flattened
from tritonpack.stages._flat_proof import Proof
from tritonpack.stages._grid import Rows, observed_dims
from tritonpack.stages._head import Head
from tritonpack.stages.export import tensor_specs

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from tritonpack.core.action import Facts
    from tritonpack.core.model import RaggedAxis

VERSION = 5


def ragged_from_onnx(onnx_file: Path, *, axes: Sequence[RaggedAxis], out: Path, exported: Path | None = None) -> Facts:
    """Put the padding head in front of a graph, and run its token-wise work on the tokens alone.

    The latter only where it is proved to change nothing: the FP32 graph has to give the same on random rows of many
    lengths. It wouldn't if the model saw its padding.

    Args:
        onnx_file: a graph whose inputs along each axis have the shape ``(batch, axis)``.
        axes: the axes along which rows differ in length.
        out: the file to write.
        exported: the graph in FP32, if this isn't it.

    Returns:
        ``inputs``; ``flat``: whether token-wise work runs on tokens alone; ``products``: how many matrix products
        do, or else ``why`` none does.

    Raises:
        LoweringError: an input isn't of that shape, one that no axis pads is of any length, or the graph with its
            head isn't valid ONNX.
    """
    try:
        chosen, told = _flat(onnx_file, exported or onnx_file, axes)
    except (CompileError, LoweringError) as error:
        chosen, told = _padded(onnx_file, axes), {"flat": False, "why": error.message}
    out.write_bytes(chosen.SerializeToString(deterministic=True))
    return {"inputs": [spec.to_json() for spec in tensor_specs(chosen.graph.input)], **told}


def ragged_inputs(padded: Tensors, axes: Sequence[RaggedAxis], lengths: Tensors) -> Tensors:
    """What Triton would hand to the ragged graph for these rows, each a request of its own.

    Args:
        padded: the graph's inputs, padded.
        axes: the ragged axes.
        lengths: by axis, ``(rows,)``: how many leading elements of each row are sent; the rest is
            padding and stays away.
    """
    feeds = dict(padded)
    for axis in axes:
        counts = lengths[axis.name]
        for name in axis.pads:
            feeds[name] = np.concatenate([row[:count] for row, count in zip(padded[name], counts, strict=True)])
        feeds[axis.length_input] = np.asarray(counts, dtype=np.int32)[:, None]
        feeds[axis.longest_input] = np.zeros(int(max(counts)), dtype=np.float32)
    return feeds


def ragged_profile(
    inputs: Sequence[TensorSpec], axes: Sequence[RaggedAxis], *, max_batch: int, best_batch: int, best_length: int
) -> dict[str, ShapeRange]:
    """The shapes that an engine for the ragged graph is compiled for.

    A single request may hold ``max_batch`` rows, so the flat tensors and the longest row's shape reach
    ``max_batch`` times the axis's longest row in elements.
    """
    best_batch = min(best_batch, max_batch)
    ragged = {name for axis in axes for name in axis.pads}
    ranges = {}
    for spec in inputs:
        if spec.name not in ragged:
            row = tuple(int(size) for size in spec.shape[1:])
            ranges[spec.name] = ShapeRange((1, *row), (best_batch, *row), (max_batch, *row))
    for axis in axes:
        most, best = max_batch * axis.longest, min(best_length, axis.longest)
        least, best = axis.least, max(best, axis.least)
        ranges |= {name: ShapeRange((least,), (best_batch * best,), (most,)) for name in axis.pads}
        ranges[axis.length_input] = ShapeRange((1, 1), (best_batch, 1), (max_batch, 1))
        ranges[axis.longest_input] = ShapeRange((least,), (best,), (most,))
    return ranges


def _row_spec(specs: Mapping[str, TensorSpec], name: str) -> TensorSpec:
    spec = specs.get(name)
    if spec is None or len(spec.shape) != 2:  # noqa: PLR2004  (rows, length)
        found = "isn't an input of the graph" if spec is None else f"has shape {spec.shape}"
        raise LoweringError(f"'{name}' {found}: only (batch, length) inputs can be batched ragged", input=name)
    return spec


def _check_others(specs: Mapping[str, TensorSpec], padded: set[str]) -> None:
    for spec in specs.values():
        if spec.name not in padded and any(isinstance(axis, str) for axis in spec.shape[1:]):
            raise LoweringError(f"'{spec.name}' has shape {spec.shape}, but no axis pads it", input=spec.name)


def _flat(onnx_file: Path, exported: Path, axes: Sequence[RaggedAxis]) -> tuple[Any, Facts]:
    """The graph with flat values, proved, and what is told of it.

    Raises:
        LoweringError: it isn't the same as the padded one, nothing is gained, or it isn't valid ONNX.
        CompileError: ONNX Runtime can't run the graph.
    """
    import onnx

    if not axes or not all(axis.dynamic for axis in axes):
        raise LoweringError("rows don't differ in length")
    files = [exported] if exported.read_bytes() == onnx_file.read_bytes() else [exported, onnx_file]
    for file in files:
        flat = onnx.load(file)
        heads, rows, dims = _heads(flat, axes), Rows(flat, axes), observed_dims(flat, axes)
        products = flattened(flat, dims, heads)
        if not products:
            raise LoweringError("no matrix product works on each token by itself")
        _put_on(flat, heads)
        drop_unused(flat.graph)
        proof = Proof(rows, dims, axes, exact=file == exported)
        proof.compare(proof.answers(_padded(file, axes), ragged_inputs), proof.answers(flat, ragged_inputs))
    return flat, {"flat": True, "products": products}


def _heads(model: Any, axes: Sequence[RaggedAxis]) -> list[Head]:
    """A head for each axis.

    Raises:
        LoweringError: an input can't be padded.
    """
    specs = {spec.name: spec for spec in tensor_specs(model.graph.input)}
    heads = [Head(axis) for axis in axes]
    for head in heads:
        for name, fill in head.axis.pads.items():
            head.pad(name, np.array(fill, dtype=_row_spec(specs, name).dtype))
    _check_others(specs, {name for head in heads for name in head.padded})
    return heads


def _padded(onnx_file: Path, axes: Sequence[RaggedAxis]) -> Any:
    """The model that reads its inputs' padded rows wherever it read them."""
    import onnx

    model = onnx.load(onnx_file)
    heads = _heads(model, axes)
    names = {name: padded for head in heads for name, padded in head.padded.items()}
    for node in model.graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = names.get(name, name)
    _put_on(model, heads)
    return model


def _put_on(model: Any, heads: Sequence[Head]) -> None:
    """Put the heads in front of a model, whose inputs then are flat.

    Raises:
        LoweringError: it isn't valid ONNX.
    """
    import onnx

    graph = model.graph
    for head in heads:
        axis = head.axis
        for value in graph.input:
            if value.name in head.padded:
                del value.type.tensor_type.shape.dim[1:]
                value.type.tensor_type.shape.dim[0].dim_param = f"total_{axis.name}"
        length = onnx.helper.make_tensor_value_info(axis.length_input, onnx.TensorProto.INT32, ["rows", 1])
        longest = onnx.helper.make_tensor_value_info(axis.longest_input, onnx.TensorProto.FLOAT, [f"most_{axis.name}"])
        graph.input.extend([length, longest])
    body = list(graph.node)
    del graph.node[:]
    graph.node.extend([node for head in heads for node in head.nodes])
    graph.node.extend(body)
    graph.initializer.extend(constant for head in heads for constant in head.constants)
    # Shapes that were inferred for the padded graph still hold; the checker proves it.
    try:
        onnx.checker.check_model(model, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise LoweringError(f"the graph with its ragged head isn't valid ONNX: {error}") from error
