"""Pruning: small weights become zero, wherever they are or two of every four."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from tritonpack.compressions._layers import find_layers, student_layers
from tritonpack.compressions._matrices import Matrix, matrices_of
from tritonpack.compressions._training import TrainingOptions, trained
from tritonpack.core.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from tritonpack.compressions import Lesson
    from tritonpack.core.action import Facts

_GROUP, _ZEROS = 4, 2


class PruneOptions(TrainingOptions):
    """Which weights become zero, and how the others make up for it."""

    kind: Literal["prune"]
    pattern: Literal["magnitude", "2:4"] = Field(
        "magnitude",
        description="magnitude: the smallest weights; 2:4: the two smaller of every four along the input, which "
        "sparse tensor cores need.",
    )
    sparsity: float = Field(0.5, ge=0, le=0.95, description="Share of weights that become zero; 2:4 has a half.")
    scope: Literal["matrix", "global"] = Field(
        "matrix", description="Whether the smallest are looked for in each matrix, or in all together."
    )
    modules: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="Patterns of linear layers, e.g. encoder.layer.*.output.dense; null: those of the model's layers, "
        "so neither embeddings nor the task's head.",
    )
    skip: tuple[str, ...] = Field((), description="Patterns of linear layers that are left alone.")
    steps: int = Field(0, ge=0, description="Recovery: how often the other weights are changed, on unlabelled rows.")

    @model_validator(mode="after")
    def _two_of_four_is_a_half(self) -> Self:
        if self.pattern == "2:4" and (
            self.sparsity != PruneOptions.model_fields["sparsity"].default or self.scope != "matrix"
        ):
            raise ValueError("pattern 2:4 zeroes a half of every four weights: leave out sparsity and scope")
        return self


class Prune:
    """Weights of linear layers, by their magnitude.

    Parameters that are no linear layer's stay: XLNet's attention, and the joined projection of
    ``torch.nn.MultiheadAttention``. Zeros that an earlier step made stay zero.
    """

    version = 1
    options = PruneOptions
    packages = ("torch",)

    def needs_data(self, options: PruneOptions) -> bool:
        """For recovery alone."""
        return options.steps > 0

    def reshape(self, module: Any, options: PruneOptions) -> Any:
        """Nothing: zeros are weights too."""
        del options
        return module

    def train(self, module: Any, options: PruneOptions, lesson: Lesson) -> Facts:
        """Set weights to zero, and train the others while those stay zero.

        Raises:
            RecipeError: there is no linear layer of such a name, or none with inputs by fours.
        """
        layers = student_layers(module, find_layers(lesson.teacher))
        found = matrices_of(module, layers, options.modules, options.skip)
        matrices = [matrix for matrix in found if options.pattern != "2:4" or _has_fours(matrix)]
        if not matrices:
            raise RecipeError(
                f"pattern 2:4: no linear layer's input is a multiple of {_GROUP}, e.g. {found[0].name}",
                hint="Say pattern: magnitude.",
                field="compress.pattern",
            )
        masks = _two_of_four(matrices) if options.pattern == "2:4" else _smallest(matrices, options)
        masks = [mask & (matrix.rows != 0) for matrix, mask in zip(matrices, masks, strict=True)]

        def hold() -> None:
            for matrix, mask in zip(matrices, masks, strict=True):
                matrix.rows.mul_(mask)

        hold()
        learnt = trained(module, lesson, options, steps=options.steps, hold=hold) if options.steps else {}
        weights = sum(mask.numel() for mask in masks)
        return {
            "matrices": len(matrices),
            "left_out": sorted(matrix.name for matrix in found if matrix not in matrices),
            "weights": weights,
            "zeros": 1 - sum(int(mask.sum()) for mask in masks) / weights,
        } | learnt


COMPRESSION = Prune()


def _has_fours(matrix: Matrix) -> bool:
    return int(matrix.rows.shape[1]) % _GROUP == 0


def _two_of_four(matrices: Sequence[Matrix]) -> list[Any]:
    """Which weights stay: the two greater of each four along the input.

    Source: https://docs.nvidia.com/deeplearning/tensorrt/latest/inference-library/work-quantized-types.html
    """
    import torch

    masks = []
    for matrix in matrices:
        groups = matrix.rows.abs().reshape(-1, _GROUP)
        kept = groups.topk(_GROUP - _ZEROS, dim=1).indices
        masks.append(torch.zeros_like(groups, dtype=torch.bool).scatter_(1, kept, True).reshape(matrix.rows.shape))
    return masks


def _smallest(matrices: Sequence[Matrix], options: PruneOptions) -> list[Any]:
    """Which weights stay: all but the smallest, of each matrix or of all."""
    import torch
    from torch.nn.utils.prune import L1Unstructured

    method = L1Unstructured(options.sparsity)
    groups = [[matrix] for matrix in matrices] if options.scope == "matrix" else [list(matrices)]
    masks: list[Any] = []
    for group in groups:
        values = torch.cat([matrix.rows.reshape(-1) for matrix in group])
        mask = method.compute_mask(values, default_mask=torch.ones_like(values)).bool()
        parts = mask.split([matrix.rows.numel() for matrix in group])
        masks += [part.reshape(matrix.rows.shape) for part, matrix in zip(parts, group, strict=True)]
    return masks
