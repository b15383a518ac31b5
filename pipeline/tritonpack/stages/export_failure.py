"""Where in a model the exporter stopped: the operator and the module, read from the frames of its errors."""

from __future__ import annotations

import re
import traceback
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import ExportError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

_EXPORT_ROOT = "_export_root"
_UNKNOWN_NUMBER = re.compile(r"\bz?uf?\d+\b")
"""How PyTorch names a number that depends on the values of the inputs, e.g. ``u0`` or ``zuf1``."""


def export_failure(error: BaseException) -> ExportError:
    """What was wrong at the bottom of the exporter's chain of errors, the operator, the module and the line.

    Args:
        error: what ``torch.onnx.export`` raised, with its traceback.
    """
    chain = list(_chain(error))
    frames = [frame for link in chain for frame, _ in traceback.walk_tb(link.__traceback__)]
    node = _source_of_number(str(chain[-1]), frames) or _last_node(frames)
    operator, module = _operator(node), _module_of_node(node) or _module_of_frames(frames)
    told = " ".join(part for part in (operator, f"in {module}" if module else "") if part)
    reason = next(iter(str(chain[-1]).strip().splitlines()), "no reason given")
    line = _line(node, chain[-1])
    return ExportError(
        f"PyTorch can't export the model{f': {told}' if told else ''}: {type(chain[-1]).__name__}: {reason}",
        hint=f"{_advice(chain[-1])}{f' It happened at {line}.' if line else ''}",
        operator=operator,
        module=module,
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__


def _advice(error: BaseException) -> str:
    if type(error).__name__ == "DispatchError":
        return "The operator has no ONNX form: write that part of the model with other operators."
    return "The model's code must not depend on the values of its inputs."


def _last_node(frames: list[FrameType]) -> Any:
    """The graph's node that the innermost frame worked on, or None."""
    import torch

    for frame in reversed(frames):
        for value in frame.f_locals.values():
            if isinstance(value, torch.fx.Node):
                return value
    return None


def _source_of_number(reason: str, frames: list[FrameType]) -> Any:
    """The first node of a graph under construction whose value or shape holds a number that the error names."""
    import torch

    named = re.compile("|".join(rf"\b{number}\b" for number in set(_UNKNOWN_NUMBER.findall(reason))) or r"(?!)")
    owners = (value for frame in frames for value in frame.f_locals.values())
    graphs = {id(graph): graph for graph in map(_graph_of, owners) if graph is not None}
    for graph in graphs.values():
        for node in graph.nodes:
            value = node.meta.get("val")
            if named.search(str(value.shape if isinstance(value, torch.Tensor) else value)):
                return node
    return None


def _graph_of(owner: Any) -> Any:
    import torch

    graph = owner.__dict__.get("graph") if isinstance(owner, torch.fx.Tracer) else owner
    return graph if isinstance(graph, torch.fx.Graph) else None


def _operator(node: Any) -> str:
    import torch

    overload = torch._ops.OpOverload  # noqa: SLF001  the class has no public name
    return str(node.target) if node is not None and isinstance(node.target, overload) else ""


def _module_of_node(node: Any) -> str:
    """The path of the innermost module that the node was recorded in."""
    if node is None:
        return ""
    stack = node.meta.get("nn_module_stack") or {}
    return _path(next(reversed([path for path, _ in stack.values()]), ""))


def _module_of_frames(frames: list[FrameType]) -> str:
    """The path of the module whose code ran last, in the outermost module that holds it."""
    import torch

    called = (frame.f_locals.get("self") for frame in frames)
    modules = [module for module in called if isinstance(module, torch.nn.Module)]
    for outer in modules:
        for path, module in outer.named_modules():
            if module is modules[-1] and path:
                return _path(path)
    return ""


def _path(name: str) -> str:
    return name.removeprefix("L['self'].").removeprefix(_EXPORT_ROOT).removeprefix(".")


def _line(node: Any, error: BaseException) -> str:
    """The line of the model: as the node remembers it, or the last one of the traceback that isn't PyTorch's."""
    remembered = (node.meta.get("stack_trace") or "").strip().splitlines() if node is not None else []
    places = [text.strip() for text in remembered if text.strip().startswith("File ")]
    if places:
        return places[-1].removeprefix("File ")
    frames = traceback.extract_tb(error.__traceback__)
    outside = [frame for frame in frames if "/torch/" not in frame.filename]
    return f'"{outside[-1].filename}", line {outside[-1].lineno}' if outside else ""
