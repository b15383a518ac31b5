"""What the tasks share: a module around a model, what it returns, the labels of its head."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from tritonpack.core.errors import RecipeError
from tritonpack.core.tensors import Agreement, Tensors, agreement_of

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from tritonpack.core.model import ModelTraits
    from tritonpack.tasks import PairScores


class Head:
    """A task whose outputs are compared element by element, and which takes sampled inputs as they are."""

    pair_scores: PairScores | None = None

    def prepare(self, rng: np.random.Generator, inputs: Tensors, model: ModelTraits) -> Tensors:
        """Nothing to change."""
        del rng, model
        return inputs

    def agreement(self, reference: NDArray[Any], candidate: NDArray[Any]) -> Agreement:
        """Element errors, and the cosine of each row's scores; single numbers are one vector over all rows.

        One number alone has no direction to lose, only an error.
        """
        if reference.shape[-1] == 1:
            reference, candidate = reference.reshape(1, -1), candidate.reshape(1, -1)
        agreement = agreement_of(reference, candidate)
        if reference.size == 1 and math.isfinite(agreement.max_abs_error):
            return replace(agreement, min_cosine=1.0, mean_cosine=1.0)
        return agreement


def wrapped(module: Any, inputs: list[str], forward: Callable[[Any, dict[str, Any]], Any]) -> Any:
    """A module that takes tensors in the order of ``inputs`` and returns what ``forward`` makes of them.

    Args:
        module: the model, which takes its inputs by name.
        inputs: the names.
        forward: ``forward(module, tensors by name)``.
    """
    import torch

    class Wrapped(torch.nn.Module):  # type: ignore[misc]  # torch is not followed by the type check
        def __init__(self) -> None:
            super().__init__()
            self.model = module

        def forward(self, *tensors: torch.Tensor) -> Any:
            return forward(self.model, dict(zip(inputs, tensors, strict=True)))

    return Wrapped().eval()


def logits_of(output: Any) -> Any:
    """The scores that a model returned: its ``logits``, or the tensor itself."""
    return getattr(output, "logits", output)


def hidden_of(output: Any) -> Any:
    """The vectors that a model returned: its ``last_hidden_state``, or the tensor itself."""
    return getattr(output, "last_hidden_state", output)


def labels_of(labels: tuple[str, ...] | None, model: ModelTraits) -> list[str]:
    """The names of a head's scores: the recipe's, or the model's own ``id2label``.

    Raises:
        RecipeError: neither says them.
    """
    if labels is not None:
        return list(labels)
    named = model.config.get("id2label")
    if not named:
        raise RecipeError(
            "the model's config.json has no id2label, so its scores have no names",
            hint="Add them in order to the recipe, task: {labels: [...]}, or to config.json.",
            field="task.labels",
        )
    try:
        by_id = {int(number): str(name) for number, name in dict(named).items()}
        return [by_id[number] for number in range(len(by_id))]
    except (TypeError, ValueError, KeyError) as error:
        raise RecipeError(
            f"the model's id2label doesn't name the scores 0 to {len(named) - 1}: {named}",
            hint="Correct config.json, or say task: {labels: [...]} in the recipe.",
            field="task.labels",
        ) from error
