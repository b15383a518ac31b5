"""What TensorRT and TensorRT-RTX share: one implementation, two vendors' packages with one API.

Networks are strongly typed: precision is in the graph, and no builder flag names one. That is the
only way since TensorRT 11 and works from 10.12 on. The code is checked against TensorRT's stubs.
"""

from __future__ import annotations

import importlib
import os
import platform
import sys
import tempfile
from abc import ABC, abstractmethod
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from tritonpack.core.errors import CompileError
from tritonpack.core.versions import version_of
from tritonpack.engines._cuda import compute_capability

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import tensorrt

    from tritonpack.core.action import Facts
    from tritonpack.core.tensors import ShapeRange, Tensors


class TensorRTEngine(ABC):
    """Compiles a plan with one of the two packages.

    Subclasses name the package and say which GPUs its plans run on, and whether kernels are timed.
    """

    suffix = ".plan"
    version = 1
    keeps_timings = True
    distribution: ClassVar[str]
    module: ClassVar[str]
    hint: ClassVar[str]

    def identity(self) -> str:
        """Package, version, platform and the GPUs that the plan is for.

        Raises:
            MissingExtraError: the package isn't installed.
        """
        return f"{self.distribution}=={self._version()} {_platform()} sm={self.plan_capability()}"

    @abstractmethod
    def plan_capability(self) -> str:
        """The compute capabilities that a plan compiled here runs on."""

    def can_execute(self) -> bool:
        """Whether there is a GPU."""
        return compute_capability() is not None

    def compile(self, onnx: Path, profile: Mapping[str, ShapeRange], out: Path, cache: Path) -> Facts:
        """Parse, build and write a plan.

        Raises:
            CompileError: the parser or the builder refuses the graph, with its own words.
        """
        if TYPE_CHECKING:
            trt = tensorrt
        else:
            trt = importlib.import_module(self.module)
        logger = _log_class(trt)()
        builder = trt.Builder(logger)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        _parse(trt.OnnxParser(network, logger), onnx, self.distribution)
        config = builder.create_builder_config()
        shapes = builder.create_optimization_profile()
        for name, allowed in profile.items():
            least, best, greatest = (trt.Dims(list(shape)) for shape in (allowed.least, allowed.best, allowed.greatest))
            shapes.set_shape(name, least, best, greatest)
        config.add_optimization_profile(shapes)
        timings = cache / f"timings-{self.distribution}-{self._version()}-{self.plan_capability()}.bin"
        if self.keeps_timings:
            known = timings.read_bytes() if timings.exists() else b""
            config.set_timing_cache(config.create_timing_cache(known), ignore_mismatch=False)
        with _standard_output_caught() as printed:
            plan = builder.build_serialized_network(network, config)
        if plan is None:
            reason = "; ".join([*logger.errors, *printed]) or "no reason given"
            raise CompileError(f"{self.distribution} can't compile the graph: {reason}", hint=_operator_hint())
        out.write_bytes(memoryview(plan))
        if self.keeps_timings:
            _replace(timings, bytes(memoryview(config.get_timing_cache().serialize())))
        return {
            "tensorrt": f"{self.distribution} {self._version()}",
            "platform": _platform(),
            "compute_capability": self.plan_capability(),
        }

    def open(self, path: Path) -> TensorRTSession:
        """Load a plan onto the GPU."""
        return TensorRTSession(path, rtx=self.module == "tensorrt_rtx")

    def _version(self) -> str:
        return version_of(self.distribution, hint=self.hint)


class TensorRTSession:
    """A plan on the first GPU, run by Polygraphy."""

    def __init__(self, path: Path, *, rtx: bool) -> None:
        import polygraphy.config

        # Polygraphy decides at import which of the two packages it means.
        polygraphy.config.USE_TENSORRT_RTX = rtx
        from polygraphy.backend.common import BytesFromPath
        from polygraphy.backend.trt import EngineFromBytes, TrtRunner

        self._runner: Any = TrtRunner(EngineFromBytes(BytesFromPath(str(path))))
        self._runner.activate()

    def run(self, inputs: Tensors) -> Tensors:
        """Every output by name, copied to the CPU."""
        return dict(self._runner.infer(inputs, copy_outputs_to_host=True))

    def __del__(self) -> None:
        """Give the GPU's memory back."""
        self._runner.deactivate()


def _parse(parser: tensorrt.OnnxParser, onnx: Path, distribution: str) -> None:
    """Read a graph into the parser's network.

    Raises:
        CompileError: the parser refuses it; the message names operators and nodes.
    """
    if not parser.parse_from_file(str(onnx)):
        errors = (parser.get_error(index) for index in range(parser.num_errors))
        told = "; ".join(f"{e.node_operator()} '{e.node_name()}': {e.desc()}" for e in errors)
        raise CompileError(f"{distribution} can't read the graph: {told}", hint=_operator_hint())


@contextmanager
def _standard_output_caught() -> Iterator[list[str]]:
    """Catch what the compiler prints past its logger: standard output is for results.

    Yields:
        A list that holds the lines once the block has ended.
    """
    lines: list[str] = []
    sys.stdout.flush()
    kept = os.dup(1)
    with tempfile.TemporaryFile("w+", errors="replace") as file:
        os.dup2(file.fileno(), 1)
        try:
            yield lines
        finally:
            os.dup2(kept, 1)
            os.close(kept)
            file.seek(0)
            lines += file.read().splitlines()


def _platform() -> str:
    return f"{platform.system()}_{platform.machine()}".lower()


def _operator_hint() -> str:
    return "The names are those of the ONNX graph; precision: fp32 shows whether the rewrite is the cause."


def _replace(path: Path, content: bytes) -> None:
    """Write a side file whole; the last of two writers at once wins, and either is right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(content)
    temporary.replace(path)


def _log_class(trt: Any) -> Any:
    """A logger class of the given package that keeps errors for our own message and says nothing else."""

    class Log(trt.ILogger):  # type: ignore[misc]  # the base is only known once the package is imported
        def __init__(self) -> None:
            super().__init__()
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                self.errors.append(message)

    return Log
