"""What runs an engine's file: one class for each library, by the backend that the configuration names.

A library is imported where its first file is opened. Parameters:

    intra_op_thread_count                 threads of a call; 0 or none lets the library choose
    inter_op_thread_count                 ONNX Runtime's, as in the C++ backend
    session.*, optimization.*             passed to ONNX Runtime's session, e.g. session.intra_op.allow_spinning
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np

    Array = np.ndarray[Any, Any]

_SPIN_US = "20"


class Session(Protocol):
    """A graph that is ready to run.

    Attributes:
        library: its name.
        best_tokens: of a call: the library takes more time for a token in larger ones, since what it computes between
            two operators leaves the caches (MiniLM's 32 rows of 128 tokens: 12% less in eight calls than in one).
    """

    library: str
    best_tokens: float

    def run(self, outputs: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
        """The outputs of these names."""


class OnnxRuntime:
    """A graph in ONNX Runtime's CPU provider."""

    library = "ONNX Runtime"
    best_tokens = 512.0

    def __init__(self, file: Path, parameters: Mapping[str, str]) -> None:
        """Open the file.

        A thread that waits for the next operator spins for a moment, since waking it costs as much as a small
        operator; it spins no longer, since it would take the core from the server and the other stubs.

        Raises:
            ValueError: it can't be read.
        """
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.intra_op_num_threads = int(parameters.get("intra_op_thread_count", 0))
        options.inter_op_num_threads = int(parameters.get("inter_op_thread_count", 0))
        entries = {"session.intra_op.spin_duration_us": _SPIN_US}
        entries |= {name: value for name, value in parameters.items() if name.startswith(("session.", "optimization."))}
        for name, value in entries.items():
            options.add_session_config_entry(name, value)
        try:
            self._session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise ValueError(f"ONNX Runtime can't open {file}: {error}") from error

    def run(self, outputs: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
        """The outputs of these names."""
        found: list[Array] = self._session.run(outputs, feeds)
        return found


class OpenVINO:
    """A graph on OpenVINO's CPU device, in no precision but its own."""

    library = "OpenVINO"
    best_tokens = 2048.0

    def __init__(self, file: Path, parameters: Mapping[str, str]) -> None:
        """Open the file.

        Raises:
            ValueError: it can't be read.
        """
        import openvino

        options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
        if threads := int(parameters.get("intra_op_thread_count", 0)):
            options["INFERENCE_NUM_THREADS"] = threads
        try:
            self._request = openvino.Core().compile_model(str(file), "CPU", options).create_infer_request()
        except RuntimeError as error:
            raise ValueError(f"OpenVINO can't open {file}: {error}") from error

    def run(self, outputs: Sequence[str], feeds: Mapping[str, Array]) -> list[Array]:
        """The outputs of these names."""
        found = self._request.infer(feeds, share_outputs=False)
        return [found[name] for name in outputs]


SESSIONS: dict[str, Callable[[Path, Mapping[str, str]], Session]] = {
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVINO,
}
"""By backend."""
