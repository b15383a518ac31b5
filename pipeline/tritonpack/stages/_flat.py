"""A padded graph whose token-wise work runs on the tokens alone.

Padding is pulled down through the graph behind the ragged head: what works on each token by itself (`_token_wise`)
reads flat values ``(total, ...)``, one entry for each token, and a padded grid is only made, by ``Gather``, where a
node mixes tokens. What such a node gives back (attention's output) is brought to flat by ``Gather`` with each token's
cell. A cell that is padded then holds the first token's numbers instead of the pad token's; models mask both.

No node's shape depends on data, which TensorRT needs: a token's row is how many rows end before it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from tritonpack.core.graphs import drop_unread, names_read, subgraphs
from tritonpack.stages._token_wise import Form, Kind, Operand, Role, Values

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tritonpack.stages._grid import Dims, Grid
    from tritonpack.stages._head import Head

_PREFIX = "flat/"


class Plan(NamedTuple):
    """What becomes of every node of a graph.

    Args:
        forms: by node, what it is on flat values if it runs there, else None.
        on_grid: by node, whether it runs on the grid as it stands in the graph; some run on both.
    """

    forms: list[Form | None]
    on_grid: list[bool]

    @property
    def products(self) -> int:
        """How many products run on tokens alone."""
        return sum(form is not None and form.kind is Kind.PRODUCT for form in self.forms)


def planned(graph: Any, values: Values) -> Plan:
    """Decide which nodes run on tokens alone.

    Products do, so does what leads from one product to the next, and what comes after the last. What combines hidden
    values with masks runs on the grid as well where it is read there: a mask is only right there.
    """
    hidden = _hidden(graph, values)
    begun, started = _led(graph, values, {Kind.PRODUCT}), _led(graph, values, {Kind.PRODUCT, Kind.LOOKUP})
    read: set[str] = set()
    on_grid: set[str] = {output.name for output in graph.output}
    forms: list[Form | None] = []
    stays: list[bool] = []
    for node, form in zip(reversed(graph.node), reversed(values.forms), strict=True):
        tokens = [] if form is None else _tokens(node, form)
        masked = not tokens or not hidden.issuperset(tokens)
        wanted = form if _wanted(node, form, read, begun=begun, late=hidden - started, masked=masked) else None
        forms.append(wanted)
        gathered = wanted is not None and (not masked or len(node.output) > 1)
        stays.append(wanted is None or (not gathered and not on_grid.isdisjoint(node.output)))
        if wanted is not None:
            read.update(tokens)
            on_grid.update(set(node.input) - set(tokens))
        if stays[-1]:
            on_grid.update(_read(node))
    return Plan(forms[::-1], stays[::-1])


def flattened(model: Any, dims: Mapping[str, Dims], heads: Sequence[Head]) -> int:
    """Rewrite a graph in place, between the heads and its outputs.

    Args:
        model: the graph without its heads.
        dims: of every value.
        heads: one for each ragged axis; they are given the nodes that they need more.

    Returns:
        How many products run on tokens alone; with 0 the graph is as it was.
    """
    values = Values(model.graph, dims, [head.axis.name for head in heads])
    plan = planned(model.graph, values)
    if plan.products:
        _Rewriter(model.graph, values, plan, heads).run()
    return plan.products


def drop_unused(graph: Any) -> None:
    """Take out nodes whose results nobody reads, then constants that nothing reads."""
    read = {output.name for output in graph.output}
    kept = []
    for node in reversed(graph.node):
        if any(name in read for name in node.output):
            kept.append(node)
            read.update(_read(node))
    if len(kept) < len(graph.node):
        nodes = kept[::-1]
        copies = [type(node).FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)
    drop_unread(graph)


def _read(node: Any) -> set[str]:
    """What a node reads, also in graphs inside it."""
    return set(node.input).union(*(names_read(inner) for inner in subgraphs(node)))


def _tokens(node: Any, form: Form) -> list[str]:
    """The inputs of a node that have an entry for each token."""
    return [node.input[at] for at in form.tokens]


def _hidden(graph: Any, values: Values) -> set[str]:
    """Values with several numbers a token that come from tables, products and nodes that mix tokens, and no mask."""
    found: set[str] = set()
    for node, form in zip(graph.node, values.forms, strict=True):
        if form is None:
            grids = {name: values.grid(name) for name in node.output}
            found.update(name for name, grid in grids.items() if grid is not None and grid.rest)
        elif form.kind in {Kind.LOOKUP, Kind.PRODUCT} or (form.tokens and found.issuperset(_tokens(node, form))):
            found.update(node.output)
    return found


def _led(graph: Any, values: Values, origins: set[Kind]) -> set[str]:
    """Values that nodes of these kinds lead to, with token-wise nodes alone in between."""
    found: set[str] = set()
    for node, form in zip(graph.node, values.forms, strict=True):
        if form is not None and (form.kind in origins or not found.isdisjoint(_tokens(node, form))):
            found.update(node.output)
    return found


def _wanted(node: Any, form: Form | None, read: set[str], *, begun: set[str], late: set[str], masked: bool) -> bool:
    """Whether a node runs on tokens alone.

    Args:
        node: the node.
        form: what it is on flat values.
        read: what nodes behind it read flat.
        begun: what products lead to.
        late: what only nodes that mix tokens lead to: a view of it is as cheap on the grid.
        masked: whether the node reads more than hidden values.
    """
    if form is None or form.kind is Kind.PRODUCT:
        return form is not None
    if form.kind is Kind.VIEW and not late.isdisjoint(node.input):
        return False
    if form.kind is Kind.POINTWISE and not masked and not begun.isdisjoint(_tokens(node, form)):
        return True
    return not read.isdisjoint(node.output)


class _Rewriter:
    """Writes a graph's nodes anew, on flat values where the plan says so."""

    def __init__(self, graph: Any, values: Values, plan: Plan, heads: Sequence[Head]) -> None:
        self._graph = graph
        self._values = values
        self._plan = plan
        self._heads = {head.axis.name: head for head in heads}
        self._flat = {name: name for head in heads for name in head.axis.pads}
        self._padded = {name: padded for head in heads for name, padded in head.padded.items()}
        self._grids: set[str] = set()
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._made: dict[tuple[str, ...], str] = {}

    def run(self) -> None:
        """Replace the graph's nodes."""
        for node, form, stays in zip(self._graph.node, self._plan.forms, self._plan.on_grid, strict=True):
            if form is not None:
                self._flatten(node, form, alone=not stays)
            if stays:
                self._keep(node)
        for output in self._graph.output:
            self._gridded(output.name)
        del self._graph.node[:]
        self._graph.node.extend(self._nodes)
        self._graph.initializer.extend(self._constants.values())
        made = {name for node in self._nodes for name in node.output}
        known = [value for value in self._graph.value_info if value.name in made]
        del self._graph.value_info[:]
        self._graph.value_info.extend(known)

    def _keep(self, node: Any) -> None:
        for name in sorted(_read(node)):
            self._gridded(name)
        copy = _copied(node)
        for at, name in enumerate(copy.input):
            copy.input[at] = self._on_grid(name, shape_only=node.op_type == "Shape")
        self._nodes.append(copy)
        self._grids.update(node.output)

    def _on_grid(self, name: str, *, shape_only: bool) -> str:
        """What a node on the grid reads a graph's value by."""
        if name in self._padded and shape_only:
            return self._head_of(name).index
        return self._padded.get(name, name)

    def _head_of(self, name: str) -> Head:
        return next(head for head in self._heads.values() if name in head.padded)

    def _gridded(self, name: str) -> None:
        """Make the grid of a value that only flat nodes made, under its own name."""
        if name in self._grids or name not in self._flat or name in self._padded:
            return
        grid = self._values.grid(name)
        if grid is None:
            return
        self._grids.add(name)
        index = self._heads[grid.axis].places(transposed=grid.transposed, merged=grid.merged)
        self._emit("Gather", [self._flat[name], index], name, axis=0)

    def _flatten(self, node: Any, form: Form, *, alone: bool) -> None:
        operands = {at: self._operand(node.input[at], operand, node.output[0]) for at, operand in form.operands.items()}
        grids = [name for name in node.output if self._values.grid(name) is not None]
        if form.same:
            self._flat[node.output[0]] = operands[0]
            return
        copy = _copied(node)
        copy.op_type = form.operator or node.op_type
        if form.operator:
            del copy.attribute[:]
        _set_attributes(copy, form.attributes)
        replaced = {**operands, **{at: self._constant(numbers) for at, numbers in form.constants.items()}}
        copy.input.extend([""] * (max(replaced) + 1 - len(copy.input)))
        for at, name in replaced.items():
            copy.input[at] = name
        for at, name in enumerate(node.output):
            if name in grids:
                copy.output[at] = self._flat[name] = f"{_PREFIX}{name}"
        if not alone:
            copy.name = f"{_PREFIX}{node.name}"
        self._nodes.append(copy)

    def _operand(self, name: str, operand: Operand, output: str) -> str:
        if operand.role is Role.TOKEN:
            return self._tokens(name)
        if operand.role is Role.ANY:
            return self._reshaped(name, operand.rest) if operand.cut else name
        head = self._heads[self._grid(output).axis]
        index = head.token_column if operand.role is Role.COLUMN else head.token_row
        shape = (-1, *operand.rest)
        return self._once("Gather", (name, index), lambda: [self._reshaped(name, shape), index], axis=0)

    def _tokens(self, name: str) -> str:
        """The flat value of a grid."""
        if name not in self._flat:
            grid = self._grid(name)
            cells = self._heads[grid.axis].cells(transposed=grid.transposed)
            merged = name if grid.merged else self._reshaped(name, (-1, *grid.rest))
            self._flat[name] = self._once("Gather", (name, cells), lambda: [merged, cells], axis=0)
        return self._flat[name]

    def _grid(self, name: str) -> Grid:
        grid = self._values.grid(name)
        if grid is None:
            raise AssertionError(f"'{name}' is no grid")
        return grid

    def _reshaped(self, name: str, shape: tuple[int, ...]) -> str:
        return self._once("Reshape", (name, *map(str, shape)), lambda: [name, self._constant(shape)])

    def _once(self, operator: str, key: tuple[str, ...], inputs: Callable[[], list[str]], **attributes: int) -> str:
        """The output of a node that is made at its first use."""
        whole = (operator, *key)
        if whole not in self._made:
            read = inputs()
            self._made[whole] = self._emit(
                operator, read, f"{_PREFIX}{len(self._made)}_{operator.lower()}", **attributes
            )
        return self._made[whole]

    def _emit(self, operator: str, inputs: Sequence[str], output: str, **attributes: int) -> str:
        import onnx

        self._nodes.append(onnx.helper.make_node(operator, inputs, [output], f"{_PREFIX}make_{output}", **attributes))
        return output

    def _constant(self, numbers: Sequence[int]) -> str:
        import numpy as np
        import onnx

        name = f"{_PREFIX}{'_'.join(map(str, numbers)) or 'scalar'}"
        self._constants[name] = onnx.numpy_helper.from_array(np.array(numbers, dtype=np.int64), name)
        return name


def _copied(node: Any) -> Any:
    copy = type(node)()
    copy.CopyFrom(node)
    return copy


def _set_attributes(node: Any, attributes: Mapping[str, Any]) -> None:
    import onnx

    kept = [attribute for attribute in node.attribute if attribute.name not in attributes]
    kept += [onnx.helper.make_attribute(name, value) for name, value in attributes.items()]
    copies = [type(attribute).FromString(attribute.SerializeToString()) for attribute in kept]
    del node.attribute[:]
    node.attribute.extend(copies)
