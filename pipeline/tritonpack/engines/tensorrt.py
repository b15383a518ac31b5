"""TensorRT: plans for the GPU of the machine that builds, served by Triton's TensorRT backend."""

from __future__ import annotations

from tritonpack.core.errors import UnsupportedError
from tritonpack.engines._cuda import compute_capability
from tritonpack.engines._tensorrt import TensorRTEngine


class TensorRT(TensorRTEngine):
    """Needs a GPU to build: kernels are timed on it."""

    distribution = "tensorrt"
    module = "tensorrt"
    hint = (
        "Build where the server's TensorRT is: docker-compose --profile gpu run builder. Elsewhere: "
        "pip install 'tritonpack[tensorrt]', the exact version that the target server carries."
    )
    triton = {"platform": "tensorrt_plan"}  # noqa: RUF012  a protocol's data

    def plan_capability(self) -> str:
        """The GPU of this machine.

        Raises:
            UnsupportedError: there is none.
        """
        capability = compute_capability()
        if capability is None:
            raise UnsupportedError(
                "TensorRT builds plans on the GPU that runs them, and this machine has none",
                hint="Build on the target machine, or check the graph here with engine: tensorrt_rtx.",
            )
        return capability


ENGINE = TensorRT()
