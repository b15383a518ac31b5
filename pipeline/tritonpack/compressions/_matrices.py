"""The weights of a model's linear layers, whatever way round they are stored."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tritonpack.compressions._layers import Layers

_SHOWN = 8
"""Names in a hint: more would be read by nobody."""


@dataclass(frozen=True)
class Matrix:
    """A linear layer's weight.

    Args:
        name: of the linear layer inside the module.
        weight: the parameter.
        inputs_first: whether it is stored as ``(in, out)``, as GPT-2's are.
    """

    name: str
    weight: Any
    inputs_first: bool

    @property
    def rows(self) -> Any:
        """``(out, in)``, a view of the parameter without its gradient."""
        return self.weight.detach().T if self.inputs_first else self.weight.detach()


def matrices_of(
    module: Any, layers: Layers | None, chosen: Sequence[str] | None, skipped: Sequence[str]
) -> list[Matrix]:
    """The linear layers that a recipe means.

    By default those inside the model's layers: what comes before them (embeddings and their projections)
    and after them (a pooler, the task's head) is small, and every error there reaches the answer undamped.
    A model without a list of layers: every linear layer but the last, which is its head. A weight that is
    an embedding table too is never taken.

    Args:
        module: the task's module.
        layers: its layers, if it has a list of them.
        chosen: patterns of names, as the model itself calls them, e.g. ``encoder.layer.*.output.dense``;
            None: the default.
        skipped: patterns of names that are left out.

    Raises:
        RecipeError: a pattern matches nothing, or nothing is left.
    """
    every = _every_matrix(module)
    for pattern in (*(chosen or ()), *skipped):
        if not any(_matches(matrix.name, pattern) for matrix in every):
            shown = [matrix.name for matrix in every[:_SHOWN]] + ["..."] * (len(every) > _SHOWN)
            raise RecipeError(
                f"no linear layer of the model is called '{pattern}'",
                hint=f"It has: {', '.join(shown) or 'none'}",
                field="compress.modules",
                value=pattern,
            )
    if chosen is None:
        found = _inside(layers, every)
    else:
        found = [matrix for matrix in every if any(_matches(matrix.name, pattern) for pattern in chosen)]
    found = [matrix for matrix in found if not any(_matches(matrix.name, pattern) for pattern in skipped)]
    if not found:
        raise RecipeError(
            "the model has no linear layer to prune",
            hint="Name some in compress.modules; the head and embeddings are left alone by default.",
            field="compress.modules",
        )
    return found


def _every_matrix(module: Any) -> list[Matrix]:
    import torch
    from transformers.pytorch_utils import Conv1D

    tables = {id(part.weight) for part in module.modules() if isinstance(part, torch.nn.Embedding)}
    found = {
        id(part.weight): Matrix(name, part.weight, isinstance(part, Conv1D))
        for name, part in module.named_modules()
        if isinstance(part, torch.nn.Linear | Conv1D)
    }
    return [matrix for key, matrix in found.items() if key not in tables]


def _inside(layers: Layers | None, every: list[Matrix]) -> list[Matrix]:
    if layers is None:
        return every[:-1]
    return [matrix for matrix in every if matrix.name.startswith(f"{layers.path}.")]


def _matches(name: str, pattern: str) -> bool:
    """The task's module puts its own names before the model's."""
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"*.{pattern}")
