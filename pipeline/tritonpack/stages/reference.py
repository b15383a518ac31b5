"""The reference: inputs and what PyTorch answered in FP32, as one ``.npz`` file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.core.tensors import Tensors


@dataclass(frozen=True)
class Case:
    """One batch: inputs ``(batch, length)`` by name, and the reference's outputs by name."""

    inputs: Tensors
    outputs: Tensors


def write_reference(cases: list[Case], out: Path) -> None:
    """Write the cases; `read_reference` is the inverse."""
    arrays: Tensors = {}
    for index, case in enumerate(cases):
        arrays |= {f"{index:03}/input/{name}": array for name, array in case.inputs.items()}
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
            (case.inputs if side == "input" else case.outputs)[name] = arrays[key]
    return [cases[index] for index in sorted(cases)]
