"""PyTorch to smaller PyTorch, before the export: one file a kind of compression, each holding ``COMPRESSION``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from pydantic import BaseModel, ConfigDict

from tritonpack.core.registry import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tritonpack.core.action import Facts
    from tritonpack.core.tensors import Tensors, TensorSpec


class CompressionOptions(BaseModel):
    """What a recipe says about one step of compression; each kind adds its own fields."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str


def unheard(step: int, steps: int, loss: float) -> None:
    """Progress that nobody listens to."""
    del step, steps, loss


@dataclass(frozen=True)
class Lesson:
    """What a student learns from.

    Args:
        teacher: the task's module before any compression, in evaluation mode: the graph's inputs in order to its
            outputs in order.
        batches: inputs by name, padded; nobody labelled them.
        inputs: names of the graph's inputs in the order in which the module takes them.
        outputs: the graph's outputs in order; the names of their axes say what they mean (`Task.outputs`).
        progress: told ``(step, steps, loss)`` as training goes on.
    """

    teacher: Any
    batches: Sequence[Tensors]
    inputs: Sequence[str]
    outputs: Sequence[TensorSpec]
    progress: Callable[[int, int, float], None] = unheard


class Compression(Protocol):
    """A kind of compression.

    Args:
        version: raised when it would give another model.
        options: the recipe's fields.
        packages: distributions whose versions decide the result.
    """

    version: int
    options: type[CompressionOptions]
    packages: tuple[str, ...]

    def needs_data(self, options: Any) -> bool:
        """Whether `train` reads the lesson's batches."""

    def reshape(self, module: Any, options: Any) -> Any:
        """Change the structure alone, e.g. drop layers; a later load of the trained weights must fit.

        Args:
            module: the task's module (`Task.wrap`); changed in place and returned.
            options: the recipe's fields.

        Raises:
            RecipeError: the model has no such part.
        """

    def train(self, module: Any, options: Any, lesson: Lesson) -> Facts:
        """Change the weights of what `reshape` returned, in place, with a fixed seed.

        Returns:
            What was done, as JSON: sparsity reached, steps, first and last loss.
        """


COMPRESSIONS: Registry[Compression] = Registry("tritonpack.compressions", "COMPRESSION")
