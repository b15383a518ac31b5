"""What runs the model, each behind one call: from arrays on the CPU to arrays on the CPU."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from tritonpack.core.tensors import Tensors
from tritonpack.engines import ENGINES

if TYPE_CHECKING:
    from pathlib import Path

    from accelerated.graphs import Source

Run = Callable[[Tensors], Tensors]
"""Answers inputs; when it returns, the outputs are in the CPU's memory."""


class RefusedError(Exception):
    """A backend doesn't run a precision here; the message says why."""


@dataclass(frozen=True)
class Place:
    """Where and how a backend is opened.

    Attributes:
        source: the model.
        file: its ONNX graph in the precision.
        device: ``cuda`` or ``cpu``.
        most: rows at once.
        best: the shape that engines are tuned for, (batch, length).
        folder: for files of its own.
        packages: that the device needs beside the environment's; None for none.
    """

    source: Source
    file: Path
    device: str
    most: int
    best: tuple[int, int]
    folder: Path
    packages: Path | None = None


class Backend(Protocol):
    """One way to run the model.

    Attributes:
        name: on the page.
        packages: whose versions belong to the figures.
    """

    name: str
    packages: tuple[str, ...]

    def open(self, precision: str, place: Place) -> Run:
        """Load, compile and hand over what runs.

        Raises:
            RefusedError: it doesn't run this precision here.
            Exception: whatever the vendor's code raises.
        """


class Torch:
    """PyTorch's own module.

    Args:
        compiled: whether TorchInductor compiles it, once for all shapes.
    """

    packages = ("torch", "transformers")

    def __init__(self, *, compiled: bool) -> None:
        self.name = "PyTorch, compiled" if compiled else "PyTorch"
        self._compiled = compiled

    def open(self, precision: str, place: Place) -> Run:
        """Move the module to the device.

        Raises:
            RefusedError: INT8, which takes another package.
        """
        import torch

        if precision == "int8":
            raise RefusedError("PyTorch's modules have no INT8 products on a GPU; packages such as torchao add them")
        torch.set_float32_matmul_precision("highest")
        module = place.source.module().eval().to(place.device)
        if precision == "fp16":
            module = module.half()
        if self._compiled:
            module = torch.compile(module, dynamic=True)
        takes, gives = place.source.inputs, place.source.outputs

        def run(inputs: Tensors) -> Tensors:
            with torch.inference_mode():
                answer = module(*(torch.from_numpy(inputs[name]).to(place.device) for name in takes))
            tensors = answer if isinstance(answer, tuple) else (answer,)
            return {name: tensor.float().cpu().numpy() for name, tensor in zip(gives, tensors, strict=True)}

        return run


class OnnxRuntime:
    """ONNX Runtime with its CUDA provider."""

    name = "ONNX Runtime"
    packages = ("onnxruntime-gpu", "onnxruntime")
    _providers: ClassVar[dict[str, list[Any]]] = {
        # TF32 would make FP32 another precision.
        "cuda": [("CUDAExecutionProvider", {"use_tf32": "0"}), "CPUExecutionProvider"],
        "cpu": ["CPUExecutionProvider"],
    }

    def open(self, precision: str, place: Place) -> Run:
        """Load the graph; CUDA's libraries are those of NVIDIA's packages, which PyTorch brings.

        Raises:
            RefusedError: the installed package has no CUDA provider, or it didn't load.
        """
        del precision
        if place.packages is not None:
            # Its module has the name of the CPU's package, so both can't lie in one environment.
            sys.path.insert(0, str(place.packages))
        import onnxruntime

        if place.device == "cuda":
            if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
                raise RefusedError(f"onnxruntime {onnxruntime.__version__} here has no CUDA provider")
            # Source: https://onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html#preload-dlls
            onnxruntime.preload_dlls()
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(str(place.file), options, self._providers[place.device])
        if place.device == "cuda" and session.get_providers()[0] != "CUDAExecutionProvider":
            raise RefusedError("ONNX Runtime's CUDA provider didn't load: its log says which library is missing")
        names = [output.name for output in session.get_outputs()]
        return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))


def install_onnxruntime_gpu(folder: Path) -> None:
    """Install the package with the CUDA provider in the environment's version, beside the environment.

    Raises:
        RefusedError: pip can't, in its own words.
    """
    from importlib.metadata import version

    wanted = f"onnxruntime-gpu=={version('onnxruntime')}"
    if (folder / f"onnxruntime_gpu-{version('onnxruntime')}.dist-info").is_dir():
        return
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--upgrade", "--target", str(folder)]
    ended = subprocess.run([*command, wanted], capture_output=True, text=True, check=False)
    if ended.returncode:
        said = ended.stderr.strip().splitlines() or ["no reason given"]
        raise RefusedError(f"pip can't install {wanted}: {said[-1]}")


class TensorRT:
    """One of NVIDIA's two compilers, through the project's engine for it.

    Args:
        name: on the page.
        engine: of the project.
        package: that carries it.
    """

    def __init__(self, name: str, engine: str, package: str) -> None:
        self.name = name
        self.packages = (package,)
        self._engine = engine

    def open(self, precision: str, place: Place) -> Run:
        """Compile a plan for all shapes, tuned for one, and load it.

        Raises:
            RefusedError: it compiled, but there is no GPU to run it.
            TritonpackError: the package is missing, or it refuses the graph.
        """
        engine = ENGINES.get(self._engine)
        engine.identity()  # says what is missing before anything slow
        plan = place.folder / f"{self._engine}-{precision}{engine.suffix}"
        engine.compile(place.file, place.source.profile(place.most, place.best), plan, place.folder)
        if not engine.can_execute():
            raise RefusedError("compiled, not executed: there is no GPU here")
        return engine.open(plan).run


BACKENDS: dict[str, Backend] = {
    "torch": Torch(compiled=False),
    "torch-compiled": Torch(compiled=True),
    "onnxruntime": OnnxRuntime(),
    "tensorrt": TensorRT("TensorRT", "tensorrt", "tensorrt"),
    "tensorrt-rtx": TensorRT("TensorRT-RTX", "tensorrt_rtx", "tensorrt-rtx-cu13"),
}
