"""Where labelled data comes from: one file a kind of data set, each holding ``DATASET``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from tritonpack.core.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

    from tritonpack.evaluation import Examples


class DatasetOptions(BaseModel):
    """What a recipe says about a data set; each kind adds its own fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    rows: int | None = Field(None, ge=1, description="Use the first so many samples (rows, or pairs); null: all.")


class Dataset(Protocol):
    """A kind of data set."""

    options: type[DatasetOptions]

    def digest(self, options: Any, folder: Path) -> str:
        """SHA-256 over everything that decides what `read` gives: data, code that makes it, options; cheap.

        Raises:
            SourceError: it isn't there.
        """

    def read(self, options: Any, folder: Path, inputs: tuple[str, ...]) -> Examples:
        """The data.

        Args:
            options: the recipe's fields.
            folder: where relative paths start.
            inputs: names of the public inputs that the recipe's rows must have.

        Raises:
            SourceError: it doesn't read, lacks an input, or holds too little to say anything.
        """


DATASETS: Registry[Dataset] = Registry("tritonpack.evaluation.datasets", "DATASET")
