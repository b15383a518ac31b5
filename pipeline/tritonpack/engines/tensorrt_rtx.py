"""TensorRT for RTX: compiles portable plans with no GPU, so every graph can be proved to compile anywhere."""

from __future__ import annotations

from tritonpack.engines._tensorrt import TensorRTEngine


class TensorRTRTX(TensorRTEngine):
    """Runs on GPUs of the Ampere generation and later; no Triton backend loads its plans."""

    distribution = "tensorrt-rtx-cu13"
    module = "tensorrt_rtx"
    keeps_timings = False  # kernels are chosen where the plan runs
    hint = "pip install 'tritonpack[rtx]'"
    triton = None

    def plan_capability(self) -> str:
        """What a plan without explicit targets runs on.

        Source: https://docs.nvidia.com/deeplearning/tensorrt-rtx/latest/inference-library/cpu-engines.html
        """
        return "8.0,8.6,8.9,12.0+"


ENGINE = TensorRTRTX()
