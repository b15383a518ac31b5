"""OpenVINO on the CPU: the graph is the engine file, in the precision that it is written in.

Quicker than ONNX Runtime at single rows in FP32, and with bfloat16 where the processor multiplies it. The embedded
server and the CPU container run it. Triton's own OpenVINO backend takes batches of one fixed size only, so it can't.

Source: https://github.com/triton-inference-server/server/issues/7363
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import CompileError
from tritonpack.core.versions import identity_of, version_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tritonpack.core.action import Facts
    from tritonpack.core.tensors import ShapeRange, Tensors

_HINT = "pip install 'tritonpack[openvino]'"
_OPTIONS = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
"""One call at a time, with every core; and no precision but the graph's own."""


class OpenVINO:
    """Runs the graph on the CPU."""

    suffix = ".onnx"
    triton: Mapping[str, str] | None = {"backend": "openvino"}
    version = 1

    def identity(self) -> str:
        """The runtime's version."""
        return identity_of("openvino", hint=_HINT)

    def compile(self, onnx: Path, profile: Mapping[str, ShapeRange], out: Path, cache: Path) -> Facts:
        """Copy the graph; loading it proves every operator.

        Raises:
            CompileError: an operator or type isn't supported.
        """
        del profile, cache
        shutil.copyfile(onnx, out)
        self.open(out)
        return {"openvino": version_of("openvino", hint=_HINT), "platform": "any"}

    def can_execute(self) -> bool:
        """Wherever it is installed."""
        return True

    def open(self, path: Path) -> OpenVINOSession:
        """Load a graph.

        Raises:
            CompileError: the runtime refuses it.
        """
        return OpenVINOSession(path)


class OpenVINOSession:
    """A graph on OpenVINO's CPU device."""

    def __init__(self, path: Path) -> None:
        import openvino

        try:
            compiled = openvino.Core().compile_model(str(path), "CPU", _OPTIONS)
        except RuntimeError as error:
            reason = next((line for line in reversed(str(error).splitlines()) if line.strip()), "no reason given")
            raise CompileError(
                f"OpenVINO refuses {path.name}: {reason.strip()}",
                hint="Check the operators and the opset, or use engine: onnxruntime.",
            ) from error
        self._request: Any = compiled.create_infer_request()
        self._outputs = [output.get_any_name() for output in compiled.outputs]

    def run(self, inputs: Tensors) -> Tensors:
        """Every output by name."""
        results = self._request.infer(inputs, share_outputs=False)
        return dict(zip(self._outputs, results.values(), strict=True))


ENGINE = OpenVINO()
