"""What an application sends, and how it becomes the graph's inputs: one file a kind, each holding ``INPUT``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict

from tritonpack.core.registry import Registry

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from tritonpack.core.model import ModelTraits, RaggedAxis
    from tritonpack.core.tensors import Tensors, TensorSpec


class InputOptions(BaseModel):
    """What a recipe says about its input; each kind adds its own fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str


@dataclass(frozen=True)
class Sample:
    """A batch of graph inputs: rows padded to one shape, and how long each row really is.

    Args:
        inputs: by name, ``(batch, longest)`` or a fixed shape.
        lengths: by ragged axis, ``(batch,) int64``.
    """

    inputs: Tensors
    lengths: Tensors


class Input(Protocol):
    """A kind of input.

    Args:
        version: raised when `sample` or the served stage would give something else.
        options: the recipe's fields for the input.
        stage: what its model in the repository is called: ``<recipe>_<stage>``.
        file: the served code, ``repository/python_models/<file>.py``.
        needs_tokenizer: whether the stage reads the model's tokenizer.
        public: what an application sends; the first axis is the batch.
        details: what the stage can tell a task's post-processing beside the graph's inputs.
    """

    version: int
    options: type[InputOptions]
    stage: str
    file: str
    needs_tokenizer: bool
    public: tuple[TensorSpec, ...]
    details: tuple[TensorSpec, ...]

    def graph_inputs(self, options: Any, model: ModelTraits) -> list[TensorSpec]:
        """The graph's inputs; a ragged axis is named."""

    def axes(self, options: Any, model: ModelTraits) -> list[RaggedAxis]:
        """The axes along which rows differ in length."""

    def parameters(self, options: Any, model: ModelTraits) -> dict[str, str]:
        """The served stage's parameters."""

    def rows_per_request(self, options: Any) -> int:
        """The most rows of the graph that one row of a request can become."""

    def sample(self, rng: np.random.Generator, batch: int, length: int, options: Any, model: ModelTraits) -> Sample:
        """Random inputs of ``batch`` rows: the first of ``length`` elements, the others of any true length."""

    def requests_from_file(self, file: Path) -> list[Tensors]:
        """What an application might send, one row each, from a calibration file.

        Raises:
            SourceError: a line isn't what this kind of input takes.
        """


INPUTS: Registry[Input] = Registry("tritonpack.inputs", "INPUT")
