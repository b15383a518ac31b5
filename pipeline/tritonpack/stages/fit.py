"""Does the model fit what the recipe asks of it? Answered before anything heavy is loaded."""

from __future__ import annotations

from typing import Any

from tritonpack.core.errors import RecipeError
from tritonpack.tasks import TASKS

OTHER_HEADS = {
    "ElectraForPreTraining": "its head tells replaced words from real ones, it names none",
    "XLNetLMHeadModel": "its head scores the words of a permuted text, not the next word",
    "XLNetForQuestionAnswering": "its head searches with a beam: it has no start and end score for every token",
    "XLMWithLMHeadModel": "its head fills masks, it doesn't tell the next word",
    "FlaubertWithLMHeadModel": "its head fills masks, it doesn't tell the next word",
}
"""Architectures that end as a task's heads do, though their head does something else: what."""


def check_head(kind: str, config: dict[str, Any]) -> None:
    """Refuse a checkpoint that was saved with another head than the task's.

    Raises:
        RecipeError: the message says which head it has, the hint which tasks that fits.
    """
    saved = tuple(config.get("architectures") or ())
    heads = TASKS.get(kind).heads
    if not saved or not heads or any(name.endswith(heads) and name not in OTHER_HEADS for name in saved):
        return
    told = "".join(f" ({OTHER_HEADS[name]})" for name in saved if name in OTHER_HEADS)
    known = [name for name in saved if name not in OTHER_HEADS]
    fitting = [name for name, task in TASKS.all().items() if any(a.endswith(task.heads) for a in known)]
    raise RecipeError(
        f"task {kind} needs a model with a head {' or '.join(heads)}, but its architecture is {', '.join(saved)}{told}",
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
