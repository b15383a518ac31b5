"""A graph by its values: who makes them, who reads them, what is constant, and what a part of it computes."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from tritonpack.core.graphs import names_read, subgraphs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    Array = np.ndarray[Any, Any]

CONTRIB = "com.microsoft"
_SHAPES = frozenset({"Shape", "Size"})
_GRID = 2


class UnprovableError(Exception):
    """A part of a graph can't be computed from the values that were given for it."""


class GraphView:
    """What one graph's values are. Made anew after the graph has changed.

    Args:
        model: an ONNX model.
    """

    def __init__(self, model: Any) -> None:
        import onnx

        self.model = model
        self.graph = model.graph
        self.constants = {tensor.name: tensor for tensor in self.graph.initializer}
        self.makers = {name: node for node in self.graph.node for name in node.output if name}
        self.outputs = {output.name for output in self.graph.output}
        self.inputs = {value.name for value in self.graph.input} - set(self.constants)
        self._readers: dict[str, list[Any]] = {}
        for node in self.graph.node:
            for name in (*node.input, *(name for inner in subgraphs(node) for name in names_read(inner))):
                self._readers.setdefault(name, []).append(node)
        inferred = onnx.shape_inference.infer_shapes(model).graph
        values = [*inferred.value_info, *inferred.input, *inferred.output]
        self._types = {value.name: value.type.tensor_type for value in values}

    def maker(self, name: str, *operators: str) -> Any:
        """The node that makes a value, if it is one of these operators; else None."""
        node = self.makers.get(name)
        return node if node is not None and (not operators or node.op_type in operators) else None

    def readers(self, name: str) -> list[Any]:
        """The nodes that read a value; once for each time that they do."""
        return self._readers.get(name, [])

    def sole_reader(self, name: str, *operators: str) -> Any:
        """The one node that reads a value that isn't an output, if it is one of these operators; else None."""
        readers = self.readers(name)
        if name in self.outputs or len(readers) != 1 or (operators and readers[0].op_type not in operators):
            return None
        return readers[0]

    def element(self, name: str) -> int:
        """A value's element type as ONNX numbers them; 0 where it isn't known."""
        if name in self.constants:
            return int(self.constants[name].data_type)
        return int(self._types[name].elem_type) if name in self._types else 0

    def dims(self, name: str) -> tuple[int | str, ...] | None:
        """A value's sizes, unknown ones by name or ``""``; None where even their number isn't known."""
        if name in self.constants:
            return tuple(self.constants[name].dims)
        found = self._types.get(name)
        if found is None or not found.HasField("shape"):
            return None
        return tuple(dim.dim_value if dim.HasField("dim_value") else dim.dim_param for dim in found.shape.dim)

    def array(self, name: str) -> Array | None:
        """A constant's value, else None."""
        import onnx

        if name in self.constants:
            stored: Array = onnx.numpy_helper.to_array(self.constants[name])
            return stored
        node = self.maker(name, "Constant")
        if node is None:
            return None
        (attribute,) = node.attribute
        held = onnx.helper.get_attribute_value(attribute)
        if attribute.name in {"value_float", "value_floats", "value_int", "value_ints"}:
            return np.array(held, np.float32 if "float" in attribute.name else np.int64)
        made: Array | None = onnx.numpy_helper.to_array(held) if attribute.name == "value" else None
        return made

    def array_dims(self, name: str) -> tuple[int, ...]:
        """A stored constant's sizes; none where it isn't one."""
        return tuple(self.constants[name].dims) if name in self.constants else ()

    def scalar(self, name: str) -> float | None:
        """The value of a constant of one element, else None."""
        array = self.array(name)
        return float(array.reshape(())) if array is not None and array.size == 1 else None

    @cached_property
    def from_data(self) -> frozenset[str]:
        """The values that depend on what the graph's inputs hold, and not just on how large they are."""
        found = set(self.inputs)
        for node in self.graph.node:
            if node.op_type not in _SHAPES and any(name in found for name in node.input):
                found.update(node.output)
        return frozenset(found)

    def is_grid(self, name: str) -> bool:
        """Whether a value holds an integer or truth for each cell of ``(rows, width)``, and depends on data."""
        import onnx

        kinds = {onnx.TensorProto.INT64, onnx.TensorProto.INT32, onnx.TensorProto.BOOL}
        dims = self.dims(name)
        return name in self.from_data and self.element(name) in kinds and dims is not None and len(dims) == _GRID

    def grids_below(self, names: Iterable[str], cuts: Iterable[str] = ()) -> list[str]:
        """The grids that a walk up from these values meets first; nothing above a cut counts."""
        found: dict[str, None] = {}
        seen, waiting = set(cuts), list(names)
        while waiting:
            name = waiting.pop()
            if name in seen or not name:
                continue
            seen.add(name)
            if self.is_grid(name):
                found[name] = None
            elif name in self.makers:
                waiting += self.makers[name].input
        return sorted(found)

    def part(self, outputs: Sequence[str], cuts: Iterable[str]) -> list[Any]:
        """The nodes that compute these values from the cuts and constants, in order.

        Raises:
            UnprovableError: an input of the graph is among what they need.
        """
        needed: set[int] = set()
        seen, waiting = set(cuts), list(outputs)
        while waiting:
            name = waiting.pop()
            if name in seen or not name or name in self.constants:
                continue
            seen.add(name)
            if name not in self.makers:
                raise UnprovableError(name)
            node = self.makers[name]
            needed.add(id(node))
            waiting += node.input
        return [node for node in self.graph.node if id(node) in needed]

    def computed(self, outputs: Sequence[str], given: Mapping[str, Array], more: Sequence[Any] = ()) -> list[Array]:
        """What a part of the graph computes, unoptimized.

        Args:
            outputs: the values to compute.
            given: by name, values that stand in for the graph's own.
            more: nodes to add, which read the graph's values and make some of the outputs.

        Raises:
            UnprovableError: a value beside the given ones is needed, or the runtime refuses the part.
        """
        import onnx
        import onnxruntime

        made = {name for node in more for name in node.output}
        wanted = [*(name for name in outputs if name not in made)]
        wanted += [name for node in more for name in node.input if name not in made]
        nodes = [*self.part(wanted, given), *more]
        read = {name for node in nodes for name in node.input} - set(given)
        make = onnx.helper.make_tensor_value_info
        kinds = {name: onnx.helper.np_dtype_to_tensor_dtype(array.dtype) for name, array in given.items()}
        graph = onnx.helper.make_graph(
            nodes,
            "part",
            [make(name, kinds[name], array.shape) for name, array in given.items()],
            [onnx.helper.make_empty_tensor_value_info(name) for name in outputs],
            [tensor for name, tensor in self.constants.items() if name in read],
        )
        part = onnx.helper.make_model(
            graph, opset_imports=opsets(self.model), ir_version=self.model.ir_version, functions=self.model.functions
        )
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        try:
            session = onnxruntime.InferenceSession(part.SerializeToString(), options, ["CPUExecutionProvider"])
            return list(session.run(list(outputs), dict(given)))
        except Exception as error:  # its exception types live in a private module
            raise UnprovableError(str(error)) from error


def opsets(model: Any) -> list[Any]:
    """What a model imports, and ONNX Runtime's own operators."""
    import onnx

    imported = [entry for entry in model.opset_import if entry.domain != CONTRIB]
    return [*imported, onnx.helper.make_opsetid(CONTRIB, 1)]
