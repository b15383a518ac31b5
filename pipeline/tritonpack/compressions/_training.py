"""What the compressions share: a module learns its teacher's answers on rows that nobody labelled."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from tritonpack.compressions import CompressionOptions
from tritonpack.compressions._layers import find_layers, student_layers
from tritonpack.compressions._objective import Objective
from tritonpack.core.errors import CompressionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tritonpack.compressions import Lesson
    from tritonpack.core.action import Facts

_HELD_OUT = 10
"""One batch of so many is held out."""
_CHECKS = 10
"""How often the held-out batches are looked at."""
_WARM_UP = 0.1
_CLIP = 1.0
_DECAY = 0.01


class TrainingOptions(CompressionOptions):
    """How a module learns."""

    rate: float = Field(3e-4, gt=0, le=1, description="Greatest learning rate; it rises over a tenth of the steps.")
    batch: int = Field(32, ge=1, le=4096, description="Rows of one step, about: whole batches are added up.")
    hidden: float = Field(
        1.0, ge=0, description="Weight of what the layers return, beside the answers; 0: answers alone."
    )
    temperature: float = Field(2.0, gt=0, description="Softens the distributions that scores stand for.")
    seed: int = Field(0, ge=0, description="Of the order of rows, and of which are held out.")


@dataclass
class _Best:
    """The weights with the least held-out loss so far."""

    weights: list[Any]
    loss: float = math.inf
    step: int = 0
    saved: list[Any] = field(default_factory=list)

    def offer(self, step: int, loss: float) -> None:
        if loss < self.loss:
            self.loss, self.step = loss, step
            self.saved = [weight.detach().clone() for weight in self.weights]

    def restore(self) -> None:
        for weight, saved in zip(self.weights, self.saved, strict=True):
            weight.data.copy_(saved)


def trained(
    module: Any,
    lesson: Lesson,
    options: TrainingOptions,
    *,
    steps: int,
    path: str | None = None,
    hold: Callable[[], None] = lambda: None,
) -> Facts:
    """Train everything but embedding tables: unlabelled rows hold only some of their words.

    The module stays in evaluation mode: without dropout, a seed and one thread give the same bytes every time.
    A tenth of the batches is held out; the weights that did best on them are kept, those of the start included.

    Args:
        module: changed in place.
        lesson: the teacher and the rows.
        options: how to learn.
        steps: how often the weights are changed.
        path: where the model's layers are; None: the longest list.
        hold: called after every change of the weights.

    Returns:
        Steps, the step that was kept, and the first, last and best held-out loss.

    Raises:
        CompressionError: there are too few rows, nothing to learn, or the loss is no number any more.
    """
    import torch

    held, used = _split(len(lesson.batches), options.seed)
    weights = _weights(module)
    layers = find_layers(lesson.teacher, path)
    objective = Objective(
        module, lesson, (student_layers(module, layers), layers), held, options.hidden, options.temperature
    )
    optimizer = torch.optim.AdamW(weights, lr=options.rate, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share_of_rate(step, steps))
    best, order = _Best(weights), _order(used, options.seed)
    first = last = _finite(objective.held_out(), 0, options.rate)
    best.offer(0, first)
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        loss = _finite(_add_gradients(objective, order, options.batch, weights), step, options.rate)
        torch.nn.utils.clip_grad_norm_(weights, _CLIP)
        optimizer.step()
        schedule.step()
        hold()
        if step == steps or step % max(1, steps // _CHECKS) == 0:
            last = _finite(objective.held_out(), step, options.rate)
            best.offer(step, last)
        lesson.progress(step, steps, loss)
    best.restore()
    losses = {"first": first, "last": last, "best": best.loss}
    return {"steps": steps, "best_step": best.step, "held_out_batches": len(held), "losses": losses}


def _split(count: int, seed: int) -> tuple[list[int], list[int]]:
    """Numbers of the batches that are held out, and of those that are learnt from."""
    if count < 2:  # noqa: PLR2004  one to learn from and one to hold out
        raise CompressionError(
            f"{count} batches of rows are too few to learn from: one is held out",
            hint="Give more rows in the recipe's training data.",
        )
    shuffled = np.random.default_rng(seed).permutation(count).tolist()
    held = max(1, count // _HELD_OUT)
    return sorted(shuffled[:held]), sorted(shuffled[held:])


def _order(numbers: list[int], seed: int) -> Iterator[int]:
    """The batches in random order, again and again."""
    rng = np.random.default_rng([seed, 1])
    while True:
        yield from rng.permutation(numbers).tolist()


def _weights(module: Any) -> list[Any]:
    """What is trained; a weight that is an embedding table too is not."""
    import torch

    tables = {id(part.weight) for part in module.modules() if isinstance(part, torch.nn.Embedding)}
    return [weight for weight in module.parameters() if weight.is_floating_point() and id(weight) not in tables]


def _share_of_rate(step: int, steps: int) -> float:
    """Up in a straight line, then down in half a cosine."""
    rise = max(1, round(_WARM_UP * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def _add_gradients(objective: Objective, order: Iterator[int], rows: int, weights: list[Any]) -> float:
    """Gradients of the mean loss over whole batches until there are ``rows`` rows; that loss."""
    chosen = [next(order)]
    while sum(map(objective.rows, chosen)) < rows:
        chosen.append(next(order))
    total, mean = sum(map(objective.rows, chosen)), 0.0
    for number in chosen:
        loss = objective.loss(number) * (objective.rows(number) / total)
        loss.backward(inputs=weights)
        mean += float(loss.detach())
    return mean


def _finite(loss: float, step: int, rate: float) -> float:
    if math.isfinite(loss):
        return loss
    if step == 0:
        raise CompressionError(
            f"the loss is {loss} before the first step",
            hint="The weights, or the model's answers to these rows, hold NaN or infinity: does it work uncompressed?",
            step=step,
        )
    raise CompressionError(
        f"the loss is {loss} at step {step}: training at rate {rate:g} doesn't hold",
        hint=f"Try a lower rate, e.g. rate: {rate / 10:g}, or more rows a step (batch).",
        step=step,
        rate=rate,
    )
