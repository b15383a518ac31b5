"""A graph from FP32 to FP16 or bfloat16, with chosen nodes left in FP32.

ONNX Runtime's converter narrows the result of every node, also between two that were to stay in FP32, so
that a value outside FP16's range becomes infinite in any case. Here a value keeps its width until a node
wants the other one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tritonpack.core.graphs import subgraphs
from tritonpack.precisions._flow import float_values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tritonpack.precisions._formats import Format

_ANY_WIDTH = frozenset({"Cast", "Shape", "Size"})
_FLOAT_BY_ATTRIBUTE = frozenset(
    {"Bernoulli", "EyeLike", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike"}
)
_FLOAT_INPUTS = frozenset({"Resize"})
_STANDARD = frozenset({"", "ai.onnx"})


def narrow(model: Any, keep: set[str], format_: Format) -> None:
    """Rewrite a model in place; its inputs and outputs keep their types.

    Args:
        model: with every value's type inferred.
        keep: the first output of each node that computes in FP32.
        format_: what all others compute in, unless ONNX doesn't define them for it.
    """
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST

    wide_operators = {*DEFAULT_OP_BLOCK_LIST, *_FLOAT_BY_ATTRIBUTE, *_FLOAT_INPUTS}
    opset = next(entry.version for entry in model.opset_import if entry.domain in _STANDARD)
    writer = _Writer(model.graph, format_)
    for node in model.graph.node:
        inner = list(_inner_nodes(node))
        wide = node.op_type in wide_operators or node.output[0] in keep or not _is_defined(node, format_, opset)
        if inner or wide:
            writer.add_wide(node, inner)
        else:
            writer.add_narrow(node)
    writer.replace()


class _Writer:
    """Collects nodes and constants, and casts a value the first time that the other width is wanted."""

    def __init__(self, graph: Any, format_: Format) -> None:
        import onnx

        self._graph = graph
        self._format = format_
        self._floats = float_values(graph)
        self._outputs = {output.name for output in graph.output}
        self._constants = {tensor.name: tensor for tensor in graph.initializer}
        self._is_float = {t.name for t in graph.initializer if t.data_type == onnx.TensorProto.FLOAT}
        self._wide = {value.name for value in graph.input if value.name in self._floats}
        self._narrow: set[str] = set()
        self._casts: dict[str, str] = {}
        self._nodes: list[Any] = []
        self._used: dict[str, Any] = {}

    def add_wide(self, node: Any, inner: list[Any]) -> None:
        """A node that computes in FP32, with all that is in its subgraphs."""
        for user in (node, *inner):
            user.input[:] = [self._in_width(name, half=False) for name in user.input]
        self._nodes.append(node)
        self._wide.update(name for name in node.output if name in self._floats)

    def add_narrow(self, node: Any) -> None:
        """A node that computes in sixteen bits."""
        import onnx

        keeps_width = node.op_type in _ANY_WIDTH
        node.input[:] = [self._constant(n) if keeps_width else self._in_width(n, half=True) for n in node.input]
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.i == onnx.TensorProto.FLOAT:
                attribute.i = self._format.element_type
            if attribute.type == onnx.AttributeProto.TENSOR and attribute.t.data_type == onnx.TensorProto.FLOAT:
                attribute.t.CopyFrom(self._format.tensor(attribute.t))
        if node.op_type == "ConstantOfShape" and not node.attribute:
            zero = onnx.helper.make_tensor("value", self._format.element_type, [1], [0])
            node.attribute.append(onnx.helper.make_attribute("value", zero))
        self._nodes.append(node)
        for index, name in enumerate(node.output):
            if name in self._outputs and name in self._floats:
                node.output[index] = f"{name}_{self._format.name}"
                self._cast(node.output[index], name, onnx.TensorProto.FLOAT)
                self._wide.add(name)
            elif name in self._floats:
                self._narrow.add(name)

    def replace(self) -> None:
        """Put what was collected into the graph; types that were inferred before no longer hold."""
        for field, content in (("node", self._nodes), ("initializer", self._used.values()), ("value_info", ())):
            target = getattr(self._graph, field)
            copies = [item.__class__.FromString(item.SerializeToString()) for item in content]
            del target[:]
            target.extend(copies)

    def _in_width(self, name: str, *, half: bool) -> str:
        import onnx

        if name in self._constants:
            return self._constant(name, half=half)
        if name not in (self._wide if half else self._narrow):
            return name
        if name not in self._casts:
            self._casts[name] = f"{name}_{self._format.name if half else 'fp32'}"
            self._cast(name, self._casts[name], self._format.element_type if half else onnx.TensorProto.FLOAT)
        return self._casts[name]

    def _constant(self, name: str, *, half: bool = False) -> str:
        if name not in self._constants:
            return name
        tensor = self._constants[name]
        if half and name in self._is_float:
            name = f"{name}_{self._format.name}"
            if name not in self._used:
                self._used[name] = self._format.tensor(tensor)
                self._used[name].name = name
        else:
            self._used[name] = tensor
        return name

    def _cast(self, value: str, result: str, to: int) -> None:
        import onnx

        self._nodes.append(onnx.helper.make_node("Cast", [value], [result], to=to, name=f"{result}_cast"))


def _inner_nodes(node: Any) -> Iterator[Any]:
    """Every node of a node's subgraphs, at any depth."""
    for graph in subgraphs(node):
        for inner in graph.node:
            yield inner
            yield from _inner_nodes(inner)


def _is_defined(node: Any, format_: Format, opset: int) -> bool:
    """Whether the operator's types name the format wherever they name FP16; an operator of others isn't known."""
    import onnx

    if node.domain not in _STANDARD:
        return True
    if node.op_type == "Constant":
        return all(attribute.type == onnx.AttributeProto.TENSOR for attribute in node.attribute)
    schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    allowed = {constraint.type_param_str: constraint.allowed_type_strs for constraint in schema.type_constraints}
    kinds = [allowed.get(parameter.type_str, [parameter.type_str]) for parameter in (*schema.inputs, *schema.outputs)]
    return all(f"tensor({format_.numpy})" in types for types in kinds if "tensor(float16)" in types)
