"""A graph that is cut into parts: from values that are given to values that are wanted."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.errors import ConfigurationError
from tritonpack.core.graphs import subgraphs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_GIVEN = ".reference"
_WIDE = ".float32"
_NARROW = ".narrow"


@dataclass(frozen=True)
class Part:
    """A part of a graph, runnable by itself.

    Args:
        model: an ``onnx.ModelProto``.
        given: by name of an input that stands for a value of the graph, that value.
        wanted: by name of an output, the value that it holds.
        nodes: how many of the graph's nodes it holds.
    """

    model: Any
    given: Mapping[str, str]
    wanted: Mapping[str, str]
    nodes: int

    def inputs(self, graph_inputs: Mapping[str, NDArray[Any]], values: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
        """What to run it with: the graph's own inputs that it reads, and the given values in the types it wants."""
        from onnx.helper import tensor_dtype_to_np_dtype

        arrays = {}
        for tensor in self.model.graph.input:
            value = self.given.get(tensor.name)
            array = graph_inputs[tensor.name] if value is None else values[value]
            arrays[tensor.name] = np.asarray(array, tensor_dtype_to_np_dtype(tensor.type.tensor_type.elem_type))
        return arrays


class Graph:
    """An ONNX file with what is asked of it again and again.

    Raises:
        ConfigurationError: the file isn't ONNX.
    """

    def __init__(self, path: Path) -> None:
        import onnx
        from google.protobuf.message import DecodeError

        self.path = path
        try:
            self._model = onnx.shape_inference.infer_shapes(onnx.load(path))
        except (DecodeError, onnx.shape_inference.InferenceError) as error:
            raise ConfigurationError(
                f"{path} isn't an ONNX file: {error}", hint="Give the graph of a model."
            ) from error
        graph = self._model.graph
        self.nodes: list[Any] = list(graph.node)
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self.inputs = [tensor.name for tensor in graph.input if tensor.name not in self._constants]
        self._infos = {tensor.name: tensor for tensor in (*graph.value_info, *graph.input, *graph.output)}
        self._producers = {name: index for index, node in enumerate(self.nodes) for name in node.output if name}
        self._reads = [list(_reads(node)) for node in self.nodes]

    def __contains__(self, value: str) -> bool:
        return value in self._producers

    def node_of(self, value: str) -> Any:
        """The node that computes a value."""
        return self.nodes[self._producers[value]]

    def floats(self) -> list[str]:
        """Every floating-point value that a node computes, in the graph's order."""
        from onnx import TensorProto

        types = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}
        computed = [name for name, index in self._producers.items() if self.nodes[index].op_type != "Constant"]
        return [name for name in computed if self._type(name) in types]

    def dynamic_inputs(self, axis: str) -> dict[str, int]:
        """Which axis of an input has this name, by the input's name."""
        found = {}
        for name in self.inputs:
            for place, size in enumerate(self._infos[name].type.tensor_type.shape.dim):
                if size.dim_param == axis:
                    found[name] = place
        return found

    def leading_to(self, wanted: Collection[str], given: Collection[str] = ()) -> list[int]:
        """The nodes that compute the wanted values from the given ones, in order.

        Args:
            wanted: values, computed even where they are among the given ones.
            given: values that their readers get instead of the graph's own.
        """
        found: set[int] = set()
        open_nodes = [self._producers[name] for name in wanted]
        while open_nodes:
            index = open_nodes.pop()
            if index in found:
                continue
            found.add(index)
            reads = (name for name in self._reads[index] if name not in given)
            open_nodes += [self._producers[name] for name in reads if name in self._producers]
        return sorted(found)

    def sources(self, value: str) -> set[str]:
        """The values that a value is computed from, itself among them."""
        return {name for index in self.leading_to([value]) for name in self.nodes[index].output}

    def part(self, wanted: Sequence[str], given: Collection[str] = ()) -> Part:
        """The graph between given and wanted values, as a graph of its own."""
        from onnx.helper import make_graph, make_model
        from polygraphy.backend.onnx import modify_outputs

        chosen = self.leading_to(wanted, given)
        reads = dict.fromkeys(name for index in chosen for name in self._reads[index])
        borders = _Borders([name for name in reads if name in given and name in self._producers], self._type)
        nodes = [_copied(self.nodes[index], borders.renamed) for index in chosen]
        outputs, casts = self._ends(wanted)
        graph = make_graph(
            [*borders.casts, *nodes, *casts],
            self._model.graph.name,
            [*(self._infos[name] for name in self.inputs if name in reads), *borders.inputs],
            [],
            [tensor for name, tensor in self._constants.items() if name in reads or name in wanted],
        )
        model = make_model(graph, opset_imports=self._model.opset_import, functions=self._model.functions)
        model.ir_version = self._model.ir_version
        model = modify_outputs(model, outputs=[glob.escape(name) for name in outputs])
        return Part(model, borders.values, outputs, len(chosen))

    def _type(self, value: str) -> int:
        return int(self._infos[value].type.tensor_type.elem_type) if value in self._infos else 0

    def _ends(self, wanted: Sequence[str]) -> tuple[dict[str, str], list[Any]]:
        """The outputs that hold the wanted values; one of sixteen bits leaves in FP32, which NumPy has too."""
        from onnx import TensorProto
        from onnx.helper import make_node

        outputs = {name + _WIDE if self._type(name) in _halves() else name: name for name in wanted}
        casts = [make_node("Cast", [v], [out], to=TensorProto.FLOAT) for out, v in outputs.items() if out != v]
        return outputs, casts


class _Borders:
    """Inputs that stand for values of the graph, in the types that their readers want."""

    def __init__(self, names: Sequence[str], type_of: Any) -> None:
        from onnx import TensorProto
        from onnx.helper import make_node, make_tensor_value_info

        self.values: dict[str, str] = {}
        self.renamed: dict[str, str] = {}
        self.inputs: list[Any] = []
        self.casts: list[Any] = []
        for name in names:
            kind, entry = type_of(name) or TensorProto.FLOAT, name + _GIVEN
            self.values[entry] = name
            self.renamed[name] = entry
            if kind in _halves():
                self.renamed[name] = entry + _NARROW
                self.casts.append(make_node("Cast", [entry], [self.renamed[name]], to=kind))
                kind = TensorProto.FLOAT
            self.inputs.append(make_tensor_value_info(entry, kind, None))


def _halves() -> frozenset[int]:
    """The types of sixteen bits, which stay inside a part: what runs it may compute them in another way."""
    from onnx import TensorProto

    return frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})


def _reads(node: Any) -> Iterator[str]:
    """What a node reads, also inside its subgraphs; what these compute themselves is among it."""
    yield from (name for name in node.input if name)
    for graph in subgraphs(node):
        for inner in graph.node:
            yield from _reads(inner)
        yield from (output.name for output in graph.output)


def _copied(node: Any, renamed: Mapping[str, str]) -> Any:
    """A copy that reads values under other names."""
    copy = node.__class__.FromString(node.SerializeToString())
    _rename(copy, renamed)
    return copy


def _rename(node: Any, renamed: Mapping[str, str]) -> None:
    node.input[:] = [renamed.get(name, name) for name in node.input]
    for graph in subgraphs(node):
        for inner in graph.node:
            _rename(inner, renamed)
        for output in graph.output:
            output.name = renamed.get(output.name, output.name)
