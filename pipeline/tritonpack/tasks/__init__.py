"""What a model is for: one file a task, each holding ``TASK``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from pydantic import BaseModel, ConfigDict

from tritonpack.core.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from tritonpack.core.model import ModelTraits
    from tritonpack.core.tensors import Agreement, Tensors, TensorSpec

    PairScores: TypeAlias = Callable[[Tensors, Tensors], NDArray[Any]]


class TaskOptions(BaseModel):
    """What a recipe says about its task; each kind adds its own fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str


@dataclass(frozen=True)
class Answer:
    """How the graph's outputs become what an application gets.

    Args:
        gives: the public outputs; the first axis is the batch.
        file: the served code, ``repository/python_models/<file>.py``; None where ``gives`` are the
            graph's own outputs under the names of ``renames``.
        renames: public output -> graph output.
        takes: what the code reads beside the graph's outputs: details of the input, graph inputs or
            public inputs.
        parameters: of the code.
        needs_tokenizer: whether the code reads the model's tokenizer.
    """

    gives: tuple[TensorSpec, ...]
    file: str | None = None
    renames: Mapping[str, str] = field(default_factory=dict)
    takes: tuple[str, ...] = ()
    parameters: Mapping[str, str] = field(default_factory=dict)
    needs_tokenizer: bool = False


class Task(Protocol):
    """A task: what goes in, what comes out, and when two answers are the same.

    Args:
        version: raised when `wrap`, `prepare` or `agreement` would give something else.
        options: the recipe's fields for the task.
        inputs: the kinds of input that it takes; a recipe that names none gets the first.
        auto_class: the `transformers` class that carries the task's head.
        heads: endings of the architectures that have the head, e.g. ``ForSequenceClassification``;
            none if every model will do.
        optional_weights: prefixes of weights that the task doesn't use.
        pair_scores: for tasks whose answers can be compared: how alike each row of one batch of
            outputs is to the same row of another, ``(n,)``, greater is more alike.
    """

    version: int
    options: type[TaskOptions]
    inputs: tuple[str, ...]
    auto_class: str
    heads: tuple[str, ...]
    optional_weights: tuple[str, ...]
    pair_scores: PairScores | None

    def outputs(self, options: Any, model: ModelTraits) -> list[TensorSpec]:
        """The graph's outputs; an axis that only the model knows is named.

        Raises:
            RecipeError: the model's configuration lacks what the task needs.
        """

    def wrap(self, module: Any, inputs: list[str], options: Any, model: ModelTraits) -> Any:
        """The module to export: the graph's inputs in the order of ``inputs`` to its outputs in order."""

    def prepare(self, rng: np.random.Generator, inputs: Tensors, model: ModelTraits) -> Tensors:
        """Change sampled inputs so that the task has something to do."""

    def agreement(self, reference: NDArray[Any], candidate: NDArray[Any]) -> Agreement:
        """How far a candidate's output is from the reference's."""

    def answer(self, options: Any, model: ModelTraits) -> Answer:
        """What an application gets."""


TASKS: Registry[Task] = Registry("tritonpack.tasks", "TASK")
