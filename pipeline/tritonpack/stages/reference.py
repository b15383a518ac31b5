"""The reference: inputs and what PyTorch answered in FP32, as one ``.npz`` file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tritonpack.core.tensors import Tensors, TensorSpec


@dataclass(frozen=True)
class Case:
    """One batch.

    Args:
        inputs: the graph's inputs by name, padded.
        lengths: by ragged axis, ``(batch,) int64``: how long each row really is.
        outputs: the reference's outputs by name; none for calibration.
    """

    inputs: Tensors
    lengths: Tensors
    outputs: Tensors = field(default_factory=dict)

    def kept(self, array: NDArray[Any], spec: TensorSpec) -> NDArray[Any]:
        """An output's rows without padding.

        Args:
            array: ``(batch, ...)``, or ``(batch, longest, ...)`` where the output has a ragged axis.
            spec: the output's axes by name.

        Returns:
            ``(batch, ...)`` as it is, or ``(tokens, ...)`` over all rows; a row of single numbers is one vector.
        """
        lengths = self.lengths.get(str(spec.shape[1])) if len(spec.shape) > 1 else None
        if lengths is None:
            return array
        real = np.arange(array.shape[1])[None, :] < lengths[:, None]
        return array[real] if array.ndim > 2 else array[real][None]  # noqa: PLR2004  (batch, longest)


def write_reference(cases: list[Case], out: Path) -> None:
    """Write the cases; `read_reference` is the inverse."""
    arrays: Tensors = {}
    for index, case in enumerate(cases):
        arrays |= {f"{index:03}/input/{name}": array for name, array in case.inputs.items()}
        arrays |= {f"{index:03}/length/{name}": array for name, array in case.lengths.items()}
        arrays |= {f"{index:03}/output/{name}": array for name, array in case.outputs.items()}
    with out.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # the stub types allow_pickle by the same keywords


def read_reference(path: Path) -> list[Case]:
    """Read what `write_reference` wrote."""
    cases: dict[str, Case] = {}
    with np.load(path, allow_pickle=False) as arrays:
        for key in arrays.files:
            index, side, name = key.split("/", 2)
            case = cases.setdefault(index, Case({}, {}))
            {"input": case.inputs, "length": case.lengths, "output": case.outputs}[side][name] = arrays[key]
    return [cases[index] for index in sorted(cases)]
