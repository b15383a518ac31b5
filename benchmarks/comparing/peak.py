"""What the machine can do at most: large matrix products, and the arithmetic that a text needs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

THREADS = 2
_SIZE = 2048
_ROWS = 512
_SECONDS = 0.7
_TIMEOUT_S = 120


def operations_of_text(config: Path, tokens: Sequence[int]) -> float:
    """Multiplications and additions of an encoder of BERT's kind, in its products alone, mean of these texts.

    Args:
        config: the model's ``config.json``.
        tokens: of each text.
    """
    model = json.loads(config.read_text(encoding="utf-8"))
    width, inner, layers = model["hidden_size"], model["intermediate_size"], model["num_hidden_layers"]
    of_token = 2 * (4 * width * width + 2 * width * inner)
    lengths = np.asarray(tokens, np.float64)
    every = layers * (of_token * lengths + 4 * width * lengths**2)
    return float(every.mean())


def peaks() -> dict[str, float]:
    """10^9 operations a second of each kind, measured in a process of its own."""
    command = [sys.executable, "-m", "comparing.peak"]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[1], check=True, timeout=_TIMEOUT_S, capture_output=True, text=True
    )
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _best(action: Callable[[], object]) -> float:
    """10^9 operations a second of the fastest call."""
    action()
    best, end = 0.0, time.perf_counter() + _SECONDS
    while time.perf_counter() < end:
        begin = time.perf_counter()
        action()
        best = max(best, 2 * _ROWS * _SIZE * _SIZE / (time.perf_counter() - begin))
    return round(best / 1e9, 1)


def _onnx(operator: str, left: NDArray[np.generic], right: NDArray[np.generic], kind: int) -> Callable[[], object]:
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    types = {np.dtype(np.float32): TensorProto.FLOAT, np.dtype(np.uint8): TensorProto.UINT8}
    graph = helper.make_graph(
        [helper.make_node(operator, ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", types[left.dtype], left.shape)],
        [helper.make_tensor_value_info("c", kind, (_ROWS, _SIZE))],
        [numpy_helper.from_array(right, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return lambda: session.run(None, {"a": left})


def main() -> None:
    """Print the figures as JSON."""
    import torch
    from onnx import TensorProto

    rng = np.random.default_rng(0)
    a, b = (rng.standard_normal(shape, np.float32) for shape in ((_ROWS, _SIZE), (_SIZE, _SIZE)))
    bytes_a = rng.integers(0, 255, a.shape).astype(np.uint8)
    bytes_b = rng.integers(-127, 127, b.shape).astype(np.int8)
    torch.set_num_threads(THREADS)
    left, right = torch.from_numpy(a), torch.from_numpy(b)
    half_left, half_right = left.bfloat16(), right.bfloat16()
    found = {
        "ONNX Runtime, FP32": _best(_onnx("MatMul", a, b, TensorProto.FLOAT)),
        "ONNX Runtime, INT8": _best(_onnx("MatMulInteger", bytes_a, bytes_b, TensorProto.INT32)),
        "torch, FP32": _best(lambda: left @ right),
        "torch, bfloat16": _best(lambda: half_left @ half_right),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
