"""Whether the answers are the same: against FP32 PyTorch, and against people's ratings."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tritonpack.core.tensors import row_cosines
from tritonpack.evaluation.datasets import DATASETS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_TIMEOUT_S = 300


@dataclass(frozen=True)
class Agreement:
    """How good a side's vectors are.

    Attributes:
        mean_cosine: to FP32 PyTorch's vectors.
        min_cosine: of the worst text.
        spearman: of pairs' cosines and people's ratings.
    """

    mean_cosine: float
    min_cosine: float
    spearman: float


class Reference:
    """Lee's documents with PyTorch's vectors of them.

    Args:
        model: the weights' folder.
    """

    def __init__(self, model: Path) -> None:
        lee = DATASETS.get("lee")
        examples = lee.read(lee.options(kind="lee"), Path(), ("text",))
        if examples.pairs is None or examples.expected is None:
            raise ValueError("Lee's data has no rated pairs")
        self.texts: list[str] = [str(row["text"]) for row in examples.rows]
        self._pairs = np.asarray(examples.pairs)
        self._ratings = np.array(examples.expected, np.float64)
        self._vectors = _torch_vectors(model, self.texts)

    def agreement_of(self, vectors: NDArray[np.float64]) -> Agreement:
        """Hold vectors of the texts against PyTorch's and against the ratings."""
        from scipy.stats import spearmanr

        cosines = row_cosines(vectors, self._vectors)
        of_pairs = row_cosines(vectors[self._pairs[:, 0]], vectors[self._pairs[:, 1]])
        correlation = float(spearmanr(of_pairs, self._ratings).statistic)
        return Agreement(float(cosines.mean()), float(cosines.min()), correlation)


def _torch_vectors(model: Path, texts: Sequence[str]) -> NDArray[np.float64]:
    """Ask a process of its own, so that torch takes nothing here afterwards."""
    with tempfile.TemporaryDirectory() as name:
        given, made = Path(name, "texts.npy"), Path(name, "vectors.npy")
        np.save(given, np.array(texts))
        command = [sys.executable, "-m", "comparing.reference", str(model), str(given), str(made)]
        subprocess.run(command, cwd=Path(__file__).parents[1], check=True, timeout=_TIMEOUT_S, capture_output=True)
        vectors: NDArray[np.float64] = np.load(made).astype(np.float64)
        return vectors
