"""From which size on a tensor goes faster through shared memory: one request after the other, by turns.

    python benchmarks/shared_memory.py

One model takes an input and gives nothing large; the others give an output of one size each. Both clients ask the
same server. The table says the median of each, in milliseconds; where shared memory wins, its size bounds
`tritonpack_client.sharing.LEAST_BYTES` from above.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tritonpack.server import embedded
from tritonpack_client import Client, sharing

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = [2**power for power in range(14, 25)]

_MODEL = """
import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, arguments):
        size = arguments["model_name"].partition("_")[2]
        self.answer = np.ones(int(size) // 4 if size else 1, np.float32)

    def execute(self, requests):
        return [pb_utils.InferenceResponse([pb_utils.Tensor("y", self.answer)]) for _ in requests]
"""
_CONFIGURATION = """
name: "{name}"
backend: "python"
input [ {{ name: "x" data_type: TYPE_FP32 dims: [ -1 ] }} ]
output [ {{ name: "y" data_type: TYPE_FP32 dims: [ {values} ] }} ]
instance_group [ {{ kind: KIND_CPU }} ]
"""


def write_models(repository: Path) -> None:
    """Write ``take`` and, for each size, ``give_SIZE``."""
    for name, values in [("take", 1), *((f"give_{size}", size // 4) for size in SIZES)]:
        folder = repository / name
        (folder / "1").mkdir(parents=True)
        (folder / "1" / "model.py").write_text(_MODEL, encoding="utf-8")
        (folder / "config.pbtxt").write_text(_CONFIGURATION.format(name=name, values=values), encoding="utf-8")


def medians_ms(calls: list[Callable[[], object]], rounds: int) -> list[float]:
    """Call by turns; the median of each."""
    took: list[list[float]] = [[] for _ in calls]
    for round_ in range(rounds + 5):
        for call, times in zip(calls, took, strict=True):
            began = time.perf_counter()
            call()
            if round_ >= 5:  # noqa: PLR2004 (the first ones make connections and regions)
                times.append((time.perf_counter() - began) * 1000)
    return [statistics.median(times) for times in took]


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    sharing.LEAST_BYTES = min(SIZES)
    print("| bytes | input, in the request | shared | output, in the answer | shared |")
    print("|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        write_models(Path(folder))
        options = embedded.ServerOptions(Path(folder), *embedded.free_ports())
        with (
            embedded.start(options) as server,
            Client(server.grpc_url) as plain,
            Client(server.grpc_url, shared_memory=True) as shared,
        ):
            for size in SIZES:
                row = []
                for model, values in (("take", size // 4), (f"give_{size}", 1)):
                    inputs = {"x": np.ones(values, np.float32)}
                    calls = [
                        lambda client=client, model=model, inputs=inputs: client.infer(model, inputs)
                        for client in (plain, shared)
                    ]
                    row += medians_ms(calls, rounds)
                print(f"| {size:,} | " + " | ".join(f"{value:.2f}" for value in row) + " |", flush=True)


if __name__ == "__main__":
    main()
