"""Knowledge distillation: a student of fewer layers learns its teacher's answers on unlabelled rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, field_validator

from tritonpack.compressions._layers import (
    Layers,
    check_own_weights,
    even_spread,
    find_layers,
    keep_layers,
    student_layers,
)
from tritonpack.compressions._training import TrainingOptions, trained
from tritonpack.core.errors import RecipeError

if TYPE_CHECKING:
    from tritonpack.compressions import Lesson
    from tritonpack.core.action import Facts


class DistillOptions(TrainingOptions):
    """Which layers the student keeps, and how it learns."""

    kind: Literal["distill"]
    layers: Annotated[int, Field(ge=1)] | tuple[Annotated[int, Field(ge=0)], ...] = Field(
        description="How many of the model's layers stay, spread evenly; or a list of those that do, from 0."
    )
    path: str | None = Field(None, description="Where the layers are, e.g. encoder.layer; null: the longest list.")
    steps: int = Field(300, ge=0, description="How often the weights are changed; 0: the layers are cut, no more.")

    @field_validator("layers")
    @classmethod
    def _ascending(cls, layers: int | tuple[int, ...]) -> int | tuple[int, ...]:
        if isinstance(layers, tuple) and (not layers or list(layers) != sorted(set(layers))):
            raise ValueError("the list of layers has to ascend, and to hold at least one")
        return layers


class Distill:
    """The student begins with the teacher's own layers (Sanh et al., 2019) and learns the teacher's vectors or scores.

    Source: https://arxiv.org/abs/1910.01108
    """

    version = 1
    options = DistillOptions
    packages = ("torch",)

    def needs_data(self, options: DistillOptions) -> bool:
        """Unless the layers are only cut."""
        return options.steps > 0

    def reshape(self, module: Any, options: DistillOptions) -> Any:
        """Drop layers.

        Raises:
            RecipeError: the model has no list of layers, fewer than asked for, or they share their weights.
        """
        layers = find_layers(module, options.path)
        if layers is None:
            raise RecipeError(
                "the model has no list of equal layers to drop some of",
                hint="Name a ModuleList or Sequential in compress.path, or leave out distill.",
                field="compress.path",
            )
        check_own_weights(module, layers)
        keep_layers(module, layers, _kept(layers, options))
        return module

    def train(self, module: Any, options: DistillOptions, lesson: Lesson) -> Facts:
        """Learn from the teacher."""
        layers = student_layers(module, find_layers(lesson.teacher, options.path))
        facts = {"layers": 0 if layers is None else len(layers)}
        return facts | (
            trained(module, lesson, options, steps=options.steps, path=options.path) if options.steps else {}
        )


COMPRESSION = Distill()


def _kept(layers: Layers, options: DistillOptions) -> tuple[int, ...]:
    count, wanted = len(layers), options.layers
    kept = wanted if isinstance(wanted, tuple) else even_spread(count, min(wanted, count))
    fewer = kept[-1] < count and len(kept) < count
    if not fewer:
        raise RecipeError(
            f"compress.layers is {wanted}, and the model has {count} layers, numbered from 0 ({layers.path})",
            hint=f"Keep fewer than {count}." if count > 1 else "There is none to drop.",
            field="compress.layers",
            value=wanted,
        )
    return kept
