"""ONNX Runtime: the graph is the engine file. Served by Triton's own backend, or by ours where there is none.

The file has the graph as this runtime runs it fastest on a CPU: attention is its own operator, and nothing is computed
that no output needs. Its INT8 products are fast on x86-64 where activations have no sign. So there the file has its
quantized activations shifted by 128, which stands for the very same numbers; the weights stay as they are.
"""

from __future__ import annotations

import platform
import shutil
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import CompileError
from tritonpack.core.versions import identity_of, version_of
from tritonpack.engines._attention import fuse_attention
from tritonpack.engines._integers import make_fusible
from tritonpack.engines._layers import drop_dead, fold_rows, join_reshapes, split_norms
from tritonpack.engines._rounding import rounding
from tritonpack.engines._view import GraphView

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tritonpack.core.action import Facts
    from tritonpack.core.tensors import ShapeRange, Tensors

_HINT = "pip install 'tritonpack[build]'"
_X86 = frozenset({"x86_64", "amd64"})


class OnnxRuntime:
    """Runs the graph on the CPU.

    Args:
        rounds_fp16: whether `open` rounds every FP16 result, as GPUs do and this runtime's CPU kernels don't.
    """

    suffix = ".onnx"
    triton: Mapping[str, str] | None = {"backend": "onnxruntime"}
    version = 3

    def __init__(self, *, rounds_fp16: bool = False) -> None:
        self._rounds_fp16 = rounds_fp16

    def identity(self) -> str:
        """The runtime's version, how it wants quantized activations here, and whether FP16 results are rounded."""
        rounding = " fp16=rounded" if self._rounds_fp16 else ""
        return f"{identity_of('onnxruntime', hint=_HINT)} activations={_activations()}{rounding}"

    def compile(self, onnx: Path, profile: Mapping[str, ShapeRange], out: Path, cache: Path) -> Facts:
        """Write the graph with its attention fused and Q/DQ pairs in the form that fuses here.

        Loading the file proves every operator. It runs anywhere and gives the same numbers: elsewhere it is only
        slower. A graph in which there is nothing to change is copied.

        Raises:
            CompileError: an operator or type isn't supported.
        """
        del profile, cache
        facts = {"onnxruntime": version_of("onnxruntime", hint=_HINT), "platform": "any", **_rewritten(onnx, out)}
        self.open(out)
        return facts

    def can_execute(self) -> bool:
        """Wherever it is installed."""
        return True

    def open(self, path: Path) -> OnnxSession:
        """Load a graph.

        Raises:
            CompileError: the runtime refuses it.
        """
        return OnnxSession(path, rounds_fp16=self._rounds_fp16)


class OnnxSession:
    """A graph in ONNX Runtime's CPU provider."""

    def __init__(self, path: Path, *, rounds_fp16: bool = False) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only: its advice about shapes is for those who export
        model = rounding(path, fp16=rounds_fp16)
        try:
            self._session: Any = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
        except Exception as error:  # its exception types live in a private module
            raise CompileError(
                f"ONNX Runtime refuses {path.name}: {str(error).splitlines()[0]}",
                hint="Check the operators and the opset, or use precision: fp32.",
            ) from error
        self._outputs = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Tensors) -> Tensors:
        """Every output by name."""
        return dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True))


ENGINE = OnnxRuntime()
ROUNDING = OnnxRuntime(rounds_fp16=True)
"""What stands in for a GPU: only there does a value out of FP16's range show."""


def _activations() -> str:
    """The type that this machine multiplies fastest with INT8 weights."""
    return "uint8" if platform.machine().lower() in _X86 else "int8"


def _rewritten(onnx: Path, out: Path) -> Facts:
    """Write what the runtime runs fastest of a graph, and say what that changed; a file that isn't one is copied."""
    import onnx as onnx_package
    from google.protobuf.message import DecodeError

    shutil.copyfile(onnx, out)
    try:
        model = onnx_package.load(onnx)
    except DecodeError:
        return {}
    attention = fuse_attention(model)
    view = GraphView(model)
    quantized = make_fusible(view, unsigned=_activations() == "uint8")
    changed = [attention, quantized, split_norms(view), fold_rows(view), join_reshapes(view)]
    if any(changed):
        drop_dead(model.graph)
        out.write_bytes(model.SerializeToString(deterministic=True))
    facts: Facts = {"fused_attention": attention} if attention else {}
    return {**facts, "activations": _activations(), "quantized_activations": quantized} if quantized else facts
