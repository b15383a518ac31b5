"""bfloat16 on ONNX Runtime's CPU, which has no kernels for it: FP32 with every result rounded as it would be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


def runnable(path: Path) -> Path | bytes:
    """The file, or what emulates it if a weight or a cast in it is bfloat16."""
    import onnx
    from google.protobuf.message import DecodeError

    half = onnx.TensorProto.BFLOAT16
    try:
        model = onnx.load(path, load_external_data=False)
    except DecodeError:
        return path
    weights = any(tensor.data_type == half for tensor in model.graph.initializer)
    casts = any(a.i == half for node in model.graph.node for a in node.attribute if a.name == "to")
    return bytes(emulated(model).SerializeToString()) if weights or casts else path


def emulated(model: Any) -> Any:
    """A model in FP32 that gives what the model gives where products add up in FP32, as tensor cores do.

    Weights are widened, which is exact; every result that was bfloat16 is cast there and back, which rounds it to
    the nearest, ties to even.

    Args:
        model: its inputs and outputs aren't bfloat16, nor is anything in a subgraph.
    """
    import onnx

    half, single = onnx.TensorProto.BFLOAT16, onnx.TensorProto.FLOAT
    wide = onnx.shape_inference.infer_shapes(model)
    graph = wide.graph
    halves = {value.name for value in graph.value_info if value.type.tensor_type.elem_type == half}
    for tensor in graph.initializer:
        if tensor.data_type == half:
            tensor.CopyFrom(_widened(tensor))
    nodes = []
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == half:
                attribute.t.CopyFrom(_widened(attribute.t))
            elif node.op_type == "Cast" and attribute.name == "to" and attribute.i == half:
                attribute.i = single
        nodes.append(node)
        for index, name in enumerate(node.output):
            if name in halves:
                exact, rounded = f"{name}/exact", f"{name}/rounded"
                node.output[index] = exact
                nodes.append(onnx.helper.make_node("Cast", [exact], [rounded], to=half))
                nodes.append(onnx.helper.make_node("Cast", [rounded], [name], to=single))
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:], graph.value_info[:]
    graph.node.extend(copies)
    return wide


def _widened(tensor: Any) -> Any:
    import numpy as np
    import onnx

    return onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(np.float32), tensor.name)
