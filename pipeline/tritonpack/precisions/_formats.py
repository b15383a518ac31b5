"""The two halves: what FP16 and bfloat16 can hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Format:
    """A floating-point type of sixteen bits.

    Args:
        name: as it is called in a recipe and at the end of a value's name.
        onnx: name of ONNX's element type.
        numpy: name of the array type; bfloat16 is one of `ml_dtypes`.
        greatest: the greatest finite number.
        least: the least number that has every digit.
        digits: binary digits of a number.
    """

    name: str
    onnx: str
    numpy: str
    greatest: float
    least: float
    digits: int

    @property
    def element_type(self) -> int:
        """ONNX's number of the type."""
        import onnx

        return int(getattr(onnx.TensorProto, self.onnx))

    def rounded(self, array: NDArray[np.float32]) -> NDArray[Any]:
        """To the nearest number of this type; what is finite stays finite."""
        import ml_dtypes  # noqa: F401  it makes bfloat16 known to NumPy

        within = np.clip(array, -self.greatest, self.greatest)
        return np.where(np.isinf(array), array, within).astype(np.dtype(self.numpy))

    def tensor(self, tensor: Any) -> Any:
        """An ONNX tensor of single precision in this type, under the same name."""
        import onnx

        return onnx.numpy_helper.from_array(self.rounded(onnx.numpy_helper.to_array(tensor)), tensor.name)

    def holds(self, array: NDArray[np.float32]) -> bool:
        """Whether the numbers are within range, and the greatest of them keeps its digits."""
        finite = np.abs(array[np.isfinite(array)])
        top = finite.max(initial=0.0, keepdims=True)
        if top.item() > self.greatest:
            return False
        error = abs(self.rounded(top).astype(np.float32).item() - top.item())
        return bool(error <= top.item() * 2.0 ** (1 - self.digits))


FP16 = Format("fp16", "FLOAT16", "float16", greatest=65504.0, least=2.0**-14, digits=11)
BF16 = Format("bf16", "BFLOAT16", "bfloat16", greatest=(2.0 - 2.0**-7) * 2.0**127, least=2.0**-126, digits=8)
