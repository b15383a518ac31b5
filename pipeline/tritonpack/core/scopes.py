"""Where in the PyTorch module tree a node of an exported graph came from."""

from __future__ import annotations

import ast
from typing import Any

_SCOPES = "pkg.torch.onnx.name_scopes"
_NOWHERE = "_empty_nn_module_stack"
"""What the exporter writes where it lost track, with more of its own words behind it."""


def modules_of(node: Any) -> list[str]:
    """Paths of the modules that a node lies in, the outermost first.

    Args:
        node: an ONNX node, as PyTorch's exporter or a rewrite that keeps metadata wrote it.

    Returns:
        E.g. ``["", "encoder", "encoder.layer.0"]``, where the root has no name; empty if nobody wrote it down. The
        node's own name, which ends the exporter's list, is left out.
    """
    for entry in node.metadata_props:
        if entry.key == _SCOPES:
            paths: list[str] = ast.literal_eval(entry.value)
            return [path for path in paths[:-1] if not path.startswith(_NOWHERE)]
    return []


def module_of(node: Any) -> str:
    """The innermost module that a node lies in, e.g. ``encoder.layer.0.output.dense``; empty if it isn't known."""
    return (modules_of(node) or [""])[-1]
