"""Graphs of sixteen bits on ONNX Runtime's CPU: FP32 with every result rounded as hardware rounds it.

It has no kernels for bfloat16; and of FP16 graphs it computes neighbouring nodes in FP32 without a rounding between
them, also with all optimizations off, so that an overflow that every GPU would have doesn't show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def rounding(path: Path, *, fp16: bool) -> Path | bytes:
    """The file, or where it has values of sixteen bits, the model that rounds in their place.

    Args:
        path: an ONNX file.
        fp16: whether FP16 is rounded too; bfloat16 is in any case.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError:
        return path
    halves = {onnx.TensorProto.BFLOAT16, *([onnx.TensorProto.FLOAT16] if fp16 else [])}
    weights = any(tensor.data_type in halves for tensor in model.graph.initializer)
    casts = any(a.i in halves for node in model.graph.node for a in node.attribute if a.name == "to")
    return bytes(emulated(model).SerializeToString()) if weights or casts else path


def emulated(model: Any) -> Any:
    """A model in FP32 that gives what the model gives where a node computes in FP32 and rounds its results.

    That is how tensor cores and norms compute. Weights are widened, which is exact; every result that was FP16 or
    bfloat16 is cast there and back, which rounds it to the nearest, ties to even, and makes it infinite out of range.

    Args:
        model: its inputs and outputs have more than sixteen bits, and so has all in subgraphs.
    """
    import onnx

    halves = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}
    wide = onnx.shape_inference.infer_shapes(model)
    graph = wide.graph
    types = {value.name: value.type.tensor_type.elem_type for value in graph.value_info}
    for tensor in graph.initializer:
        if tensor.data_type in halves:
            tensor.CopyFrom(_widened(tensor))
    nodes = []
    for node in graph.node:
        _widen_attributes(node, halves)
        nodes.append(node)
        for index, name in enumerate(node.output):
            if types.get(name) in halves:
                exact, rounded = f"{name}/exact", f"{name}/rounded"
                node.output[index] = exact
                nodes.append(onnx.helper.make_node("Cast", [exact], [rounded], to=types[name]))
                nodes.append(onnx.helper.make_node("Cast", [rounded], [name], to=onnx.TensorProto.FLOAT))
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(copies)
    return wide


def _widen_attributes(node: Any, halves: set[int]) -> None:
    """Constants and casts of sixteen bits become FP32; the cast behind the node rounds."""
    import onnx

    for attribute in node.attribute:
        if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type in halves:
            attribute.t.CopyFrom(_widened(attribute.t))
        elif node.op_type == "Cast" and attribute.name == "to" and attribute.i in halves:
            attribute.i = onnx.TensorProto.FLOAT


def _widened(tensor: Any) -> Any:
    import numpy as np
    import onnx

    return onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
