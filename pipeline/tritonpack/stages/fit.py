"""Does the model fit what the recipe asks of it? Answered before anything heavy is loaded."""

from __future__ import annotations

from typing import Any

from tritonpack.core.errors import RecipeError
from tritonpack.tasks import TASKS


def check_head(kind: str, config: dict[str, Any]) -> None:
    """Refuse a checkpoint that was saved with another head than the task's.

    Raises:
        RecipeError: the message says which head it has, the hint which tasks that fits.
    """
    saved = tuple(config.get("architectures") or ())
    heads = TASKS.get(kind).heads
    if not saved or not heads or any(name.endswith(heads) for name in saved):
        return
    fitting = [name for name, task in TASKS.all().items() if any(a.endswith(task.heads) for a in saved)]
    raise RecipeError(
        f"task {kind} needs a model with a head {' or '.join(heads)}, but its architecture is {', '.join(saved)}",
        hint=f"Such a model does: {', '.join([*fitting, 'embedding'])}.",
        field="task.kind",
    )


def check_length(length: int, positions: int | None) -> None:
    """Refuse rows that are longer than the model's positions.

    Raises:
        RecipeError: the message says how many there are.
    """
    if positions is not None and length > positions:
        raise RecipeError(
            f"export.max_length is {length}, but the model has {positions} positions",
            hint=f"Set export.max_length to {positions} or less.",
            field="export.max_length",
        )
