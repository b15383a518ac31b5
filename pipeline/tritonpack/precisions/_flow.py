"""Who makes and who reads the floating-point values of a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray


def float_values(graph: Any) -> set[str]:
    """Names of the values of single precision; needs every value's type inferred."""
    import onnx

    known = [*graph.value_info, *graph.input, *graph.output]
    return {value.name for value in known if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}


class Flow:
    """A graph's values and nodes.

    Args:
        graph: with every value's type inferred.

    Attributes:
        floats: names of the values of single precision.
        producers: each value's node.
        constants: weights and other numbers of single precision that the graph holds, by name.
    """

    def __init__(self, graph: Any) -> None:
        import onnx

        self.floats = float_values(graph)
        self.producers: dict[str, Any] = {name: node for node in graph.node for name in node.output if name}
        self.constants: dict[str, NDArray[np.float32]] = {
            name: onnx.numpy_helper.to_array(tensor)
            for name, tensor in _tensors(graph)
            if tensor.data_type == onnx.TensorProto.FLOAT
        }
        self._readers: dict[str, list[Any]] = {}
        for node in graph.node:
            for name in dict.fromkeys(node.input):
                self._readers.setdefault(name, []).append(node)

    def readers(self, name: str) -> list[Any]:
        """The nodes that read a value."""
        return self._readers.get(name, [])

    def makers(self, name: str) -> list[Any]:
        """The node that makes a value; none for inputs and weights."""
        return [self.producers[name]] if name in self.producers else []


def _tensors(graph: Any) -> Iterator[tuple[str, Any]]:
    """The weights, and what nodes hold, by the name under which it is read."""
    import onnx

    yield from ((tensor.name, tensor) for tensor in graph.initializer)
    for node in (node for node in graph.node if node.op_type in {"Constant", "ConstantOfShape"}):
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR:
                yield node.output[0], attribute.t
            elif attribute.name in {"value_float", "value_floats"}:
                floats = list(attribute.floats) or [attribute.f]
                yield node.output[0], onnx.helper.make_tensor("", onnx.TensorProto.FLOAT, [len(floats)], floats)
