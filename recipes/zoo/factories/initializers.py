"""Weights out of quantised ONNX files, as FP32 tensors under the names that `transformers` uses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from onnx import numpy_helper

from tritonpack.core.digest import digest_of_file
from tritonpack.core.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_QUANTIZED = "_quantized"
_MATRICES = {"MatMulNBits": "_Q4", "MatMulInteger": "_quant"}


def weights_from_onnx(path: Path, sha256: str) -> dict[str, NDArray[Any]]:
    """Every weight of a graph that was exported from PyTorch and quantised by ONNX Runtime.

    A matrix is named after the module that its node belongs to, and is turned as ``nn.Linear`` holds it.

    Args:
        path: the ONNX file.
        sha256: digest of the file that the recipe was written for, so that it enters the build's key.

    Raises:
        SourceError: it is another file.
    """
    if (found := digest_of_file(path)) != sha256:
        raise SourceError(
            f"{path} isn't the file that this recipe was written for: its SHA-256 is {found}",
            hint="Install the version that requirements/zoo.txt pins.",
            field="source.arguments.sha256",
        )
    graph = onnx.load(path).graph
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = {name: value for name, value in values.items() if name.endswith((".weight", ".bias"))}
    weights |= dict(_tables(values))
    for node in graph.node:
        if node.op_type in _MATRICES and node.input[1] in values:
            weights[_module(node)] = _matrix(node, values)
    return weights


def _module(node: Any) -> str:
    """``/bert/encoder/layer.0/output/dense/MatMul_Q4`` -> ``bert.encoder.layer.0.output.dense.weight``."""
    path, _, name = node.name.strip("/").rpartition("/")
    if name != f"MatMul{_MATRICES[node.op_type]}":
        raise SourceError(f"node {node.name} isn't the product of a linear layer")
    return f"{path.replace('/', '.')}.weight"


def _tables(values: dict[str, NDArray[Any]]) -> Iterator[tuple[str, NDArray[Any]]]:
    """Embeddings, quantised as a whole: ``scale * (stored - zero_point)``."""
    for name, stored in values.items():
        if name.endswith(_QUANTIZED) and "onnx::" not in name:
            whole = name.removesuffix(_QUANTIZED)
            yield whole, _dequantized(stored, values[f"{whole}_scale"], values[f"{whole}_zero_point"])


def _matrix(node: Any, values: dict[str, NDArray[Any]]) -> NDArray[Any]:
    """``(out, in) float32``."""
    stored = values[node.input[1]]
    if node.op_type == "MatMulNBits":
        return _from_blocks(node, stored, values[node.input[2]])
    whole = node.input[1].removesuffix(_QUANTIZED)
    return _dequantized(stored, values[f"{whole}_scale"], values[f"{whole}_zero_point"]).T


def _from_blocks(node: Any, packed: NDArray[Any], scales: NDArray[Any]) -> NDArray[Any]:
    """Four bits a weight, the lower half of each byte first, blocks along the input, zero point 8.

    Source: https://github.com/microsoft/onnxruntime/blob/v1.23.0/docs/ContribOperators.md#com.microsoft.MatMulNBits
    """
    attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    if attributes["bits"] != 4 or len(node.input) != 3:  # noqa: PLR2004  the operator's own numbers
        raise SourceError(f"node {node.name} isn't quantised to 4 bits around 8")
    halves = np.stack([packed & 0x0F, packed >> 4], axis=-1).reshape(*packed.shape[:2], attributes["block_size"])
    blocks = (halves.astype(np.float32) - 8) * scales.reshape(*packed.shape[:2], 1)
    whole: NDArray[Any] = blocks.reshape(attributes["N"], -1)[:, : attributes["K"]]
    return whole


def _dequantized(stored: NDArray[Any], scale: NDArray[Any], zero_point: NDArray[Any]) -> NDArray[Any]:
    value: NDArray[Any] = (stored.astype(np.int32) - zero_point.astype(np.int32)).astype(np.float32) * scale
    return value
