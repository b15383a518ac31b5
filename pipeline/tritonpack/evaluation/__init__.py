"""Labelled data and metrics for the accuracy gate: one file a kind of data set, each holding ``DATASET``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict

from tritonpack.core.registry import Registry
from tritonpack.evaluation._metrics import METRICS

__all__ = ["DATASETS", "METRICS", "Dataset", "DatasetOptions", "RatedPairs"]

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class DatasetOptions(BaseModel):
    """What a recipe says about a data set; each kind adds its own fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str


@dataclass(frozen=True)
class RatedPairs:
    """Pairs of texts that people rated.

    Args:
        texts: every text once.
        pairs: ``(n, 2) int64``, indices into the texts.
        ratings: ``(n,) float64``, greater is more alike.
    """

    texts: list[str]
    pairs: NDArray[Any]
    ratings: NDArray[Any]


class Dataset(Protocol):
    """A kind of data set."""

    options: type[DatasetOptions]

    def digest(self, options: Any, folder: Path) -> str:
        """SHA-256 over the data.

        Raises:
            SourceError: it isn't there.
        """

    def read(self, options: Any, folder: Path) -> RatedPairs:
        """The data; relative paths start from ``folder``.

        Raises:
            SourceError: it doesn't read, or holds too little to say anything.
        """


DATASETS: Registry[Dataset] = Registry("tritonpack.evaluation", "DATASET")
