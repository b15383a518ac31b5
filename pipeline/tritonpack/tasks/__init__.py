"""What a model is for: one file a task, each holding ``TASK``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict

from tritonpack.core.registry import Registry

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from tritonpack.core.tensors import Agreement, Tensors, TensorSpec


class TaskOptions(BaseModel):
    """What a recipe says about its task; each kind adds its own fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str


class Task(Protocol):
    """A task: what goes in, what comes out, and when two answers are the same.

    Args:
        version: raised when `wrap`, `sample_inputs` or `agreement` would give something else.
        options: the recipe's fields for the task.
        auto_class: the `transformers` class that carries the task's head.
        optional_weights: prefixes of weights that the task doesn't use.
        answers: public output name -> name of the graph's output, for the ensemble.
    """

    version: int
    options: type[TaskOptions]
    auto_class: str
    optional_weights: tuple[str, ...]
    answers: dict[str, str]

    def signature(self, config: dict[str, Any]) -> tuple[list[TensorSpec], list[TensorSpec]]:
        """The graph's inputs and outputs; an output axis that only the model knows is named."""

    def wrap(self, model: Any, options: Any) -> Any:
        """The module to export: the signature's inputs in order to the signature's outputs in order."""

    def sample_inputs(self, rng: np.random.Generator, batch: int, length: int, config: dict[str, Any]) -> Tensors:
        """Inputs of ``batch`` rows padded to ``length`` tokens, with rows of several true lengths."""

    def agreement(self, reference: NDArray[Any], candidate: NDArray[Any]) -> Agreement:
        """How far a candidate's output is from the reference's."""

    def pair_scores(self, left: Tensors, right: Tensors) -> NDArray[Any]:
        """How alike each row of ``left`` is to the same row of ``right``: ``(n,)``, greater is more alike."""


TASKS: Registry[Task] = Registry("tritonpack.tasks", "TASK")
