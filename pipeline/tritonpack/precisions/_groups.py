"""Products that read one value: they share its scale, so they are quantized together or not at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import LoweringError
from tritonpack.core.registry import did_you_mean
from tritonpack.core.scopes import module_of
from tritonpack.precisions import Group
from tritonpack.precisions._quantize import weight_nodes

if TYPE_CHECKING:
    from collections.abc import Iterable


def products_by_value(graph: Any) -> dict[str, list[Any]]:
    """The products with weights by the value that they read, in the graph's order."""
    found: dict[str, list[Any]] = {}
    for node in weight_nodes(graph):
        found.setdefault(node.input[0], []).append(node)
    return found


def groups_of(graph: Any) -> dict[str, Group]:
    """The groups of a graph, by the value that their products read.

    A group has the name of the modules that its products lie in, without what all modules of the graph lie in
    (the module that was exported); a module that is called more than once gets a number from the second time on.

    Args:
        graph: as `with_products_alone` gives it.
    """
    products = products_by_value(graph)
    widths = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    paths = {node.name: module_of(node) for nodes in products.values() for node in nodes}
    first = {path.partition(".")[0] for path in paths.values()}
    found: dict[str, Group] = {}
    seen: dict[str, int] = {}
    for value, nodes in products.items():
        own = [_without_root(paths[node.name], first) or node.name for node in nodes]
        name = _joined(own)
        seen[name] = seen.get(name, 0) + 1
        unique = name if seen[name] == 1 else f"{name}#{seen[name]}"
        multiplications = sum(widths[node.input[1]][0] * widths[node.input[1]][1] for node in nodes)
        found[value] = Group(unique, tuple(node.name for node in nodes), multiplications)
    return found


def check_kept(groups: Iterable[Group], keep: frozenset[str], precision: str) -> None:
    """Refuse names of groups that there are none of, and a rewrite that would rewrite nothing.

    Raises:
        LoweringError: a name is unknown, or every group is to be kept.
    """
    names = [group.name for group in groups]
    for name in sorted(keep.difference(names)):
        raise LoweringError(
            f"{precision}: there is no group '{name}' to keep", hint=did_you_mean(name, names), groups=names
        )
    if names and keep.issuperset(names):
        raise LoweringError(
            f"{precision}: every product is to be kept in floating point", hint="Use precision: fp16 or fp32."
        )


def _without_root(path: str, first: set[str]) -> str:
    """The path without its first part, if all paths begin with that."""
    return path.partition(".")[2] or path if len(first) == 1 else path


def _joined(paths: list[str]) -> str:
    """``a.b.{c,d}`` for ``a.b.c`` and ``a.b.d``."""
    parts = [path.split(".") for path in dict.fromkeys(paths)]
    if len(parts) == 1:
        return paths[0]
    levels = list(zip(*(path[:-1] for path in parts), strict=False))
    common = next((i for i, level in enumerate(levels) if len(set(level)) > 1), len(levels))
    rest = ",".join(".".join(path[common:]) for path in parts)
    return ".".join([*parts[0][:common], f"{{{rest}}}"])
