"""What the values of a graph looked like on real data: the facts that precisions decide by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from tritonpack.core.tensors import Tensors

BINS = 2048
SAMPLED_ROWS = 256


@dataclass(frozen=True)
class Activation:
    """What a product with weights reads, ``(..., k)``, over all the data; positions that are padding don't count.

    Args:
        histogram: ``(BINS,) int64``, how many magnitudes lie in each of equal bins from 0 to ``greatest``.
        greatest: the greatest magnitude.
        channels: ``(k,) float32``, the greatest magnitude of each input channel.
        rows: ``(n, k) float32``, at most `SAMPLED_ROWS` rows drawn evenly from the data.
    """

    histogram: NDArray[np.int64]
    greatest: float
    channels: NDArray[np.float32]
    rows: NDArray[np.float32]


@dataclass(frozen=True)
class Observations:
    """A graph's values on real data, by the name of the value in the exported graph.

    Args:
        rows: how many rows of data were seen.
        activations: what products with constant weights read.
        magnitudes: of every floating-point value, the greatest magnitude; infinite where one isn't finite.
        sums: by the output of a node that adds many numbers up (reductions, layer norms, norms), the greatest
            magnitude that the sum reaches on its way.
        logits: by the output of a softmax, the greatest magnitude among the inputs that matter to it: those within
            20 of their row's greatest.
    """

    rows: int
    activations: Mapping[str, Activation] = field(default_factory=dict)
    magnitudes: Mapping[str, float] = field(default_factory=dict)
    sums: Mapping[str, float] = field(default_factory=dict)
    logits: Mapping[str, float] = field(default_factory=dict)


_NUMBERS = ("magnitudes", "sums", "logits")


def write_observations(observations: Observations, out: Path) -> None:
    """Write them as one ``.npz`` file; `read_observations` is the inverse."""
    arrays: Tensors = {"rows": np.array(observations.rows)}
    for kind in _NUMBERS:
        numbers: Mapping[str, float] = getattr(observations, kind)
        arrays[f"{kind}/names"] = np.array(list(numbers), dtype=np.str_)
        arrays[f"{kind}/values"] = np.array(list(numbers.values()), dtype=np.float64)
    for name, activation in observations.activations.items():
        arrays[f"activation/histogram/{name}"] = activation.histogram
        arrays[f"activation/greatest/{name}"] = np.array(activation.greatest)
        arrays[f"activation/channels/{name}"] = activation.channels
        arrays[f"activation/rows/{name}"] = activation.rows
    with out.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # the stub types allow_pickle by the same keywords


def read_observations(path: Path) -> Observations:
    """Read what `write_observations` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        numbers = {
            kind: dict(zip(arrays[f"{kind}/names"].tolist(), arrays[f"{kind}/values"].tolist(), strict=True))
            for kind in _NUMBERS
        }
        parts: dict[str, dict[str, Any]] = {}
        for key in arrays.files:
            if key.startswith("activation/"):
                _, part, name = key.split("/", 2)
                parts.setdefault(name, {})[part] = arrays[key] if part != "greatest" else float(arrays[key])
        activations = {name: Activation(**fields) for name, fields in parts.items()}
        return Observations(int(arrays["rows"]), activations, **numbers)
